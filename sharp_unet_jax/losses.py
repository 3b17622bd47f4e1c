"""Losses by name. Each gives one value an image, so that padding of a batch can be weighted with zero.

Everywhere: logits (N, H, W, K) of any floating dtype, computed on in float32; K = 1 is binary (sigmoid, class 1 is the
foreground), K > 1 is one class a channel (softmax). Labels (N, H, W) are integer classes; pixels labelled IGNORE take
no part and get no gradient, and an image of nothing else has loss 0. Sums run over the pixels of one image and means
over its valid pixels. Entropies are in nats; ValueError for shapes that do not fit.
"""

import difflib
from collections.abc import Callable, Mapping

import chex
import jax
import jax.numpy as jnp
import optax

from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.ops import distance

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""(logits (N, H, W, K), labels (N, H, W)) -> (N,) float32."""


def get(name: str | Mapping[str, float]) -> Loss:
    """Return the loss of that name, or the weighted sum of several.

    Args:
        name: a key of LOSSES, or {key: weight, ...}, for example {"cross_entropy": 1.0, "dice": 0.5}.

    Raises:
        ValueError: for an unknown name, with the nearest known one, or for no name at all.

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
            raise ValueError(f"unknown loss {key!r}: did you mean {near!r}? There are {', '.join(LOSSES)}")

    def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
        total = jnp.float32(0)
        for key, weight in weights.items():
            values = LOSSES[key](logits, labels)
            chex.assert_shape(values, logits.shape[:1], custom_message=f"loss {key!r} is not one value an image")
            total = total + weight * values
        return total

    return LOSSES[name] if isinstance(name, str) else loss


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy: binary for K = 1, else categorical (the paper, eq. 3)."""
    return _mean(_pixel_cross_entropy(logits, labels), labels != IGNORE)


def dice(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """1 - (2 sum tp + 1) / (sum t + sum p + 1), averaged over channels; t is the truth, p the probability.

    After Milletari et al. (3DV 2016, arXiv:1606.04797), who square the terms of the denominator and do not smooth.
    """
    return jnp.mean(_tversky(logits, labels, misses=0.5, false_alarms=0.5, smooth=0.5), axis=-1)


def jaccard(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """1 - (sum tp + 1) / (sum t + sum p - sum tp + 1), averaged over channels.

    The Jaccard distance as a loss is due to Yuan et al. (IEEE TMI 36, 2017); sums and smoothing are those of `dice`.
    """
    return jnp.mean(_tversky(logits, labels, misses=1.0, false_alarms=1.0, smooth=1.0), axis=-1)


def focal_tversky(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """(1 - TI)^(3/4), averaged over channels, with TI = (TP + 1) / (TP + 0.7 FN + 0.3 FP + 1).

    Abraham & Khan (ISBI 2019, arXiv:1810.07842): alpha = 0.7 on the misses FN = sum t (1 - p), beta = 0.3 on the
    false alarms FP = sum (1 - t) p, gamma = 4/3, and smoothing 1 as in their release (nabsabraham/focal-tversky-unet).
    They add up the classes; here they are averaged, so the loss stays between 0 and 1.
    """
    missing = _tversky(logits, labels, misses=0.7, false_alarms=0.3, smooth=1.0)
    # The slope of x^(3/4) at 0 is infinite, and 0 * inf would be nan: below 1e-7 follow the chord.
    return jnp.mean(missing * jnp.maximum(missing, 1e-7) ** (3 / 4 - 1), axis=-1)


def boundary(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over pixels and channels of probability times signed distance to the truth's boundary, in pixels.

    Kervadec et al. (MIDL 2019, arXiv:1812.07032) with the distance map of their release, see `distance.signed`:
    negative inside, 0 throughout for a truth that is empty or fills the image (such an image has loss and gradient 0).
    The loss can be negative. Meant to stand beside a regional loss, as in {"dice": 1.0, "boundary": 0.01}, not alone.
    """
    p, _, valid = _probabilities(logits, labels)
    channels = p.shape[-1]
    signed = distance.signed(labels, max(channels, 2))[..., -channels:]  # K = 1: the foreground's
    return _mean(jnp.mean(p * signed, axis=-1), valid[..., 0])


def distance_penalty(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean of (1 + phi) times the pixel's cross-entropy; phi is 1 along the truth's boundaries and falls inwards.

    Caliva et al. (MIDL 2019, arXiv:1908.03679) weigh cross-entropy with distance maps of the truth so that boundaries
    count most. The form here: for a pixel of class c at distance d to the nearest pixel of another class,
    phi = (D - d + 1) / D, with D the largest d of class c in the image. It falls linearly from 1 at d = 1 to 1 / D at
    the deepest pixel, for objects of any size. In an image of a single class phi is 0.
    """
    classes = max(logits.shape[-1], 2)
    _, depth = distance.of_classes(labels, classes)
    inside = jax.nn.one_hot(labels, classes, dtype=jnp.bool_) & jnp.isfinite(depth)
    depth = jnp.where(inside, depth, 0)
    deepest = jnp.maximum(jnp.max(depth, axis=(1, 2), keepdims=True), 1)
    phi = jnp.sum(jnp.where(inside, (deepest - depth + 1) / deepest, 0), axis=-1)
    return _mean((1 + phi) * _pixel_cross_entropy(logits, labels), labels != IGNORE)


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "dice": dice,
    "jaccard": jaccard,
    "focal_tversky": focal_tversky,
    "boundary": boundary,
    "distance_penalty": distance_penalty,
}


def _pixel_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """(N, H, W) float32; 0 on ignored pixels."""
    logits, valid = _valid(logits, labels)
    if logits.shape[-1] == 1:
        entropy = optax.sigmoid_binary_cross_entropy(logits[..., 0], (labels == 1).astype(jnp.float32))
    else:
        classes = jnp.where(valid[..., 0], labels, 0).astype(jnp.int32)
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
    return jnp.where(valid[..., 0], entropy, 0)


def _probabilities(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Probability and truth, both (N, H, W, K) float32 and 0 on ignored pixels, and which are valid (N, H, W, 1)."""
    logits, valid = _valid(logits, labels)
    if logits.shape[-1] == 1:
        p, truth = jax.nn.sigmoid(logits), (labels == 1)[..., None].astype(jnp.float32)
    else:
        p, truth = jax.nn.softmax(logits), jax.nn.one_hot(labels, logits.shape[-1])
    return jnp.where(valid, p, 0), truth, valid


def _valid(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logits in float32 and 0 on ignored pixels, whose gradient so is 0 whatever they were; valid (N, H, W, 1)."""
    if logits.ndim != 4 or labels.shape != logits.shape[:3]:
        raise ValueError(f"logits (N, H, W, K) and labels (N, H, W) do not fit: {logits.shape} and {labels.shape}")
    valid = (labels != IGNORE)[..., None]
    return jnp.where(valid, logits.astype(jnp.float32), 0), valid


def _tversky(logits: jax.Array, labels: jax.Array, *, misses: float, false_alarms: float, smooth: float) -> jax.Array:
    """1 - (TP + smooth) / (TP + misses FN + false_alarms FP + smooth), (N, K), written so that nothing cancels."""
    p, t, _ = _probabilities(logits, labels)
    errors = misses * _sum(t * (1 - p)) + false_alarms * _sum((1 - t) * p)
    return errors / (_sum(t * p) + errors + smooth)


def _sum(values: jax.Array) -> jax.Array:
    return jnp.sum(values, axis=(1, 2))


def _mean(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean over the valid pixels of (N, H, W) values that are 0 elsewhere."""
    return _sum(values) / jnp.maximum(_sum(valid.astype(jnp.float32)), 1)
