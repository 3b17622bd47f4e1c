"""Export of a finished run, or of the mean of several, as one file that predicts without this project.

StableHLO and ONNX files hold the function from pixels to masks. Of runs on whole images it is the whole function. It
resizes images (N, H, W, channels) uint8 to the size and fit of training, as `data.resize` does but without rounding to
8 bits, then scales and normalises them. It averages the runs' probabilities (N, H, W, num_classes) float32 and resizes
them back to H x W. The mask (N, H, W) uint8 follows from `decision.labels` and the threshold of the runs' rule. N, H
and W are free. The rest of the rule needs loops that no such file holds: the model card has them.

Of runs on crops a file holds the function of a tile, which has the size of the crops: N is free, H and W are fixed, and
nothing is resized. The model card has the loop over an image's tiles. Safetensors files hold only weights.
"""

import dataclasses
import functools
import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx
from jax import lax

from sharp_unet_jax import decision, ops
from sharp_unet_jax.config import PLACES, Config
from sharp_unet_jax.data.resize import Fit, Size, resolution
from sharp_unet_jax.errors import InputError, install, is_out_of_memory
from sharp_unet_jax.inference import stored
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.training import compile, network

Predictor = Callable[[jax.Array], tuple[jax.Array, jax.Array]]
PLATFORMS = ("cpu", "cuda", "tpu")  # an exported StableHLO program runs on these
# The libraries of the extra `export` that a format needs, with its name.
NEEDS = {"stablehlo": ("StableHLO", ("flatbuffers",)), "onnx": ("ONNX", ("jax2onnx", "onnx", "onnxruntime"))}
_LIMIT = 2**31  # bytes: ONNX files are protocol buffers, StableHLO files are flatbuffers


def predictor(runs: Sequence[Trained]) -> Predictor:
    """Return the function to export: images to (mask, probabilities), with the weights of all runs inside."""
    first = runs[0]
    networks = [run.network for run in runs]
    # Without it, a GPU or TPU that runs the file would multiply in less than float32. A CPU has one precision.
    precision = compile.matmul_precision(first.config, "gpu")

    @jax.default_matmul_precision(precision)
    def predict(images: jax.Array) -> tuple[jax.Array, jax.Array]:
        own, data = images.shape[1:3], first.config.data
        small = network.scaled(images)
        if data.fit != "crop":
            small = _resize(small, data.size, data.fit)
        parts = [network.probabilities(segmenter(small)) for segmenter in networks]
        probabilities = functools.reduce(jnp.add, parts) / len(parts)
        if data.fit != "crop":
            probabilities = _restore(probabilities, own, data.fit)
        return decision.labels(probabilities, first.rule.threshold), probabilities

    return predict


def check(file_format: str) -> None:
    """Refuse a format whose libraries, an extra, are not installed. Raises InputError, which names one."""
    name, libraries = NEEDS.get(file_format, ("", ()))
    for library in libraries:
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise InputError(f"{name} needs {error.name or library}: {install('export')}") from error


def to_stablehlo(runs: Sequence[Trained]) -> bytes:
    """Return a StableHLO file for CPU, CUDA and TPU: `jax.export.deserialize(file).call(images)` runs it.

    Raises InputError if flatbuffers is missing, the weights are too large for a file, or the network has no such form.
    """
    check("stablehlo")
    _check_size(runs, "stablehlo")
    n, *size = jax.export.symbolic_shape("n, height, width")
    images = jax.ShapeDtypeStruct((n, *(_tile(runs[0]) or size), runs[0].channels), jnp.uint8)
    try:
        with ops.by_definition():  # lowerings for every platform would take minutes
            exported = jax.export.export(jax.jit(predictor(runs)), platforms=PLATFORMS)(images)
        return bytes(exported.serialize())
    except Exception as error:  # a network's operations may raise anything
        if is_out_of_memory(error):
            raise
        raise InputError(f"{_models(runs)} cannot be converted to StableHLO ({_reason(error)})") from error


def to_onnx(runs: Sequence[Trained]) -> bytes:
    """Return an ONNX file from `images` to `mask` and `probabilities`, which onnxruntime ran on a random image.

    The file computes in float32, also for a run in bfloat16. Raises InputError if a library is missing, the weights are
    too large for a file, jax2onnx cannot convert the network, or the file gives other probabilities than the runs.
    """
    check("onnx")
    import jax2onnx
    import onnx
    import onnxruntime

    _check_size(runs, "onnx")
    runs = [_in_float32(run) for run in runs]
    predict, channels, tile = predictor(runs), runs[0].channels, _tile(runs[0])
    try:
        with ops.by_definition(), jax.disable_jit():  # jax2onnx 0.17 cannot read a jit within a jit of JAX 0.12
            model = jax2onnx.to_onnx(
                predict,
                inputs=[jax.ShapeDtypeStruct(("N", *(tile or ("H", "W")), channels), jnp.uint8)],
                input_names=["images"],
                output_names=["mask", "probabilities"],
                model_name=_models(runs),
            )
        onnx.helper.set_model_props(model, describe(runs))
        file = model.SerializeToString()
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        height, width = runs[0].config.data.size
        size = tile or (height + 3, width - 1)  # a size that the conversion did not see, where it is free
        images = np.random.default_rng(0).integers(0, 256, (2, *size, channels), np.uint8)
        _, there = session.run(None, {"images": images})
    except Exception as error:  # each of the three libraries raises its own
        if is_out_of_memory(error):
            raise
        raise InputError(
            f"{_models(runs)} cannot be converted to ONNX ({_reason(error)}); try --format=stablehlo"
        ) from error
    difference = float(np.abs(there - jax.jit(predict)(images)[1]).max())
    if not difference <= 1e-4:
        raise InputError(
            f"{_models(runs)} as ONNX gives other probabilities, by up to {difference:.2g}; try --format=stablehlo"
        )
    return file


def to_safetensors(run: Trained) -> bytes:
    """Return a safetensors file of a run's weights by their names in the network, with `describe` as its metadata."""
    return safetensors.numpy.save(stored.named(run.weights), describe([run]))


def describe(runs: Sequence[Trained]) -> dict[str, str]:
    """Return the metadata of an exported file: text by name, `classes` and `config` as JSON."""
    first = runs[0]
    data = first.config.data
    return {
        "made_by": "sharp_unet_jax",
        "model": _models(runs),
        "dataset": first.dataset,
        "runs": ", ".join(run.name for run in runs),
        "classes": json.dumps(first.classes),
        "threshold": str(first.rule.threshold),
        "rule": json.dumps(first.rule._asdict()),  # of masks; the file's own have only the threshold
        "window": json.dumps(first.window),  # values that became 0 and 255; null where all had 8 bits
        "fit": data.fit,
        "size": "x".join(map(str, data.size)),  # height x width: of the resized images, or of the tiles
        **({"resolution": resolution(data)} if data.fit == "crop" else {}),
        "config": json.dumps(settings(first.config)),
        "use": "research; not a medical device",
    }


def settings(config: Config) -> dict[str, Any]:
    """Return the config as JSON holds it, without the folders of the machine: others read the file.

    Of a path in `weights` or `split` the last part stays.
    """
    tree = dataclasses.asdict(config)
    tree["data"] |= dict.fromkeys((name.removeprefix("data.") for name in PLACES), "")
    return tree | {name: Path(tree[name]).name for name in ("weights", "split")}


def _models(runs: Sequence[Trained]) -> str:
    """Name the runs' models: "unet, sharp_unet"."""
    return ", ".join(dict.fromkeys(run.model for run in runs))


def _tile(run: Trained) -> Size | None:
    """Return the height and width of the images that a file takes; None where they are free."""
    return run.config.data.size if run.config.data.fit == "crop" else None


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _check_size(runs: Sequence[Trained], name: str) -> None:
    size = sum(leaf.nbytes for run in runs for leaf in jax.tree.leaves(run.weights))
    if size >= _LIMIT:
        raise InputError(
            f"{len(runs)} runs are {size / 1e9:.1f} GB, and a file of --format={name} holds 2.1: export one run"
        )


def _in_float32(run: Trained) -> Trained:
    config = dataclasses.replace(run.config, precision="float32", remat=False)
    segmenter = nnx.eval_shape(
        lambda: network.build(config, run.model, num_classes=run.num_classes, channels=run.channels, rngs=nnx.Rngs(0))
    )
    return dataclasses.replace(run, config=config, graph=nnx.graphdef(segmenter))


# An image's sides are symbols until the exported program runs. Resizing is therefore a product with one matrix for the
# rows and one for the columns, which the program computes from the sides: every library can do that.


def _resize(images: jax.Array, size: Size, fit: Fit) -> jax.Array:
    """Resize images (N, h, w, C) float32 to (N, H, W, C) as `data.resize.resize_image`, without rounding to 8 bits.

    Platforms round ties differently: rounding here would move onnxruntime's probabilities by 7e-4. Without it,
    probabilities differ from those of `predict` by a few thousandths, and masks in pixels along borders.
    """
    own = tuple(_number(side) for side in images.shape[1:3])
    inside = _filled(own, size, fit)
    starts = [jnp.floor((there - filled) / 2) for there, filled in zip(size, inside, strict=True)]
    rows, columns = (
        _triangle(images.shape[axis + 1], size[axis], inside[axis] / own[axis], 0.0, own[axis], starts[axis])
        for axis in (0, 1)
    )
    return _resized(images, rows, columns)


def _restore(probabilities: jax.Array, own: tuple[int, ...], fit: Fit) -> jax.Array:
    """Resize probabilities (N, H, W, K) float32 to an image's size `own` (h, w), as `data.resize.restore`."""
    size = (probabilities.shape[1], probabilities.shape[2])
    numbers = tuple(_number(side) for side in own)
    inside = _filled(numbers, size, fit)
    starts = [jnp.floor((there - filled) / 2) for there, filled in zip(size, inside, strict=True)]
    rows, columns = (
        _triangle(size[axis], own[axis], numbers[axis] / inside[axis], starts[axis], inside[axis], 0.0)
        for axis in (0, 1)
    )
    return _resized(probabilities, rows, columns)


def _resized(x: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Multiply x (N, h, w, C) by the matrices `rows` (H, h) and `columns` (W, w): (N, H, W, C)."""
    along_columns = jnp.einsum("wv,nhvc->nhwc", columns, x, precision="highest")
    return jnp.einsum("hg,ngwc->nhwc", rows, along_columns, precision="highest")


def _number(side: int) -> jax.Array:
    return jnp.asarray(side).astype(jnp.float32)


def _filled(own: tuple[jax.Array, ...], size: Size, fit: Fit) -> tuple[jax.Array, ...]:
    """Return the height and width that an image of the size `own` fills at `size`."""
    (h, w), (height, width) = own, (jnp.float32(side) for side in size)
    if fit == "stretch":
        return height, width
    return (
        jnp.maximum(1.0, jnp.round(jnp.minimum(height, h * width / w))),
        jnp.maximum(1.0, jnp.round(jnp.minimum(width, w * height / h))),
    )


def _triangle(
    inputs: int, outputs: int, scale: jax.Array, start: jax.Array | float, length: jax.Array, target: jax.Array | float
) -> jax.Array:
    """Return Pillow's bilinear filter as a matrix (outputs, inputs).

    It resizes the `length` inputs that begin at `start` by the factor `scale`. The result begins at `target`; all other
    outputs are 0.
    """
    position = lax.broadcasted_iota(jnp.float32, (1, inputs), 1) + 0.5 - start
    centre = (lax.broadcasted_iota(jnp.float32, (outputs, 1), 0) + 0.5 - target) / scale
    width = jnp.maximum(1.0, 1 / scale)  # shrinking averages all inputs of an output
    weight = jnp.maximum(0.0, 1.0 - jnp.abs(position - centre) / width)
    inside = (position > 0) & (position < length) & (centre > 0) & (centre < length)
    weight = jnp.where(inside, weight, 0.0)
    return weight / jnp.maximum(jnp.sum(weight, axis=1, keepdims=True), 1e-9)
