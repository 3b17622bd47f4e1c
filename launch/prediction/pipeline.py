"""Read, predict and write at the same time: threads read ahead and write behind while the device works."""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, islice, starmap, tee
from typing import Any, NamedTuple

import jax
import numpy as np

from datasets import formats
from datasets.errors import DataError
from datasets.formats import nifti
from datasets.formats.search import Input
from datasets.formats.stack import How, Spacing, Stack
from launch.prediction import areas
from launch.prediction.output import Output, paths
from launch.prediction.overlays import heat, overlay
from sharp_unet_jax import decision
from sharp_unet_jax.data import grey_range, neighbours
from sharp_unet_jax.data.pixels import as_trained
from sharp_unet_jax.data.resize import Size, resize_image
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import disagreement, predict
from sharp_unet_jax.inference.predict import Prediction
from sharp_unet_jax.inference.trained import Trained

THREADS = 8  # threads that read, and threads that write; at most so many inputs wait in memory on either side
AHEAD = 2**27  # bytes of the files of all inputs that are read ahead; the next input is read whatever its size


class Written(NamedTuple):
    """An input whose files are written."""

    pictures: int
    spaced: bool  # False where the file's pixel spacing is impossible, and no mm² are given
    note: str  # how its values lie outside those of the training; "" where they do not
    empty: bool  # whether nothing but background was found


Outcome = tuple[Input, Any]  # Written, or what `write` returned, or an Exception


class Opened(NamedTuple):
    """An input that is read."""

    input: Input
    stack: Stack  # without its pictures
    images: np.ndarray  # (n, H, W, C) uint8, as the network was trained on them but for neighbouring slices
    note: str  # see Written


class Predicted(NamedTuple):
    """An input that is predicted."""

    opened: Opened
    labels: np.ndarray  # (n, H, W) uint8
    probabilities: list[np.ndarray]  # (H, W, num_classes) float32 each; empty where nobody asked for them
    disagreement: list[tuple[float, ...]]  # a number for each foreground class; () each where one run predicts
    deviations: list[np.ndarray]  # (H, W, num_classes) float32 each; empty where nobody asked for them


def predict_files(
    members: Sequence[Trained],
    inputs: Sequence[Input],
    output: Output,
    devices: Sequence[jax.Device],
    options: dict[str, Any],
    write: Callable[["Predicted"], Any] | None = None,
) -> Generator[Outcome, None, None]:
    """Predict all inputs and write their files; yield the outcome of each input as it ends.

    Raises InputError, which names the input, where predicting it needs more memory than there is.

    Args:
        members: runs of one sweep; their probabilities are averaged.
        inputs: what to read, in this order.
        output: where to write, and what.
        devices: share every batch.
        options: of `predict.predict`: flips, rotations, tile.
        write: what to do with a predicted input, in a thread, instead of writing its files; an outcome is its result.
    """
    write = write or partial(_write, output=output, classes=members[0].classes)
    readers, writers = ThreadPoolExecutor(THREADS), ThreadPoolExecutor(THREADS)
    opened: deque[Opened] = deque()  # inputs that were read and are not yet written
    ended: deque[tuple[Input, Future[Any]]] = deque()  # readings that failed, and writings
    several, maps = len(members) > 1, "disagreement" in output.extras
    read = partial(_read, members[0], arrays=1 + several + maps)

    def end(predicted: Predicted) -> Any:  # in a thread: loops over pieces are slow, and the device goes on meanwhile
        return write(_cleaned(predicted, members[0]))

    def pictures() -> Iterator[tuple[np.ndarray, Spacing | None]]:
        for one, future in _ahead(readers, read, inputs):
            if future.exception():
                ended.append((one, future))
            else:
                opened.append(future.result())
                for picture in neighbours.stacked(opened[-1].images, members[0].config.data.context):
                    yield picture, opened[-1].stack.spacing

    try:
        pairs, same = tee(pictures())  # `predict` reads both side by side
        images, spacings = (image for image, _ in pairs), (spacing for _, spacing in same)
        options = {"spacings": spacings, **options, "devices": devices}
        predictions = (
            predict.with_disagreement(members, images, maps=maps, **options)
            if several
            else (Prediction(each, (), None) for each in predict.predict(members, images, **options))
        )
        for first in predictions:
            one = opened[0]
            rest = islice(predictions, len(one.images) - 1)
            predicted = _decide(one, chain([first], rest), members[0].rule.threshold, output)
            ended.append((one.input, writers.submit(end, predicted)))
            opened.popleft()
            while len(ended) > THREADS:
                yield _outcome(*ended.popleft())
        yield from starmap(_outcome, ended)
    except (InputError, MemoryError) as error:
        yield from starmap(_outcome, ended)
        reason = str(error) if isinstance(error, InputError) else "there is too little memory to predict it"
        raise InputError(f"{opened[0].input.paths[0]}: {reason}" if opened else reason) from error
    finally:  # after Ctrl-C too: files that are being written are finished
        readers.shutdown(cancel_futures=True)
        writers.shutdown(cancel_futures=True)


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[Input], Opened], inputs: Iterable[Input]
) -> Iterator[tuple[Input, Future[Opened]]]:
    """Yield `read` of each input, in their order, with up to THREADS of them, or AHEAD bytes, begun or waiting."""
    waiting: deque[tuple[Input, Future[Opened]]] = deque()
    sizes: deque[int] = deque()  # of their files
    for one in inputs:
        waiting.append((one, pool.submit(read, one)))
        sizes.append(_size(one))
        while len(waiting) > THREADS or (len(waiting) > 1 and sum(sizes) > AHEAD):
            sizes.popleft()
            yield waiting.popleft()
    while waiting:  # `waiting` would keep all that it yields
        yield waiting.popleft()


def _size(one: Input) -> int:
    """Return the bytes of an input's files; 0 where they cannot be told, as reading them will say."""
    try:
        return sum(path.stat().st_size for path in one.paths)
    except OSError:
        return 0


def _read(run: Trained, one: Input, arrays: int = 1) -> Opened:
    """Read an input as `run` was trained on its images. Raises DataError or InputError where it cannot.

    `arrays` as large as its probabilities must fit into the memory.
    """
    data = run.config.data
    stack = formats.read(one.paths, How(data.pages, data.axis, run.slice_channels))
    if 0 in stack.pictures.shape:  # `predict_files` counts on a picture at least
        raise DataError(f"{one.paths[0]}: holds no pictures, but an array {stack.pictures.shape}; remove or repair it")
    if run.dataset == "lung_ct/volumes" and one.family is nifti and _sliced_otherwise(stack.pictures.shape):
        raise DataError(
            f"{one.paths[0]}: by its header slices are {stack.pictures.shape[2]} wide and "
            f"{stack.pictures.shape[1]} high, but the volumes this run was trained on hold slice, row, column "
            "whatever their headers say: fix the header, or give the slices as pictures"
        )
    pictures = stack.pictures
    if data.context and len(pictures) == 1:
        raise DataError(
            f"{one.paths[0]}: is a single picture, and the run was trained on slices with their neighbours "
            f"(data.context={data.context}); give the volume"
        )
    none = np.empty((0, *pictures.shape[1:]), pictures.dtype)  # a view would keep the whole volume in memory
    images = as_trained(pictures, run.slice_channels, run.window, ct=stack.ct)
    size = predict.check_image(run, images.shape[1:3], stack.spacing, arrays)
    return Opened(one, stack._replace(pictures=none), images, _note(run, pictures.dtype, images, size))


def _note(run: Trained, dtype: np.dtype[Any], images: np.ndarray, size: Size) -> str:
    """Say how an input's values lie outside those of the training; "" where they do not, or the run knows 8 bits.

    `size` is that of the training, whose shares are known: to shrink an image leaves fewer values at the ends.
    """
    if run.window is None:
        return ""
    if dtype == np.uint8:
        return "8 bits, where the training had more: taken as they are"
    seen = images if images.shape[1:3] == size else (resize_image(image, size, "stretch") for image in images)
    return grey_range.outside(seen, run.clipped)


def _sliced_otherwise(shape: tuple[int, ...]) -> bool:
    """Say whether a volume seems sliced along another axis: one side of its slices equals the number of slices.

    CT slices are square, so two sides of a volume are equal; here the header takes one of the two for the slices.
    """
    slices, height, width = shape[:3]
    return height != width and slices in (height, width)


def _decide(one: Opened, predictions: Iterable[Prediction], threshold: float, output: Output) -> Predicted:
    """Take the labels of an input's probabilities, not cleaned, and keep these where they are to be written."""
    labels, kept, apart, deviations = [], [], [], []
    for each in predictions:
        labels.append(decision.labels(each.probabilities, threshold))
        kept += [each.probabilities] if "probabilities" in output.extras else []
        apart.append(each.disagreement)
        deviations += [] if each.deviation is None else [each.deviation]
    return Predicted(one, np.stack(labels), kept, apart, deviations)


def _cleaned(predicted: Predicted, run: Trained) -> Predicted:
    """Return an input with its labels as the rule of the run cleans them."""
    if not run.rule.cleans:
        return predicted
    spacing = predicted.opened.stack.spacing
    return predicted._replace(labels=np.stack([run.clean(each, spacing) for each in predicted.labels]))


def _write(predicted: Predicted, output: Output, classes: Sequence[str]) -> Written:
    """Write all files of an input and its rows of areas.csv. The mask comes last."""
    one, stack, images, note = predicted.opened
    mask, *extras = paths(output, one)
    deviations = list(map(disagreement.by_pixel, predicted.deviations, predicted.labels))
    for extra, path in zip(output.extras, extras, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        match extra:
            case "probabilities":
                one.family.write_probabilities(path, np.stack(predicted.probabilities), stack, classes)
            case "overlays":
                one.family.write_overlays(path, np.stack(list(map(overlay, images, predicted.labels))))
            case "disagreement":
                one.family.write_map(path, np.stack(deviations), stack)
            case "disagreement_overlays":
                one.family.write_overlays(path, np.stack(list(map(heat, images, deviations))))
    areas.append(output, areas.rows(one.name, predicted.labels, classes, stack.area, note, predicted.disagreement))
    mask.parent.mkdir(parents=True, exist_ok=True)
    one.family.write_masks(mask, predicted.labels, stack, classes)
    spaced = stack.area is None or not math.isnan(stack.area)
    return Written(len(predicted.labels), spaced, note, empty=not predicted.labels.any())


def _outcome(one: Input, future: Future[Any]) -> Outcome:
    error = future.exception()
    return one, error if isinstance(error, Exception) else future.result()
