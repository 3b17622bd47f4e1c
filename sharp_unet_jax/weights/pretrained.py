"""Pretrained weights for a network: from ImageNet, from a public file, or from a run of this project."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sharp_unet_jax import models
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.models.resnet import ResNetEncoder
from sharp_unet_jax.models.segmenter import Encoder, Segmenter
from sharp_unet_jax.models.vgg import VGGEncoder
from sharp_unet_jax.storage import checkpoint
from sharp_unet_jax.weights import files
from sharp_unet_jax.weights import hub as hf_hub

Values = dict[str, np.ndarray]  # by their name in the network, "encoder.conv1.kernel"; kernels are (h, w, in, out)
Shapes = dict[str, tuple[int, ...]]

# What the public files were trained on: torchvision's and timm's on RGB in [0, 1] normalised so, Keras's VGG on BGR in
# [0, 255] less a mean ("caffe"), here with its first kernel turned to RGB.
_TORCH = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
_KERAS = np.array([[123.68 / 255, 116.779 / 255, 103.939 / 255], [1 / 255] * 3], np.float32)

_TORCH_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
_CLASSIFIERS = ("fc.", "classifier.", "head.", "pre_logits.", "fc1/", "fc2/", "predictions/")


class Weights(NamedTuple):
    """Weights that fit a network, whole or in part."""

    state: nnx.State  # NumPy arrays; `nnx.update(network, state)` puts them in
    sha256: str  # of names and values, whatever file they came from


def build(name: str, *, weights: str = "", rngs: nnx.Rngs, **options: Any) -> Segmenter:
    """Build the network `name`, from scratch or from pretrained weights.

    >>> import sharp_unet_jax
    >>> model = sharp_unet_jax.build("sharp_unet", num_classes=1, in_channels=3, rngs=nnx.Rngs(0))
    >>> model(jnp.zeros((2, 32, 48, 3))).shape
    (2, 32, 48, 1)

    Args:
        name: a name in `models.MODELS`.
        weights: "" for fresh weights, "imagenet", or a path: see `load`.
        rngs: of the weights that are not pretrained.
        options: the other arguments of `models.build`.

    Raises:
        InputError: for an unknown name or weights that do not fit.
    """
    segmenter = models.build(name, rngs=rngs, **options)
    if weights:
        nnx.update(segmenter, jax.tree.map(jnp.asarray, for_model(name, weights, segmenter).state))
    return segmenter


def for_model(name: str, source: str, segmenter: Segmenter) -> Weights:
    """Load what `source` ("imagenet" or a path, see `load`) holds for the network `name`.

    `segmenter` is one such network, or its shapes alone (`nnx.eval_shape`). Raises InputError.
    """
    hub = models.MODELS[name].hub
    if source == "imagenet" and not hub:
        raise InputError(f"weights: there are no ImageNet weights for {name}; train it from scratch, in another sweep")
    return load(source, segmenter, hub=hub)


def load(source: str, network: Segmenter, *, hub: str = "") -> Weights:
    """Weights for `network`, of which shapes are enough (`nnx.eval_shape`).

    Args:
      source: "imagenet", a file or a folder, recognised by what is in it:

        - "imagenet": from `hub`, a timm repository on the Hugging Face hub, in its cache or fetched;
        - a torchvision or timm file (`.pth`, read without running its pickle, or `.safetensors`), or a Keras
          application's (`.h5`, `.weights.h5`; VGG only): the encoder's weights, with the ImageNet normalisation;
        - the folder of a run of this project, or its checkpoint: the whole network with its normalisation; a head
          for another number of classes is left out.
      network: where its images are grey, the first kernel is summed over RGB; where they have another number of
        channels than 3, its channels are repeated and scaled to the same sum.

    Raises InputError, which names the first entry at fault.
    """
    path = hf_hub.fetch(hub) if source == "imagenet" else Path(source).expanduser()
    variables = dict(nnx.to_flat_state(nnx.state(network)))
    shapes = {_name(name): variable.shape for name, variable in variables.items()}
    found = _of_run(path, network.decoder.heads, shapes) if path.is_dir() else _of_file(path, network.encoder, shapes)
    values = {name: _fit(value, shapes, name, path) for name, value in sorted(found.items())}
    digest = hashlib.sha256()
    for name, value in values.items():
        digest.update(f"{name} {value.shape} ".encode() + value.tobytes())
    loaded = [
        (path, variable.replace(values[_name(path)])) for path, variable in variables.items() if _name(path) in values
    ]
    return Weights(nnx.from_flat_state(loaded), digest.hexdigest())


def _of_file(path: Path, encoder: Encoder, shapes: Shapes) -> Values:
    """The encoder's values and the normalisation from a public file."""
    try:
        layout, tensors = files.read(path)
    except InputError as error:
        raise InputError(f"weights: {error}") from None
    if layout == "keras":
        theirs, normalisation = _keras_names(path, encoder), _KERAS
        tensors = {name: value[:, :, ::-1] if _sees_rgb(value) else value for name, value in tensors.items()}
    else:
        theirs, normalisation = {name: _torch_name(name) for name in shapes if name.startswith("encoder.")}, _TORCH
        tensors = {name: _hwio(value) for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    for name in theirs.values():
        if name not in tensors:
            raise InputError(f"weights: {path} has no {name}: it is not of this network's encoder")
    for name in tensors:
        if name not in theirs.values() and not name.startswith(_CLASSIFIERS):
            raise InputError(f"weights: {path} has {name}, which this network's encoder has not")
    return {name: tensors[their] for name, their in theirs.items()} | dict(
        zip(("mean", "std"), normalisation, strict=True)
    )


def _of_run(path: Path, heads: Iterable[str], shapes: Shapes) -> Values:
    """Return all values of a run's checkpoint, but for the decoder's heads for another number of classes."""
    folder = path / "checkpoint" if (path / "checkpoint").is_dir() else path
    if not (folder / "_METADATA").exists():
        raise InputError(f"weights: {path} is no run of this project; name one, as in WORKDIR/runs/unet/repeat0-fold0")
    try:
        tree = checkpoint.load(folder)
        recorded = _recorded(folder.parent)
        if recorded and checkpoint.digest(_numbered({key: tree[key] for key in ("params", "stats")})) != recorded:
            raise ValueError("its bytes are not those recorded")
        found = {**_flat(tree["params"]), **_flat(tree["stats"])}
    except Exception as error:  # Orbax raises what the storage below it raises
        reason = str(error).partition("\n")[0]
        raise InputError(f"weights: the checkpoint in {path} is damaged: {reason}") from error
    for name in shapes:
        if name not in found:
            raise InputError(f"weights: {path} has no {name}: it is of another network")
    for name in found:
        if name not in shapes:
            raise InputError(f"weights: {path} has {name}, which this network has not")
    for head in heads:
        own = [name for name in found if name.startswith(f"decoder.{head}.")]
        if any(found[name].shape[-1:] != shapes[name][-1:] for name in own):  # kernels are (h, w, in, out)
            found = {name: value for name, value in found.items() if name not in own}
    return found


def _recorded(run: Path) -> str | None:
    """The digest of a run's weights, where its record is beside the checkpoint."""
    path = run / "record.json"
    return json.loads(path.read_text()).get("weights_sha256") if path.exists() else None


def _numbered(tree: Any) -> Any:
    """With the numbers of lists, which Orbax gives as text, as numbers: they have another order."""
    if not isinstance(tree, dict):
        return tree
    return {int(key) if key.isdecimal() else key: _numbered(value) for key, value in tree.items()}


def _fit(value: np.ndarray, shapes: Shapes, name: str, path: Path) -> np.ndarray:
    """`value` for the network's number of input channels; InputError where it still has another shape."""
    shape, (channels,) = shapes[name], shapes["mean"]
    if value.shape != shape:
        if _sees_rgb(value) and shape[2:3] == (channels,):
            value = _grey(value, 2, np.sum) if channels == 1 else _repeat(value, 2, channels) * (3 / channels)
        elif name in ("mean", "std"):
            value = _grey(value, 0, np.mean) if channels == 1 else _repeat(value, 0, channels)
    if value.shape != shape:
        raise InputError(f"weights: {path}: {name} is {value.shape}, this network's is {shape}")
    if not np.isfinite(value).all():
        raise InputError(f"weights: {path}: {name} holds numbers that are none (NaN or infinite)")
    return np.ascontiguousarray(value, np.float32)


def _sees_rgb(value: np.ndarray) -> bool:
    """Of a first kernel, and of no other: the narrowest network is wider."""
    return value.ndim == 4 and value.shape[2] == 3


def _grey(value: np.ndarray, axis: int, how: Callable[..., np.ndarray]) -> np.ndarray:
    return how(value, axis=axis, keepdims=True)


def _repeat(value: np.ndarray, axis: int, channels: int) -> np.ndarray:
    return np.take(value, np.arange(channels) % value.shape[axis], axis=axis)


def _hwio(value: np.ndarray) -> np.ndarray:
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value


def _name(path: Iterable[Any]) -> str:
    return ".".join(map(str, path))


def _torch_name(name: str) -> str:
    """Encoders are named as in torchvision, but for the leaves."""
    *parents, leaf = name.removeprefix("encoder.").split(".")
    return ".".join([*parents, _TORCH_LEAVES.get(leaf, leaf)])


def _keras_names(path: Path, encoder: Encoder) -> dict[str, str]:
    """Names of an encoder's variables in the file of a Keras application."""
    if isinstance(encoder, ResNetEncoder):
        raise InputError(
            f"weights: {path} is a Keras file; Keras's ResNet-50 has a stage's stride in its first 1x1 convolution, "
            "this one in the 3x3: give the torchvision or timm file"
        )
    if not isinstance(encoder, VGGEncoder):
        raise InputError(f"weights: {path} is a Keras file, and of these only VGG is known")
    return {
        f"encoder.features.{name}.{leaf}": f"block{i}_conv{j}/{leaf}"
        for i, block in enumerate(encoder.blocks, 1)
        for j, name in enumerate(block, 1)
        for leaf in ("kernel", "bias")
    }


def _flat(tree: dict[str, Any], prefix: str = "") -> Values:
    """{"encoder": {"conv1": {"kernel": x}}} -> {"encoder.conv1.kernel": x}."""
    flat: Values = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
