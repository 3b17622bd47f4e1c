"""The optimizer of a config, and the average of the weights that it leaves."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sharp_unet_jax.config import Config

EPSILON = 1e-7  # of Adam: Keras's
# nnU-Net's (Isensee et al., Nature Methods 18, 2021), the usual recipe for medical images: "sgd" with schedule="poly",
# learning_rate=0.01 and weight_decay=3e-5. Elsewhere 0.9 is usual.
MOMENTUM = 0.99


class Average(NamedTuple):
    """The average of a network's arrays over the steps of a run, with exponentially decaying weights."""

    params: dict[str, Any]
    stats: dict[str, Any]
    steps: jax.Array  # () int32, those averaged over


def build(config: Config) -> optax.GradientTransformation:
    """Return the optimizer of a part of the network, without the learning rate and the clipping of gradients.

    Weight decay acts on arrays of several axes, the kernels. Biases and normalisation have one number per channel;
    decay would pull the latter's scales to 0. AdamW (Loshchilov & Hutter, ICLR 2019) adds it after Adam's scaling.
    """
    scale = optax.trace(MOMENTUM, nesterov=True) if config.optimizer == "sgd" else optax.scale_by_adam(eps=EPSILON)
    if not config.weight_decay:
        return scale
    decay = optax.add_decayed_weights(config.weight_decay, mask=_kernels)
    return optax.chain(scale, decay) if config.optimizer == "adamw" else optax.chain(decay, scale)


def no_average(params: dict[str, Any], stats: dict[str, Any]) -> Average:
    """Return the average before the first step."""
    params, stats = jax.tree.map(jnp.zeros_like, (params, stats))
    return Average(params, stats, jnp.zeros((), jnp.int32))


def averaged(decay: float, average: Average, params: dict[str, Any], stats: dict[str, Any]) -> Average:
    """Return the average after a step that left `params` and `stats`.

    The weights of steps 1 to n are proportional to decay^(n - 1), ..., decay, 1 and sum to 1: the weights that a run
    starts from do not count. This is Adam's correction of moments.
    """
    steps = average.steps + 1
    share = (1 - decay) / -jnp.expm1(steps * math.log(decay))
    # Not optax.incremental_update: in float32 its two factors do not sum to 1, an error that the average multiplies by
    # 1 / (1 - decay). This form also leaves what is constant as it is.
    move = lambda mean, new: mean + share * (new - mean)  # noqa: E731
    params, stats = jax.tree.map(move, (average.params, average.stats), (params, stats))
    return Average(params, stats, steps)


def _kernels(params: Any) -> Any:
    """Return True for each array that weight decay acts on."""
    return jax.tree.map(lambda array: array.ndim > 1, params)
