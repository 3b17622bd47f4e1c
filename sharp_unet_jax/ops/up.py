"""Up-convolution: a product of matrices and a permutation."""

import jax.numpy as jnp
from jax import Array

from sharp_unet_jax.ops import definitions
from sharp_unet_jax.ops.platform import by_platform


def up_conv(x: Array, w: Array) -> Array:
    """2x2 transposed convolution, stride 2: x (N, H, W, I), w (2, 2, I, O) -> (N, 2H, 2W, O).

    Equal to `lax.conv_transpose(x, w[::-1, ::-1], (2, 2), "VALID")`; Keras stores the same w as (2, 2, O, I), PyTorch
    as (I, O, 2, 2).
    """

    def by_rows(x: Array, w: Array) -> Array:
        # Columns lie as they do in the image. XLA's CPU code would turn the one product's activations, and them back;
        # and what the filter's gradient reads, were the pixels not one axis.
        n, height, width, inputs = x.shape
        pixels = x.reshape(-1, inputs)
        rows = [(pixels @ w[a].swapaxes(0, 1).reshape(inputs, -1)).reshape(n, height, width, -1) for a in (0, 1)]
        return jnp.stack(rows, axis=2).reshape(n, 2 * height, 2 * width, -1)

    return by_platform(x, w, cpu=by_rows, default=definitions.up_conv)
