"""Probabilities of images of any size, by one run or by the mean of several, and how much these disagree.

An image goes through what the run was scored by. For a run on whole images it is resized to the size of training. For a
run on crops it is brought to the resolution of training and cut into overlapping tiles, of the crops' size by default.
Probabilities are resized back to the image's own size. Images of all sizes give the network one shape (and its
transpose, with quarter turns), so it is compiled once.
"""

import functools
import itertools
import math
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from sharp_unet_jax import models
from sharp_unet_jax.advice import memory
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import pixels, tiles
from sharp_unet_jax.data.resize import Size, resize_image, restore, trained_size, unpadded
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError, ResolutionWarning, is_out_of_memory
from sharp_unet_jax.inference import disagreement
from sharp_unet_jax.training import compile, distributed

_REMEDY = "give a smaller tile (--tile=512,512), crop the image, or free memory"

Spacing = Sequence[float]
"""Millimetres from row to row and from column to column."""


class Member(Protocol):
    """Interface of a run that predicts; `inference.trained.Trained` has it."""

    @property
    def model(self) -> str:
        """Name of the network: runs of one sweep and of one model share a compiled step."""
        ...

    @property
    def config(self) -> Config:
        """Settings of the run."""
        ...

    @property
    def channels(self) -> int:
        """Number of channels of its images."""
        ...

    @property
    def num_classes(self) -> int:
        """Channels of its probabilities."""
        ...

    @property
    def rule(self) -> Rule:
        """Rule of its masks: its threshold decides whether runs disagree on a pixel."""
        ...

    @property
    def window(self) -> pixels.Window | None:
        """Intensities that became 0 and 255 in training; None if all images were uint8."""
        ...

    @property
    def stride(self) -> int:
        """Stride of the network: sides of tiles are multiples of it."""
        ...

    @property
    def weights(self) -> Any:
        """Weights of the network, the first argument of a compiled step."""
        ...

    @property
    def step(self) -> Callable[[str], Any]:
        """Step by platform, of `jax.jit`: from weights and images (N, H, W, channels) uint8 to probabilities."""
        ...


class Prediction(NamedTuple):
    """An image's probabilities by several runs, and how much the runs disagree."""

    probabilities: np.ndarray  # (h, w, num_classes) float32, the mean over runs
    disagreement: tuple[float, ...]  # of each foreground class, see `disagreement.by_class`; () for a single run
    # (h, w, num_classes) float32: the standard deviation (n - 1) of the probability between runs; None unless asked for
    deviation: np.ndarray | None


class _Views(NamedTuple):
    """One image as the network sees it."""

    pictures: Iterable[np.ndarray]  # (H, W, C) uint8
    number: int
    own: Size  # height and width of the image
    # (n, H, W, num_classes) of all pictures to those of the whole image, at the resolution of the pictures
    join: Callable[[Iterable[np.ndarray]], np.ndarray]


def predict(
    runs: Member | Sequence[Member],
    images: Iterable[np.ndarray],
    *,
    spacings: Iterable[Spacing | None] | None = None,
    flips: bool = False,
    rotations: bool = False,
    tile: Size | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Iterator[np.ndarray]:
    """Predict the probabilities of images, in their order, each at its own size.

    Args:
        runs: one, or several of one sweep, of one model or of several: the mean of their probabilities predicts.
        images: (h, w) or (h, w, C), of any sizes; uint8, or any dtype that `pixels.as_trained` reads. They are read as
            they are needed, one batch ahead. For runs with `data.context` they are uint8 with all channels, see
            `neighbours.stacked`.
        spacings: one per image, read with it; None where nobody knows. Only runs with `data.spacing` need them.
        flips: also average over the image mirrored left to right, upside down, and both.
        rotations: also average over quarter turns; with `flips`, over all eight symmetries of a square.
        tile: (height, width) of tiles, rounded up to multiples of the networks' strides. By default, tiles of a run on
            crops have the crops' size, and a run on whole images gets no tiles. With tiles such a run sees images at
            their own resolution, unlike those that it was trained on: a ResolutionWarning says so.
        devices: share every batch; by default, only the first device. Their platform decides precision and XLA
            options.

    Yields:
        Probabilities (h, w, num_classes) float32. One class is the foreground; several have the background first.

    Raises:
        InputError: for a tile that is none, where a batch needs more memory than is free and, when its turn comes, for
            an image that the run cannot read, of a spacing that is needed and not known, or that is too large for the
            memory.
    """
    members = list(runs) if isinstance(runs, Sequence) else [runs]
    for each in _predictions(
        members, images, spacings=spacings, flips=flips, rotations=rotations, tile=tile, devices=devices
    ):
        yield each.probabilities


def with_disagreement(
    runs: Sequence[Member], images: Iterable[np.ndarray], *, maps: bool = False, **options: Any
) -> Iterator[Prediction]:
    """Predict images as `predict`, and say how much the runs disagree; each run is first averaged over flips and turns.

    Args:
        runs: two or more of one sweep.
        images: as of `predict`.
        maps: also yield deviations. They are computed at the resolution of the network, then joined and resized as the
            probabilities.
        options: as of `predict`.

    Raises:
        InputError: for a single run, and as `predict`.
    """
    if len(runs) < 2:
        raise InputError("a disagreement is between runs, and one was given: give several, such as those of a workdir")
    yield from _predictions(runs, images, arrays=3 if maps else 2, **options)


def stride(runs: Sequence[Member]) -> int:
    """Return the common multiple of the networks' strides: tiles begin at multiples of it."""
    return math.lcm(*(run.stride for run in _by_model(runs).values()))


def _by_model(members: Sequence[Member]) -> dict[str, Member]:
    """Return the first member of each model."""
    return {member.model: member for member in reversed(members)}


def _predictions(
    members: Sequence[Member],
    images: Iterable[np.ndarray],
    *,
    arrays: int = 1,
    spacings: Iterable[Spacing | None] | None = None,
    flips: bool = False,
    rotations: bool = False,
    tile: Size | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Iterator[Prediction]:
    """Yield the predictions of `predict` and `with_disagreement`; see `_ensemble` for `arrays`."""
    first, devices, multiple = members[0], devices or jax.devices()[:1], stride(members)
    data = first.config.data
    if tile is not None:
        tile = _tile(tile, multiple)
        if data.fit != "crop":
            _warn_of_tiles(data.size)
    tile = data.size if tile is None and data.fit == "crop" else tile
    size = tile or data.size
    for model in _by_model(members):
        models.check_size(model, size, first.config.skip_kernel, first.config.skip_padding)
    _check_room(4 * first.channels * math.prod(size), devices[0], 1, size)  # the input as floats, before tiles are cut
    waiting: deque[_Views] = deque()

    def pictures() -> Iterator[np.ndarray]:
        known = itertools.repeat(None) if spacings is None else iter(spacings)
        for image in images:
            waiting.append(_views(image, first, tile, multiple, next(known), arrays))
            yield from waiting[-1].pictures

    at_once = compile.eval_batch_size(first.config, size, devices)
    outputs = _stream(pictures(), _ensemble(members, flips, rotations, devices, arrays), at_once, len(devices))
    try:
        for output in outputs:
            views = waiting.popleft()
            joined = views.join(itertools.chain([output], itertools.islice(outputs, views.number - 1)))
            yield Prediction(
                restore(joined[0], views.own, "stretch"),
                disagreement.by_class(joined[1], len(members)) if arrays > 1 else (),
                restore(joined[2], views.own, "stretch") if arrays > 2 else None,
            )
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        at = f"{size[0]}x{size[1]} pixels"
        raise InputError(f"predicting at {at} needs more memory than is free: {_REMEDY}") from error


def check_image(run: Member, own: tuple[int, ...], spacing: Spacing | None = None, arrays: int = 1) -> Size:
    """Return the height and width at which an image of the size `own` (h, w) is predicted, before it is cut into tiles.

    `arrays` as large as the probabilities are joined. Raises InputError where a spacing is needed and is none, and for
    an image that is then too large for the memory.
    """
    data = run.config.data
    if data.spacing and (spacing is None or not all(0 < side < math.inf for side in spacing)):
        raise InputError(
            f"the run was trained at {data.spacing:g} mm per pixel (data.spacing), and the size of this image's pixels "
            "is not known: give a file that says it, or spacing=(row, column) in millimetres from Python"
        )
    size = trained_size(own, data, spacing)
    if data.fit == "crop" and size != tuple(own):
        needed = (run.channels + 4 * arrays * run.num_classes + 4) * math.prod(size)  # and arrays and a weight, float32
        if needed > (free := memory.free()):
            at = f"{size[0]}x{size[1]} pixels at the resolution of training"
            gigabytes = f"{needed / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free"
            raise InputError(f"the image has {at}, which need {gigabytes}: crop it, or check the size of its pixels")
    return size


def _warn_of_tiles(size: Size) -> None:
    warnings.warn(
        f"the run was trained on whole images resized to {size[0]}x{size[1]}, and tiles at the images' own resolution "
        "look unlike them, so masks get worse: leave the tile out, or train a run with data.fit=crop",
        ResolutionWarning,
        stacklevel=4,
    )


def _tile(tile: Size, stride: int) -> Size:
    """Round a tile's sides up to multiples of `stride`; InputError for anything but two whole numbers above 0."""
    if np.shape(tile) != (2,) or not all(int(side) == side > 0 for side in tile):
        raise InputError(f"tile: give a height and a width in pixels, not {tile}")
    height, width = (-(-side // stride) * stride for side in tile)
    return height, width


def _check_room(needed: int, device: jax.Device, images: int, size: Size) -> None:
    """Refuse a batch of `images` of `size` that needs more bytes than `device` has: XLA or the system might abort.

    Raises InputError.
    """
    if needed > (free := memory.at_hand(device)):
        gigabytes = f"{needed / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free"
        raise InputError(f"a batch of {images} at {size[0]}x{size[1]} pixels needs {gigabytes}: {_REMEDY}")


def _views(
    image: np.ndarray, run: Member, tile: Size | None, multiple: int, spacing: Spacing | None, arrays: int
) -> _Views:
    """Prepare an image (h, w) or (h, w, C) as `run` was trained: resized, or cut into tiles at a `multiple`."""
    if not isinstance(image, np.ndarray | jax.Array):
        raise InputError(f"an image is an array of pixels, not a {type(image).__name__}")
    image = np.asarray(image)
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise InputError(f"an image is (height, width) or (height, width, channels), not {image.shape}")
    own, data = image.shape[:2], run.config.data
    if data.context and (image.ndim == 2 or image.shape[-1] != run.channels):
        raise InputError(
            f"the run was trained on slices with their neighbours (data.context={data.context}): give images of "
            f"{run.channels} channels, as data.neighbours.stacked makes them of a volume"
        )
    window = None if data.context else run.window  # neighbours are stacked behind the window
    picture = pixels.as_trained(image[..., None] if image.ndim == 2 else image, run.channels, window)
    if tile is None:
        small = resize_image(picture, data.size, data.fit)
        return _Views([small], 1, own, lambda parts: unpadded(next(iter(parts)), own, data.fit))
    size = check_image(run, own, spacing, arrays) if data.fit == "crop" else own
    if size != own:
        picture = resize_image(picture, size, data.fit)
    number = math.prod(len(tiles.starts(*axis, multiple)) for axis in zip(size, tile, strict=True))

    return _Views(
        tiles.cut(picture, tile, multiple),
        number,
        own,
        lambda parts: tiles.join(parts, size, tile, multiple),
    )


def _ensemble(
    members: Sequence[Member], flips: bool, rotations: bool, devices: Sequence[jax.Device], arrays: int
) -> Callable[[np.ndarray], jax.Array]:
    """Return the function from a batch (B, H, W, C) uint8 to `arrays` arrays, (B, arrays, H, W, num_classes) float32.

    The first has probabilities, the mean over members, flips and turns. The second has the number of members that vote
    for a class, the third the deviation between members; both need two members.
    """
    everywhere, shared = (distributed.sharding(devices, spec) for spec in (PartitionSpec(), PartitionSpec("batch")))
    steps = {model: first.step(devices[0].platform) for model, first in _by_model(members).items()}
    # The weights and the step of each member: those of one model share a compiled program.
    placed = [(distributed.put(member.weights, everywhere), steps[member.model]) for member in members]
    of_model = {member.model: each for member, each in zip(members, placed, strict=True)}
    threshold = members[0].rule.threshold
    quarters, mirrors = range(4) if rotations else range(1), (False, True) if flips else (False,)
    turns = [(quarter, mirror) for quarter in quarters for mirror in mirrors]
    if flips and not rotations:
        turns += [(2, False), (2, True)]  # both flips; half a turn of the mirrored image is the flip upside down

    @functools.cache
    def check(shape: tuple[int, int, int, int]) -> None:  # the steps' next calls use the programs compiled here
        images = jax.ShapeDtypeStruct(shape, np.uint8, sharding=shared)
        for weights, step in of_model.values():
            if needed := step.lower(weights, images).compile().memory_analysis():
                ends = needed.argument_size_in_bytes + needed.output_size_in_bytes
                _check_room(needed.temp_size_in_bytes + ends, devices[0], shape[0], shape[1:3])

    def run(images: np.ndarray) -> jax.Array:
        batches = []
        for quarter, mirror in turns:
            turned = np.rot90(images[:, :, ::-1] if mirror else images, quarter, (1, 2))
            check(turned.shape)
            batches.append(distributed.put(np.ascontiguousarray(turned), shared))
        total = votes = mean = squares = jnp.zeros(())
        for number, (weights, step) in enumerate(placed, 1):
            own = jnp.zeros(())
            for batch, (quarter, mirror) in zip(batches, turns, strict=True):
                back = jnp.rot90(step(weights, batch), -quarter, (1, 2))
                own = own + (back[:, :, ::-1] if mirror else back)
            total = total + own
            if arrays > 1:
                votes = disagreement.voted(votes, own / len(turns), threshold)
            if arrays > 2:
                mean, squares = disagreement.welford(mean, squares, own / len(turns), number)
        found = [total / (len(turns) * len(placed)), votes]
        found += [jnp.sqrt(squares / (len(placed) - 1))] if arrays > 2 else []
        return jnp.stack(found[:arrays], axis=1)

    return run


def _stream(
    pictures: Iterator[np.ndarray], run: Callable[[np.ndarray], jax.Array], size: int, multiple: int
) -> Iterator[np.ndarray]:
    """Yield what `run` returns for each picture.

    Batches hold `size` pictures, or all of them if there are fewer, padded to a multiple of `multiple`. The device
    works on one batch while the results of the one before are handed out and the next is read.
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
