"""A finished run, read back from its folder to be used: its network with the reported weights, and its settings."""

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from sharp_unet_jax import models, ops
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import resident
from sharp_unet_jax.errors import AGAIN, InputError
from sharp_unet_jax.storage import checkpoint
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.sweeps import workdir
from sharp_unet_jax.training import compile, network

Weights = dict[str, Any]  # {"params": nested dicts of arrays, "stats": the same}, as in the checkpoint


@dataclass(frozen=True, eq=False)
class Trained:
    """A run's network. To use it inside of a program of your own, jit a function of `weights` that calls `apply`."""

    name: str  # "sharp_unet/repeat0-fold0"
    model: str  # a name in models.MODELS
    dataset: str  # the name of what it was trained on
    classes: tuple[str, ...]  # names, background first
    config: Config  # of its sweep; config.data.size is the (height, width) it was trained at, config.data.fit how
    channels: int  # of the images
    window: tuple[float, float] | None  # what became 0 and 255 of images deeper than 8 bits, see data.pixels
    num_classes: int  # channels of the logits: one for a single foreground, else one a class
    graph: nnx.GraphDef[models.Segmenter]
    weights: Weights  # NumPy arrays

    @property
    def network(self) -> models.Segmenter:
        """The network itself, for images that are float in [0, 1]: a new copy each time."""
        return nnx.merge(self.graph, *jax.tree.map(jax.numpy.asarray, (self.weights["params"], self.weights["stats"])))

    @property
    def stride(self) -> int:
        """`models.Segmenter.stride` of the network."""
        return nnx.merge(self.graph, self.weights["params"], self.weights["stats"]).stride

    def apply(self, weights: Weights, images: jax.Array) -> jax.Array:
        """Images (N, H, W, channels) uint8 to logits (N, H, W, outputs) float32, as in training; pure."""
        with jax.default_matmul_precision(compile.matmul_precision(self.config, jax.default_backend())):
            return nnx.merge(self.graph, weights["params"], weights["stats"])(network.scaled(images))

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`jax.jit(function)` with the options that training was compiled with."""
        return compile.jit(function, self.config, jax.default_backend())

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Images (N, H, W, channels) uint8 of any size to logits (N, H, W, outputs) float32."""
        return np.asarray(self._logits(self._placed, images))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Images (N, H, W, channels) uint8 of any size to probabilities (N, H, W, outputs) float32.

        Of one output: that of the foreground. Of several: each class's, background first.
        """
        return np.asarray(self.step(self._placed, images))

    def predict(self, images: Iterable[np.ndarray], **options: Any) -> list[np.ndarray]:
        """Of images of any sizes the probabilities (h, w, outputs) float32 at their own; InputError for one unfit.

        `images` are (h, w) or (h, w, C), uint8 or what the run has a window for; `options` are those of
        `predict.predict`: `flips=True`, `tile=(512, 512)`, ...
        """
        from sharp_unet_jax.inference import predict  # which is made of runs

        if isinstance(images, np.ndarray) and (images.ndim < 3 or (images.ndim == 3 and images.shape[2] in (1, 3))):
            raise InputError(f"predict takes several images, and this is one, {images.shape}: give [image]")
        return list(predict.predict(self, images, **options))

    def masks(self, images: Iterable[np.ndarray], **options: Any) -> list[np.ndarray]:
        """Of the same images the classes of their pixels (h, w) uint8, by the config's threshold; see `predict`."""
        from sharp_unet_jax.inference import predict

        return [predict.labels(each, self.config.threshold) for each in self.predict(images, **options)]

    @functools.cached_property
    def _placed(self) -> Weights:
        return jax.device_put(self.weights)

    @functools.cached_property
    def _logits(self) -> Callable[..., jax.Array]:
        return self.compiled(self.apply)

    @functools.cached_property
    def step(self) -> Callable[..., jax.Array]:
        """From weights and images, as `apply`, to probabilities (N, H, W, outputs) float32; compiled once a shape."""
        return self.compiled(lambda weights, images: network.probabilities(self.apply(weights, images)))


def load(path: str | Path) -> Trained:
    """The finished run in the folder `path`, WORKDIR/runs/MODEL/repeatR-foldF.

    >>> import sharp_unet_jax
    >>> run = sharp_unet_jax.load("work/demo/runs/sharp_unet/repeat0-fold0")
    >>> run.model, run.num_classes
    ('sharp_unet', 1)
    >>> (probabilities,) = run.predict([np.zeros((50, 70, 3), np.uint8)])
    >>> probabilities.shape, probabilities.dtype
    ((50, 70, 1), dtype('float32'))
    >>> (mask,) = run.masks([np.zeros((50, 70, 3), np.uint8)])
    >>> mask.shape, mask.dtype
    ((50, 70), dtype('uint8'))

    Raises InputError where the folder is no run, the run is not finished, its checkpoint is damaged, or this version
    of the project has another network by the model's name.
    """
    path = Path(path).expanduser().absolute()
    cell = re.fullmatch(r"repeat(\d+)-fold(\d+)", path.name)
    if not cell or path.parent.parent.name != "runs" or not path.is_dir():
        raise InputError(f"{path} is no run: name a folder such as WORKDIR/runs/unet/repeat0-fold0")
    folder, run = path.parents[2], Run(int(cell[1]), int(cell[2]), path.parent.name)
    config, folds, record = workdir.read_config(folder), workdir.read_folds(folder), workdir.read_record(folder, run)
    if record is None or record.get("status") != "finished":
        raise InputError(f"{path} is not finished: give its sweep's command again, or name another run")
    models.check(run.model)
    try:
        dataset, classes = folds["dataset"], tuple(folds["classes"])
        digest, channels = record["weights_sha256"], record["channels"]
    except KeyError as error:
        raise InputError(f"{path} is of another version of this project: its records lack {error}") from error
    if config.skip_kernel not in ops.KERNELS:
        raise InputError(f"{path} is of another version of this project: this one has no kernel {config.skip_kernel!r}")
    num_classes = resident.num_classes(classes)
    try:
        saved = checkpoint.load(path / "checkpoint")
    except Exception as error:  # Orbax raises what the storage below it raises
        raise InputError(f"{path / 'checkpoint'} is damaged ({_line(error)}): {AGAIN}") from error
    abstract = nnx.eval_shape(
        lambda: network.build(config, run.model, num_classes=num_classes, channels=channels, rngs=nnx.Rngs(0))
    )
    params, stats = network.arrays(abstract)
    weights = jax.tree_util.tree_map_with_path(functools.partial(_of, saved, path), {"params": params, "stats": stats})
    if checkpoint.digest(weights) != digest:
        raise InputError(f"{path / 'checkpoint'} is damaged (its bytes are not those recorded): {AGAIN}")
    return Trained(
        run.name,
        run.model,
        dataset,
        classes,
        config,
        channels,
        tuple(folds["window"]) if folds.get("window") else None,
        num_classes,
        nnx.graphdef(abstract),
        weights,
    )


def _of(saved: Any, run: Path, path: Sequence[Any], like: jax.ShapeDtypeStruct) -> np.ndarray:
    """The array at `path` of what Orbax read, whose keys are all text."""
    keys = [str(key.key) for key in path]
    try:
        array = functools.reduce(lambda tree, key: tree[key], keys, saved)
    except KeyError as error:
        raise InputError(
            f"{run} is of another version of this project: its checkpoint has no {'.'.join(keys)}"
        ) from error
    if array.shape != like.shape:
        raise InputError(
            f"{run} is of another version of this project: {'.'.join(keys)} is {array.shape}, "
            f"this version's is {like.shape}"
        )
    return array


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
