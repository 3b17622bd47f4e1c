"""Losses by name. Each returns one value per image, (N,) float32, so padding of a batch can get the weight 0.

Logits are (N, H, W, num_classes) of any floating dtype; the arithmetic is float32. If num_classes is 1 the loss is
binary (sigmoid, class 1 is the foreground), else each channel is a class (softmax). Labels are (N, H, W) integer
classes. Pixels labelled IGNORE count nowhere and get no gradient; an image of such pixels only has the loss 0. Sums are
over the pixels of an image, means over its valid pixels. Entropies are in nats. Every loss raises ValueError for shapes
that do not fit.
"""

import difflib
import functools
from collections.abc import Callable, Mapping

import chex
import jax
import jax.numpy as jnp
import optax

from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.ops import distance

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""(logits (N, H, W, num_classes), labels (N, H, W)) -> (N,) float32."""


def get(name: str | Mapping[str, float], class_weights: jax.Array | None = None) -> Loss:
    """Return the loss of a name, or a weighted sum of several losses.

    Args:
        name: a key of LOSSES, or {key: weight, ...}, for example {"cross_entropy": 1.0, "dice": 0.5}.
        class_weights: (classes,) float32, for those of CLASS_WEIGHTED; the other losses have none.

    Raises:
        ValueError: for no name, or an unknown one; the message has the nearest known name.

    >>> from sharp_unet_jax import losses
    >>> logits, labels = jnp.zeros((2, 4, 4, 1)), jnp.ones((2, 4, 4), jnp.uint8)
    >>> print(losses.get("cross_entropy")(logits, labels).round(4))  # log 2 for each image
    [0.6931 0.6931]
    >>> losses.get({"cross_entropy": 1.0, "dice": 0.5})(logits, labels).shape
    (2,)
    """
    weights = {name: 1.0} if isinstance(name, str) else dict(name)
    if not weights:
        raise ValueError(f"a loss needs at least one name of {', '.join(LOSSES)}")
    for key in weights:
        if key not in LOSSES:
            near = difflib.get_close_matches(str(key), LOSSES, n=1, cutoff=0)[0]
            raise ValueError(f"unknown loss {key!r:.200}: did you mean {near!r}? There are {', '.join(LOSSES)}")

    def one(key: str) -> Loss:
        found: Callable[..., jax.Array] = LOSSES[key]
        weighted = class_weights is not None and key in CLASS_WEIGHTED
        return functools.partial(found, class_weights=class_weights) if weighted else found

    def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
        total = jnp.float32(0)
        for key, weight in weights.items():
            values = one(key)(logits, labels)
            chex.assert_shape(values, logits.shape[:1], custom_message=f"loss {key!r} is not one value per image")
            total = total + weight * values
        return total

    return one(name) if isinstance(name, str) else loss


def cross_entropy(logits: jax.Array, labels: jax.Array, class_weights: jax.Array | None = None) -> jax.Array:
    """Return the mean cross-entropy: binary if num_classes is 1, else categorical (the paper, eq. 3).

    `class_weights` (classes,) multiply the pixels of each class; there are two classes if num_classes is 1. The mean is
    over pixels, not over weights as in PyTorch: there the weights cancel in an image of one class.
    """
    return _mean(_pixel_cross_entropy(logits, labels, class_weights), labels != IGNORE)


def dice(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return 1 - (2 sum tp + 1) / (sum t + sum p + 1), the mean over channels; t is the truth, p the probability.

    Milletari et al. (3DV 2016, arXiv:1606.04797) square the terms of the denominator and do not smooth.
    """
    return jnp.mean(_tversky(logits, labels, alpha=0.5, beta=0.5, smooth=0.5), axis=-1)


def jaccard(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return 1 - (sum tp + 1) / (sum t + sum p - sum tp + 1), the mean over channels; t and p as in `dice`.

    Yuan et al. (IEEE TMI 36, 2017) use the Jaccard distance as a loss.
    """
    return jnp.mean(_tversky(logits, labels, alpha=1.0, beta=1.0, smooth=1.0), axis=-1)


def focal_tversky(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return (1 - TI)^(3/4), the mean over channels, with TI = (TP + 1) / (TP + 0.7 FN + 0.3 FP + 1).

    Abraham & Khan (ISBI 2019, arXiv:1810.07842): alpha = 0.7 on the false negatives FN = sum t (1 - p), beta = 0.3 on
    the false positives FP = sum (1 - t) p, gamma = 4/3, and smoothing 1 as in their release
    (nabsabraham/focal-tversky-unet). They sum over the classes. The mean here keeps the loss between 0 and 1.
    """
    complement = _tversky(logits, labels, alpha=0.7, beta=0.3, smooth=1.0)  # 1 - TI
    # The slope of x^(3/4) at 0 is infinite, and 0 * inf is nan. Below 1e-7 the chord replaces the curve.
    return jnp.mean(complement * jnp.maximum(complement, 1e-7) ** (3 / 4 - 1), axis=-1)


def boundary(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the mean of probability times signed distance to the truth's boundary in pixels, over pixels and channels.

    Kervadec et al. (MIDL 2019, arXiv:1812.07032) with the distance map of their release, see `distance.signed`. The
    distance is negative inside. It is 0 everywhere if the truth is empty or fills the image, and so are loss and
    gradient. The loss can be negative. Use it only with a regional loss, as in {"dice": 1.0, "boundary": 0.01}.
    """
    p, _, valid = _probabilities(logits, labels)
    channels = p.shape[-1]
    signed = distance.signed(labels, max(channels, 2))[..., -channels:]  # one channel: the foreground's
    return _mean(jnp.mean(p * signed, axis=-1), valid[..., 0])


def distance_penalty(logits: jax.Array, labels: jax.Array, class_weights: jax.Array | None = None) -> jax.Array:
    """Return the mean of (1 + phi) times the pixel's cross-entropy; phi is 1 at the truth's boundaries, less inside.

    Caliva et al. (MIDL 2019, arXiv:1908.03679) weight cross-entropy with distance maps of the truth, so that boundaries
    count most. The form here is this project's. A pixel of class c at distance d from the nearest pixel of another
    class has phi = (D - d + 1) / D; D is the largest d of class c in the image. phi falls linearly from 1 at d = 1 to
    1 / D at the deepest pixel, for objects of any size. In an image of one class phi is 0. `class_weights` are those of
    `cross_entropy`.
    """
    classes = max(logits.shape[-1], 2)
    _, depth = distance.of_classes(labels, classes)
    inside = jax.nn.one_hot(labels, classes, dtype=jnp.bool_) & jnp.isfinite(depth)
    depth = jnp.where(inside, depth, 0)
    deepest = jnp.maximum(jnp.max(depth, axis=(1, 2), keepdims=True), 1)
    phi = jnp.sum(jnp.where(inside, (deepest - depth + 1) / deepest, 0), axis=-1)
    return _mean((1 + phi) * _pixel_cross_entropy(logits, labels, class_weights), labels != IGNORE)


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "dice": dice,
    "jaccard": jaccard,
    "focal_tversky": focal_tversky,
    "boundary": boundary,
    "distance_penalty": distance_penalty,
}
CLASS_WEIGHTED = ("cross_entropy", "distance_penalty")
"""The losses that take `class_weights`: sums over pixels, each of one class. An overlap weights classes itself."""


def _pixel_cross_entropy(logits: jax.Array, labels: jax.Array, class_weights: jax.Array | None) -> jax.Array:
    """Return the weighted cross-entropy of each pixel, (N, H, W) float32, 0 on ignored pixels."""
    logits, valid = _valid(logits, labels)
    if logits.shape[-1] == 1:
        entropy = optax.sigmoid_binary_cross_entropy(logits[..., 0], (labels == 1).astype(jnp.float32))
    else:
        classes = jnp.where(valid[..., 0], labels, 0).astype(jnp.int32)
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
    if class_weights is not None:
        of_pixel = labels == 1 if logits.shape[-1] == 1 else jnp.where(valid[..., 0], labels, 0)
        entropy = entropy * class_weights[of_pixel.astype(jnp.int32)]
    return jnp.where(valid[..., 0], entropy, 0)


def _probabilities(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return probability and truth, (N, H, W, num_classes) float32 and 0 on ignored pixels; valid (N, H, W, 1) bool."""
    logits, valid = _valid(logits, labels)
    if logits.shape[-1] == 1:
        p, truth = jax.nn.sigmoid(logits), (labels == 1)[..., None].astype(jnp.float32)
    else:
        p, truth = jax.nn.softmax(logits), jax.nn.one_hot(labels, logits.shape[-1])
    return jnp.where(valid, p, 0), truth, valid


def _valid(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return float32 logits and valid (N, H, W, 1) bool. Logits of ignored pixels are 0, and so is their gradient."""
    if logits.ndim != 4 or labels.shape != logits.shape[:3]:
        raise ValueError(
            f"logits (N, H, W, num_classes) and labels (N, H, W) do not fit: {logits.shape} and {labels.shape}"
        )
    valid = (labels != IGNORE)[..., None]
    return jnp.where(valid, logits.astype(jnp.float32), 0), valid


def _tversky(logits: jax.Array, labels: jax.Array, *, alpha: float, beta: float, smooth: float) -> jax.Array:
    """Return 1 - (TP + smooth) / (TP + alpha FN + beta FP + smooth), (N, num_classes), written without cancellation."""
    p, t, _ = _probabilities(logits, labels)
    errors = alpha * _sum(t * (1 - p)) + beta * _sum((1 - t) * p)
    return errors / (_sum(t * p) + errors + smooth)


def _sum(values: jax.Array) -> jax.Array:
    """Return the sum over an image's pixels, axes 1 and 2."""
    return jnp.sum(values, axis=(1, 2))


def _mean(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Return the mean (N,) over valid pixels of values (N, H, W), which are 0 elsewhere."""
    return _sum(values) / jnp.maximum(_sum(valid.astype(jnp.float32)), 1)
