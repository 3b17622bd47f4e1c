"""The few operations worth their own lowering or gradient: sharpen, convolutions, bias, ReLU, max-pool.

Every array is NHWC, float32 or bfloat16. `ops/definitions.py` says in one page of ordinary `lax` what each of them is;
that is what a TPU runs. Where XLA's code for it is slow, the CPU or a GPU gets another lowering of the same function,
chosen by `lax.platform_dependent` while compiling, unless `by_definition` asks for the plain one. The tests hold every
one of them to its definition, in value and in gradient. Reverse-mode gradients only: most bring their own.
"""

from sharp_unet_jax.ops.conv import conv1x1, conv3x3
from sharp_unet_jax.ops.definitions import depthwise
from sharp_unet_jax.ops.kernels import KERNELS
from sharp_unet_jax.ops.norm import normalised
from sharp_unet_jax.ops.platform import by_definition
from sharp_unet_jax.ops.pointwise import add_bias, relu
from sharp_unet_jax.ops.pool import max_pool
from sharp_unet_jax.ops.sharp import sharp_skip, sharpen
from sharp_unet_jax.ops.up import up_conv

__all__ = [
    "KERNELS",
    "add_bias",
    "by_definition",
    "conv1x1",
    "conv3x3",
    "depthwise",
    "max_pool",
    "normalised",
    "relu",
    "sharp_skip",
    "sharpen",
    "up_conv",
]
