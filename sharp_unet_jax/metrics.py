"""Overlaps of truth and prediction, from exact pixel counts. `OVERLAPS` is their only registry.

A new metric is one function and one line of `OVERLAPS`: records, tables, figures and the page loop over it. There is no
smoothing. A ratio 0/0 has no value of its own. Where truth and prediction agree that there is nothing, `empty` says
what it scores. Elsewhere it scores 0, so that a network that finds nothing is not called precise. This file needs only
NumPy, so the report imports it without JAX.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

IGNORE = 255
"""Label of a pixel that is neither trained on nor scored, such as letterbox padding."""

Empty = Literal["one", "zero", "nan"]
"""The score of 0/0 where truth and prediction are alike, as two empty masks: 1, 0, or none, which means leave out."""


class Counts(NamedTuple):
    """Pixel counts of a class, in arrays of equal shape."""

    intersection: NDArray[Any]  # in truth and prediction
    truth: NDArray[Any]
    predicted: NDArray[Any]
    pixels: NDArray[Any]  # labelled pixels of all classes


def foreground(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where labels are a class other than the background, class 0; IGNORE is no class.

    >>> from sharp_unet_jax import metrics
    >>> print(metrics.foreground(np.array([0, 1, 2, metrics.IGNORE])))
    [False  True  True False]
    """
    return (labels > 0) & (labels != IGNORE)


def count(decided: NDArray[Any], labels: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Count pixels of label maps (..., H, W): (..., classes, 3), intersection, truth and predicted of each class.

    Pixels labelled IGNORE are not counted.

    >>> from sharp_unet_jax import metrics
    >>> metrics.count(np.array([[0, 1, 1]]), np.array([[0, 1, metrics.IGNORE]]), 2).tolist()
    [[1, 1, 1], [1, 1, 1]]
    """
    valid, counts = labels != IGNORE, []
    for label in range(classes):
        truth, predicted = labels == label, (decided == label) & valid
        counts.append(
            [np.sum(mask, axis=(-2, -1)) for mask in np.broadcast_arrays(truth & predicted, truth, predicted)]
        )
    return np.moveaxis(np.array(counts), (0, 1), (-2, -1))


Ratio = tuple[NDArray[Any], NDArray[Any]]  # numerator, denominator


def _jaccard(n: Counts) -> Ratio:
    """The pixels that are in both truth and prediction, as a share of those in either."""
    return n.intersection, n.truth + n.predicted - n.intersection


def _dice(n: Counts) -> Ratio:
    """Twice the pixels in both truth and prediction, as a share of the sum of both."""
    return 2 * n.intersection, n.truth + n.predicted


def _sensitivity(n: Counts) -> Ratio:
    """The share of the truth's pixels that are predicted (recall)."""
    return n.intersection, n.truth


def _precision(n: Counts) -> Ratio:
    """The share of the predicted pixels that are true."""
    return n.intersection, n.predicted


def _specificity(n: Counts) -> Ratio:
    """The share of the pixels outside the truth that are not predicted."""
    return n.pixels - n.truth - n.predicted + n.intersection, n.pixels - n.truth


OVERLAPS: dict[str, Callable[[Counts], Ratio]] = {
    "jaccard": _jaccard,
    "dice": _dice,
    "sensitivity": _sensitivity,
    "precision": _precision,
    "specificity": _specificity,
}
"""Overlaps by name, each the numerator and denominator of a ratio. The report explains them by their docstrings."""


def definition(name: str) -> str:
    """Return a sentence that says what the overlap `name` is: its docstring.

    >>> from sharp_unet_jax import metrics
    >>> metrics.definition("precision")
    'The share of the predicted pixels that are true.'
    """
    return str(OVERLAPS[name].__doc__)


def overlaps(counts: ArrayLike, *, empty: Empty, smoothing: float = 0) -> dict[str, NDArray[np.float64]]:
    """Return every overlap of `OVERLAPS` from pixel counts.

    Args:
        counts: (..., classes, 3): intersection, truth, predicted, of all classes, background included.
        empty: what a ratio 0/0 scores where truth and prediction are alike; elsewhere it scores 0.
        smoothing: added to numerator and denominator; 0 except in the report's table of conventions.

    Returns:
        {name: (..., classes) float64}.

    Raises:
        ValueError: for another value of `empty`.

    >>> from sharp_unet_jax import metrics
    >>> values = metrics.overlaps([[4, 5, 4], [7, 7, 8]], empty="one")
    >>> print(values["jaccard"])  # background 4 of 5, foreground 7 of 8
    [0.8   0.875]
    """
    if empty not in get_args(Empty):
        raise ValueError(f'empty must be "one", "zero" or "nan", got {empty!r}')
    table = np.asarray(counts)
    table = table.astype(np.int64) if table.dtype.kind in "biu" else table
    intersection, truth, predicted = np.moveaxis(table, -1, 0)
    pixels = np.broadcast_to(truth.sum(axis=-1, keepdims=True), truth.shape)
    found = Counts(intersection, truth, predicted, pixels)
    alike = (intersection == truth) & (intersection == predicted)
    undefined = np.where(alike, {"one": 1.0, "zero": 0.0, "nan": np.nan}[empty], 0.0)
    return {name: _divided(*ratio(found), undefined, smoothing) for name, ratio in OVERLAPS.items()}


def jaccard(truth: ArrayLike, predicted: ArrayLike, *, empty: Empty = "one") -> NDArray[np.float64]:
    """Return the Jaccard index |A and B| / |A or B| of masks.

    Args:
        truth: (..., H, W), boolean or of values 0 and 1; NumPy or JAX.
        predicted: the same shape.
        empty: what two empty masks score.

    Returns:
        (...) float64, one value per pair of masks; a scalar for a single pair.

    Raises:
        ValueError: for different shapes, values other than 0 and 1, or another value of `empty`.

    >>> from sharp_unet_jax import metrics
    >>> truth, predicted = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    >>> truth[0, :2], predicted[0, :3] = True, True
    >>> print(metrics.jaccard(truth, predicted, empty="nan"))  # 8 of 12 pixels; the second pair is empty
    [0.66666667        nan]
    """
    return of_masks("jaccard", truth, predicted, empty=empty)


def dice(truth: ArrayLike, predicted: ArrayLike, *, empty: Empty = "one") -> NDArray[np.float64]:
    """Return the Dice coefficient 2 |A and B| / (|A| + |B|) of masks; arguments, result and errors as for `jaccard`."""
    return of_masks("dice", truth, predicted, empty=empty)


def of_masks(name: str, truth: ArrayLike, predicted: ArrayLike, *, empty: Empty = "one") -> NDArray[np.float64]:
    """Return the overlap `name` of `OVERLAPS` of masks; arguments, result and errors as for `jaccard`."""
    a, b = _mask(truth, "truth"), _mask(predicted, "predicted")
    if a.shape != b.shape or a.ndim < 2:
        raise ValueError(f"truth and predicted must be masks (..., H, W) of one shape, got {a.shape} and {b.shape}")
    # Specificity needs the pixels of the background, class 0: the complement of each mask.
    of_classes = [(x & y, x, y) for x, y in ((~a, ~b), (a, b))]
    counts = [[mask.sum(axis=(-2, -1), dtype=np.int64) for mask in masks] for masks in of_classes]
    return overlaps(np.moveaxis(np.array(counts), (0, 1), (-2, -1)), empty=empty)[name][..., 1][()]


class Score(NamedTuple):
    """Summary of a fold; fractions in 0..1, nan where nothing could be scored."""

    means: dict[str, float]
    """By overlap: the mean over images of an image's mean over classes."""
    images: int
    """Images with a Jaccard: all of them, unless empty="nan" left some without a score."""
    dropped: int
    """Jaccard values (image, class) that empty="nan" left out: empty in truth and prediction."""


def score(counts: ArrayLike, *, empty: Empty, binary: bool) -> Score:
    """Summarise a fold.

    Args:
        counts: (n, classes, 3) integers: intersection, truth, predicted, background first.
        empty: what a class in neither truth nor prediction scores, see `overlaps`.
        binary: score only class 1 (there must be 2). Otherwise the mean over all classes, background included, as the
            paper does ("taking the IoUs of all classes and averaging them").

    Raises:
        ValueError: for no images, counts of another shape, or binary with a number of classes other than 2.

    >>> from sharp_unet_jax import metrics
    >>> score = metrics.score([[[4, 4, 4], [8, 8, 12]]], empty="one", binary=True)
    >>> print(round(score.means["jaccard"], 4), round(score.means["dice"], 4), score.images)
    0.6667 0.8 1
    """
    table = np.asarray(counts, np.int64)
    if table.ndim != 3 or table.shape[2] != 3 or table.shape[0] == 0:
        raise ValueError(f"counts must be (images, classes, 3) of at least one image, got {table.shape}")
    if binary and table.shape[1] != 2:
        raise ValueError(f"a binary score needs counts of 2 classes, got {table.shape[1]}")
    scored = slice(1, None) if binary else slice(None)
    by_image = {name: values[:, scored] for name, values in overlaps(table, empty=empty).items()}
    return Score(
        means={name: float(mean(mean(values, axis=1))) for name, values in by_image.items()},
        images=int(np.sum(~np.isnan(by_image["jaccard"]).all(axis=1))),
        dropped=int(np.sum(np.isnan(by_image["jaccard"]))),
    )


def image_jaccard(counts: ArrayLike, *, empty: Empty, binary: bool) -> NDArray[np.float64]:
    """Return the Jaccard index of images from their counts (..., classes, 3): (...), nan where nothing is scored.

    Its mean over the images of a fold, without nan, is `score(...).means["jaccard"]`; `empty` and `binary` as there.

    >>> from sharp_unet_jax import metrics
    >>> metrics.image_jaccard([[[4, 4, 4], [8, 8, 12]], [[16, 16, 16], [0, 0, 0]]], empty="nan", binary=True).round(4)
    array([0.6667,    nan])
    """
    values = overlaps(counts, empty=empty)["jaccard"]
    return mean(values[..., 1:] if binary else values, axis=-1)


def soft_jaccard(sums: ArrayLike, batch_size: int) -> float:
    """Return the Jaccard index of probabilities: each batch's, as if it were one image, then the mean over batches.

    The paper's code decides by it. Its formula is `jacard` of github.com/nibtehaz/MultiResUNet (Demo.ipynb), without
    smoothing; several classes are one vector. Keras 2.3 averages it over batches, a smaller last one included. Two
    empty masks score 1.

    Args:
        sums: (n, 3), of each image: truth times probability, truth, probability, as `network.soft_counts` returns them.
        batch_size: images of a batch; the last one may be smaller.

    >>> from sharp_unet_jax import metrics
    >>> metrics.soft_jaccard([[1, 2, 2], [1, 2, 2], [2, 2, 2]], batch_size=2)  # 2 / 6 and 2 / 2
    0.6666666666666666
    """
    table = np.asarray(sums, np.float64)
    both, truth, predicted = np.add.reduceat(table, range(0, len(table), batch_size)).T
    return float(np.mean(_divided(both, truth + predicted - both, 1.0)))


def mean(values: NDArray[np.float64], axis: int | None = None) -> NDArray[np.float64]:
    """Return the mean of the values that are not nan, nan where there are none (np.nanmean warns there)."""
    known = ~np.isnan(values)
    number = np.sum(known, axis=axis)
    total = np.sum(values, axis=axis, where=known)
    return np.divide(total, number, out=np.full(np.shape(number), np.nan), where=number > 0)


def _mask(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    array = np.asarray(values)
    mask = array.astype(bool)
    # A label map or probabilities passed as a mask would give a plausible, wrong number.
    if array.dtype != bool and not np.array_equal(array, mask):
        raise ValueError(
            f"{name} holds values other than 0 and 1 (from {array.min()} to {array.max()}): pass a mask, "
            f"such as {name} == 1 of a label map or {name} > 0.5 of probabilities"
        )
    return mask


def _divided(
    above: NDArray[Any], below: NDArray[Any], undefined: ArrayLike, smoothing: float = 0
) -> NDArray[np.float64]:
    out = np.broadcast_to(np.asarray(undefined, np.float64), np.shape(below)).copy()
    return np.divide(above + smoothing, below + smoothing, out=out, where=below + smoothing > 0)
