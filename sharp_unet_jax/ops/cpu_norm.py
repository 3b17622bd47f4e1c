"""Sums of batch normalisation on the CPU."""

import math

import jax.numpy as jnp
from jax import Array

from sharp_unet_jax.ops import definitions


def weighted_sum(share: Array, x: Array) -> Array:
    """Sum groups of up to 16 pixels of an image first, then take the product of `definitions.weighted_sum`.

    XLA fuses a sum of up to 16 pixels with the operation that computes them. For a longer sum, or for the product
    on its own, it first writes x to memory.
    """
    few = math.gcd(x.shape[1], 16)
    return definitions.weighted_sum(share, jnp.sum(x.reshape(x.shape[0], -1, few, x.shape[2]), axis=2))
