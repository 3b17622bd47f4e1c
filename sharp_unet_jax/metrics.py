"""Jaccard and Dice, all derived from exact counts of pixels: the truth's, the prediction's, and those in both.

No smoothing anywhere. An image whose truth and prediction are both empty has no overlap to measure (0/0): the caller
says what it counts as. Where only one of the two is empty, both measures are 0.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

IGNORE = 255
"""Label of a pixel that is never trained on nor scored, such as letterbox padding."""

Empty = Literal["one", "zero", "nan"]
"""What an empty truth with an empty prediction scores: 1, 0, or nothing (left out of every mean)."""


def counts(logits: jax.Array, labels: jax.Array, threshold: float = 0.5) -> jax.Array:
    """Count the pixels that every score is derived from; call it inside jit.

    Args:
        logits: (N, H, W, K) floating. K = 1: class 1 where sigmoid(logit) > threshold, else class 0.
            K > 1: the class of the largest logit, the lowest of equals.
        labels: (N, H, W) integer classes; IGNORE is left out, and any other value outside 0..C-1 is no class's truth.
        threshold: a probability, for K = 1 alone.

    Returns:
        (N, C, 3) int32: intersection, truth, predicted; C = 2 for K = 1 (background, foreground), else K. Exact up to
        2**31 pixels an image.

    Raises:
        ValueError: for shapes that do not fit.
    """
    if labels.shape != logits.shape[:3] or logits.ndim != 4:
        raise ValueError(f"logits (N, H, W, K) and labels (N, H, W) do not fit: {logits.shape} and {labels.shape}")
    classes = logits.shape[-1]
    if classes == 1:
        classes = 2
        t = jnp.asarray(threshold, jnp.float32)
        decided = (logits[..., 0] > jnp.log(t / (1 - t))).astype(jnp.int32)  # exactly logit > 0 at 0.5
    else:
        decided = jnp.argmax(logits, axis=-1)
    valid = (labels != IGNORE)[..., None]
    truth = jax.nn.one_hot(labels, classes, dtype=jnp.bool_)  # all zero at IGNORE
    predicted = valid & jax.nn.one_hot(decided, classes, dtype=jnp.bool_)
    pixels = [jnp.sum(mask, axis=(1, 2), dtype=jnp.int32) for mask in (truth & predicted, truth, predicted)]
    return jnp.stack(pixels, axis=-1)


def jaccard(truth: ArrayLike, predicted: ArrayLike, *, empty: Empty = "one") -> NDArray[np.float64]:
    """Jaccard index |A and B| / |A or B| of masks.

    Args:
        truth: (..., H, W) boolean, or numbers that are all 0 or 1; NumPy or JAX.
        predicted: the same shape.
        empty: what two empty masks score.

    Returns:
        (...) float64, one value a mask; a scalar for a single pair.

    Raises:
        ValueError: for shapes that differ, values other than 0 and 1, or another word for `empty`.

    >>> from sharp_unet_jax import metrics
    >>> truth, predicted = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    >>> truth[0, :2], predicted[0, :3] = True, True
    >>> print(metrics.jaccard(truth, predicted, empty="nan"))  # 8 of 12 pixels; the second pair is empty
    [0.66666667        nan]
    """
    return jaccard_from_counts(*_mask_counts(truth, predicted), empty=empty)


def dice(truth: ArrayLike, predicted: ArrayLike, *, empty: Empty = "one") -> NDArray[np.float64]:
    """Dice coefficient 2 |A and B| / (|A| + |B|) of masks; arguments, result and errors as for `jaccard`."""
    return dice_from_counts(*_mask_counts(truth, predicted), empty=empty)


def jaccard_from_counts(
    intersection: ArrayLike, truth: ArrayLike, predicted: ArrayLike, *, empty: Empty
) -> NDArray[np.float64]:
    """Jaccard index from pixel counts (integers, all of one shape); float64 of that shape. ValueError as `jaccard`."""
    both = np.asarray(intersection, np.int64)
    return _ratio(both, np.asarray(truth, np.int64) + np.asarray(predicted, np.int64) - both, empty)


def dice_from_counts(
    intersection: ArrayLike, truth: ArrayLike, predicted: ArrayLike, *, empty: Empty
) -> NDArray[np.float64]:
    """Dice coefficient from pixel counts; arguments, result and errors as for `jaccard_from_counts`."""
    total = np.asarray(truth, np.int64) + np.asarray(predicted, np.int64)
    return _ratio(2 * np.asarray(intersection, np.int64), total, empty)


class Score(NamedTuple):
    """What `score` returns: fractions in 0..1, nan where nothing could be scored."""

    jaccard: float
    """Mean over images of an image's mean over classes."""
    dice: float
    pooled_jaccard: float
    """All images' pixels counted as one image, then the mean over classes."""
    pooled_dice: float
    images: int
    """Images that the means over images rest on: all of them, unless empty="nan" left some without a score."""
    dropped: int
    """Values (image, class) left out of the means: empty in truth and prediction, under empty="nan"."""


def score(counts: ArrayLike, *, empty: Empty, binary: bool) -> Score:
    """Summarise a fold.

    Args:
        counts: (n, C, 3) integers as `counts` returns them.
        empty: what an image's class scores that is neither in the truth nor in the prediction.
        binary: score class 1 alone (C must be 2). Otherwise the mean over all classes, background included, as the
            paper does ("taking the IoUs of all classes and averaging them").

    Raises:
        ValueError: for no images, counts of another shape, or binary with C other than 2.

    >>> from sharp_unet_jax import metrics
    >>> score = metrics.score([[[4, 4, 4], [8, 8, 12]]], empty="one", binary=True)
    >>> print(round(score.jaccard, 4), round(score.dice, 4), score.images)
    0.6667 0.8 1
    """
    table = np.asarray(counts, np.int64)
    if table.ndim != 3 or table.shape[2] != 3 or table.shape[0] == 0:
        raise ValueError(f"counts must be (images, classes, 3) of at least one image, got {table.shape}")
    if binary:
        if table.shape[1] != 2:
            raise ValueError(f"a binary score needs counts of 2 classes, got {table.shape[1]}")
        table = table[:, 1:]
    jaccards = jaccard_from_counts(*np.moveaxis(table, -1, 0), empty=empty)
    dices = dice_from_counts(*np.moveaxis(table, -1, 0), empty=empty)
    pooled = table.sum(axis=0).T
    images = _mean(jaccards, axis=1)
    return Score(
        jaccard=float(_mean(images)),
        dice=float(_mean(_mean(dices, axis=1))),
        pooled_jaccard=float(_mean(jaccard_from_counts(*pooled, empty=empty))),
        pooled_dice=float(_mean(dice_from_counts(*pooled, empty=empty))),
        images=int(np.sum(~np.isnan(images))),
        dropped=int(np.sum(np.isnan(jaccards))),
    )


def _mask_counts(truth: ArrayLike, predicted: ArrayLike) -> tuple[ArrayLike, ArrayLike, ArrayLike]:
    a, b = _mask(truth, "truth"), _mask(predicted, "predicted")
    if a.shape != b.shape or a.ndim < 2:
        raise ValueError(f"truth and predicted must be masks (..., H, W) of one shape, got {a.shape} and {b.shape}")
    intersection, in_truth, in_predicted = (np.sum(mask, axis=(-2, -1), dtype=np.int64) for mask in (a & b, a, b))
    return intersection, in_truth, in_predicted


def _mask(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    array = np.asarray(values)
    mask = array.astype(bool)
    # A label map or a probability map taken for a mask would give a plausible, wrong number.
    if array.dtype != bool and not np.array_equal(array, mask):
        raise ValueError(
            f"{name} holds values other than 0 and 1 (from {array.min()} to {array.max()}): pass a mask, "
            f"such as {name} == 1 of a label map or {name} > 0.5 of probabilities"
        )
    return mask


def _ratio(numerator: NDArray[np.int64], denominator: NDArray[np.int64], empty: Empty) -> NDArray[np.float64]:
    if empty not in get_args(Empty):
        raise ValueError(f'empty must be "one", "zero" or "nan", got {empty!r}')
    filled = np.full(np.shape(denominator), {"one": 1.0, "zero": 0.0, "nan": np.nan}[empty])
    return np.divide(numerator, denominator, out=filled, where=denominator > 0)[()]


def _mean(values: NDArray[np.float64], axis: int | None = None) -> NDArray[np.float64]:
    """Mean of the values that are not nan, nan where there are none (np.nanmean warns there)."""
    known = ~np.isnan(values)
    number = np.sum(known, axis=axis)
    total = np.sum(values, axis=axis, where=known)
    return np.divide(total, number, out=np.full(np.shape(number), np.nan), where=number > 0)
