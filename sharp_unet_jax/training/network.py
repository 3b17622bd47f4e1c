"""The network of a config, and the steps from images to probabilities and counts: for training and for prediction."""

from collections.abc import Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import nnx

from sharp_unet_jax import decision, models
from sharp_unet_jax.config import Config
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.models import layers


def build(config: Config, model: str, *, num_classes: int, channels: int, rngs: nnx.Rngs) -> models.Segmenter:
    """Build `model` as the config says, for images of `channels`, with fresh weights."""
    return models.build(
        model,
        num_classes=num_classes,
        in_channels=channels,
        rngs=rngs,
        skip_kernel=config.skip_kernel,
        skip_padding=config.skip_padding,
        dtype=jnp.bfloat16 if config.precision == "bfloat16" else jnp.float32,
        remat=config.remat,
        head=config.prediction_head,
    )


def head_shares(weights: Sequence[float], heads: int) -> list[float]:
    """Return each head's share of the loss, from weights or, without any, the same for all; they sum to 1."""
    weights = weights if weights and heads > 1 else [1.0] * heads
    return [each / sum(weights) for each in weights]


def arrays(network: models.Segmenter) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a network's parameters and all its other arrays, as nested dicts: the contents of a checkpoint."""
    params, rest = (nnx.state(network, kind) for kind in (nnx.Param, nnx.Not(nnx.Param)))
    return nnx.to_pure_dict(params), nnx.to_pure_dict(rest)


def dtypes(network: models.Segmenter) -> dict[str, Any]:
    """Return the dtype in which the network uses each parameter of `arrays(network)`."""
    params = nnx.to_flat_state(nnx.state(network, nnx.Param))
    used = [(path, network.dtype if isinstance(p, layers.Weight) else p.dtype) for path, p in params]
    return nnx.to_pure_dict(nnx.from_flat_state(used))


def scaled(images: jax.Array) -> jax.Array:
    """Return images (N, H, W, C) uint8 as a network expects them: float32 in [0, 1]."""
    return images.astype(jnp.float32) / 255


def probabilities(logits: jax.Array) -> jax.Array:
    """Return probabilities (..., num_classes) float32: a sigmoid if num_classes is 1, else a softmax."""
    logits = logits.astype(jnp.float32)
    return jax.nn.sigmoid(logits) if logits.shape[-1] == 1 else jax.nn.softmax(logits)


def counts(logits: jax.Array, labels: jax.Array, threshold: float = 0.5) -> jax.Array:
    """Count the pixels that every score is derived from. Call it inside of jit.

    Args:
        logits: (N, H, W, num_classes) floating. `decision.labels_of_logits` decides on the class of each pixel.
        labels: (N, H, W) integer classes. Pixels labelled IGNORE are not counted; any other value beyond the classes
            is counted as predicted, and as no class's truth.
        threshold: a probability, used only if num_classes is 1.

    Returns:
        Intersection, truth and predicted, (N, classes, 3) int32. If num_classes is 1 there are 2 classes, background
        and foreground. Exact up to 2**31 pixels per image.

    Raises:
        AssertionError: for shapes that do not fit; the message has both.
    """
    chex.assert_rank([logits, labels], [4, 3])
    return pixel_counts(decision.labels_of_logits(logits, threshold), labels, max(logits.shape[-1], 2))


def pixel_counts(decided: jax.Array, labels: jax.Array, classes: int) -> jax.Array:
    """Return `counts` of pixels whose class is `decided`; both (N, H, W)."""
    chex.assert_equal_shape([decided, labels])
    valid = (labels != IGNORE)[..., None]
    truth = jax.nn.one_hot(labels, classes, dtype=jnp.bool_)  # all zero at IGNORE
    predicted = valid & jax.nn.one_hot(decided, classes, dtype=jnp.bool_)
    pixels = [jnp.sum(mask, axis=(1, 2), dtype=jnp.int32) for mask in (truth & predicted, truth, predicted)]
    return jnp.stack(pixels, axis=-1)


def soft_counts(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return what `metrics.soft_jaccard` is derived from. Call it inside of jit.

    Args:
        logits: (N, H, W, num_classes) floating.
        labels: (N, H, W) integer classes; pixels labelled IGNORE are left out.

    Returns:
        (N, 3) float32, sums over an image's pixels and channels: truth times probability, truth, probability.

    Raises:
        AssertionError: for shapes that do not fit; the message has both.
    """
    chex.assert_rank([logits, labels], [4, 3])
    chex.assert_equal_shape_prefix([logits, labels], 3)
    return soft_pixel_counts(probabilities(logits), labels)


def soft_pixel_counts(probabilities: jax.Array, labels: jax.Array) -> jax.Array:
    """Return `soft_counts` of `probabilities` (N, H, W, num_classes) and labels (N, H, W)."""
    channels = probabilities.shape[-1]
    truth = jax.nn.one_hot(labels, max(channels, 2), dtype=jnp.float32)[
        ..., -channels:
    ]  # one channel: only the foreground
    predicted = jnp.where((labels != IGNORE)[..., None], probabilities, 0)
    return jnp.stack([jnp.sum(each, axis=(1, 2, 3)) for each in (truth * predicted, truth, predicted)], axis=-1)
