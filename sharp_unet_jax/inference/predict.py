"""Probabilities of images of any size, from one run or the mean of several.

An image is brought to the size of the training, as all images of the training were, and the probabilities back to the
image's own size: what the run was scored on. With `tile` it is not resized but cut into overlapping tiles, for images
that do not fit into memory and runs that were trained at their images' own size. Whatever the images' sizes, the
network sees one shape (and its transpose, if turned by 90 degrees): it is compiled once.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from sharp_unet_jax.data import pixels, tiles
from sharp_unet_jax.data.resize import Size, resize_image, restore
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import trained
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.storage.layout import run_folder
from sharp_unet_jax.sweeps import plan, workdir
from sharp_unet_jax.training import compile, distributed


class _Views(NamedTuple):
    """What the network is given of one image."""

    pictures: Iterable[np.ndarray]  # (H, W, C) uint8
    number: int
    join: Callable[[Iterable[np.ndarray]], np.ndarray]  # probabilities (H, W, outputs) of all to those of the image


def load(path: str | Path, model: str = "") -> list[Trained]:
    """The run in the folder `path`, or all finished runs of one model of the sweep in it.

    `model` names the model where the sweep has several. InputError where it is needed, or nothing is finished.
    """
    path = Path(path).expanduser()
    if not (path / "config.json").exists():
        one = trained.load(path)
        if model not in ("", one.model):
            raise InputError(f"{path} is a run of {one.model}, not of {model}: name another run, or its workdir")
        return [one]
    runs = plan.every(workdir.read_config(path))
    records = {run: workdir.read_record(path, run) for run in runs}
    finished = [run for run, record in records.items() if record and record["status"] == "finished"]
    models = list(dict.fromkeys(run.model for run in finished))
    if not models:
        raise InputError(f"{path} has no finished run yet: wait for one")
    if (model or models[0]) not in models or (len(models) > 1 and not model):
        which = f"no finished run of {model}" if model else f"runs of {len(models)} models"
        raise InputError(f"{path} has {which}: choose one of {', '.join(models)} as the model")
    return [trained.load(run_folder(path, run)) for run in finished if run.model == (model or models[0])]


def predict(
    runs: Trained | Sequence[Trained],
    images: Iterable[np.ndarray],
    *,
    flips: bool = False,
    rotations: bool = False,
    tile: Size | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Iterator[np.ndarray]:
    """Probabilities (h, w, outputs) float32 of each image, in their order and at its own size.

    Args:
        runs: one, or several of one model whose probabilities are averaged.
        images: (h, w) or (h, w, C), of any sizes; uint8, or what the run has a window for: see `pixels.as_trained`.
            They are read as they are needed, a batch ahead.
        flips: also average over the image mirrored left to right, upside down, and both.
        rotations: also average over quarter turns; with `flips`, all eight of a square.
        tile: (height, width) of tiles, rounded up to what the network needs; without, images are resized.
        devices: that share every batch; by default, the first.

    One output is the foreground's probability; several are each class's, background first. InputError, when its turn
    comes, for an image that the run cannot read.
    """
    members = [runs] if isinstance(runs, Trained) else list(runs)
    first, devices = members[0], devices or jax.devices()[:1]
    multiple = first.stride
    if tile is not None:
        if np.shape(tile) != (2,) or not all(int(side) == side > 0 for side in tile):
            raise InputError(f"tile: give a height and a width in pixels, not {tile}")
        height, width = (-(-side // multiple) * multiple for side in tile)
        tile = height, width

    def view(image: np.ndarray) -> _Views:
        if not isinstance(image, np.ndarray):
            raise InputError(f"an image is an array of pixels, not a {type(image).__name__}")
        if image.ndim not in (2, 3) or 0 in image.shape:
            raise InputError(f"an image is (height, width) or (height, width, channels), not {image.shape}")
        picture = pixels.as_trained(image[..., None] if image.ndim == 2 else image, first.channels, first.window)
        size, data = picture.shape[:2], first.config.data
        if tile is None:
            small = resize_image(picture, data.size, data.fit)
            return _Views([small], 1, lambda parts: restore(next(iter(parts)), size, data.fit))
        number = math.prod(len(tiles.starts(*axis, multiple)) for axis in zip(size, tile, strict=True))
        return _Views(tiles.cut(picture, tile, multiple), number, lambda parts: tiles.join(parts, size, tile, multiple))

    waiting: deque[_Views] = deque()

    def pictures() -> Iterator[np.ndarray]:
        for image in images:
            waiting.append(view(image))
            yield from waiting[-1].pictures

    at_once = compile.eval_batch_size(first.config, tile or first.config.data.size, devices)
    outputs = _stream(pictures(), _ensemble(members, flips, rotations, devices), at_once, len(devices))
    for output in outputs:
        views = waiting.popleft()
        yield views.join(itertools.chain([output], itertools.islice(outputs, views.number - 1)))


def labels(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Classes (h, w) uint8 of probabilities (h, w, outputs): above `threshold` of one, the most probable of several."""
    if probabilities.shape[-1] == 1:
        return (probabilities[..., 0] > threshold).astype(np.uint8)
    return np.argmax(probabilities, axis=-1).astype(np.uint8)


def _ensemble(
    members: Sequence[Trained], flips: bool, rotations: bool, devices: Sequence[jax.Device]
) -> Callable[[np.ndarray], jax.Array]:
    """From a batch (B, H, W, C) uint8 to the mean of its probabilities (B, H, W, outputs) over members and turns."""
    everywhere, shared = (distributed.sharding(devices, spec) for spec in (PartitionSpec(), PartitionSpec("batch")))
    weights = [distributed.put(member.weights, everywhere) for member in members]
    one = members[0]
    quarters, mirrors = range(4) if rotations else range(1), (False, True) if flips else (False,)
    turns = [(quarter, mirror) for quarter in quarters for mirror in mirrors]
    if flips and not rotations:
        turns += [(2, False), (2, True)]  # half a turn is both flips; mirrored, it is upside down

    def run(images: np.ndarray) -> jax.Array:
        total = jnp.zeros(())
        for quarter, mirror in turns:
            turned = np.rot90(images[:, :, ::-1] if mirror else images, quarter, (1, 2))
            batch = distributed.put(np.ascontiguousarray(turned), shared)
            for member in weights:
                back = jnp.rot90(one.step(member, batch), -quarter, (1, 2))
                total = total + (back[:, :, ::-1] if mirror else back)
        return total / (len(turns) * len(weights))

    return run


def _stream(
    pictures: Iterator[np.ndarray], run: Callable[[np.ndarray], jax.Array], size: int, multiple: int
) -> Iterator[np.ndarray]:
    """What `run` makes of each picture, in batches of `size` or, if there are fewer, of as many as there are.

    While the device works on a batch the one before is handed out and the next one is read.
    """
    ahead: tuple[jax.Array, int] | None = None
    while batch := list(itertools.islice(pictures, size)):
        size = min(size, -(-len(batch) // multiple) * multiple) if ahead is None else size
        images = np.stack(batch)
        padded = np.pad(images, ((0, -(-size // multiple) * multiple - len(images)), (0, 0), (0, 0), (0, 0)))
        begun = run(padded), len(batch)
        if ahead:
            yield from np.asarray(ahead[0])[: ahead[1]]
        ahead = begun
    if ahead:
        yield from np.asarray(ahead[0])[: ahead[1]]
