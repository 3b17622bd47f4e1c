"""Operations with a lowering or a gradient of their own: sharp block, convolutions, max-pool, ReLU, bias, batch norm.

Arrays are NHWC, float32 or bfloat16. `ops/definitions.py` defines every operation in one page of plain `lax`, and a TPU
runs these definitions. Where XLA's code for a definition is slow, the CPU or a GPU gets another lowering of the same
operation, from the files `cpu_*.py` and `gpu_*.py`. `lax.platform_dependent` chooses it at compile time. Inside
`by_definition` every platform gets the definitions. The tests compare each operation with its definition, in value and
in gradient. Gradients are reverse-mode only: most operations define their own.
"""

from sharp_unet_jax.ops.conv import conv1x1, conv3x3, up_conv
from sharp_unet_jax.ops.definitions import depthwise
from sharp_unet_jax.ops.kernels import KERNELS
from sharp_unet_jax.ops.norm import normalised
from sharp_unet_jax.ops.platform import by_definition
from sharp_unet_jax.ops.pointwise import add_bias, relu
from sharp_unet_jax.ops.pool import max_pool
from sharp_unet_jax.ops.resize import enlarge
from sharp_unet_jax.ops.sharp import sharp_skip, sharpen

__all__ = [
    "KERNELS",
    "add_bias",
    "by_definition",
    "conv1x1",
    "conv3x3",
    "depthwise",
    "enlarge",
    "max_pool",
    "normalised",
    "relu",
    "sharp_skip",
    "sharpen",
    "up_conv",
]
