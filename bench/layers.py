"""Speed of each 3x3 convolution of the U-Net: forward, gradient of the input, gradient of the filter.

    python bench/layers.py --batch=4 --size=192,256

Prints GFLOP/s by wall time and by processor time (of all cores together), for jax.lax and for `ops.conv3x3`, compiled
as training compiles them. Figures are medians of several calls, by turns.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sharp_unet_jax import ops
from sharp_unet_jax.config import Config
from sharp_unet_jax.training import compile

LAYERS = [(0, 3, 32), (0, 32, 32), (0, 64, 32), (1, 32, 64), (1, 64, 64), (1, 128, 64), (2, 64, 128), (2, 128, 128)]
LAYERS += [(2, 256, 128), (3, 128, 256), (3, 256, 256), (3, 512, 256), (4, 256, 512), (4, 512, 512)]


def lax_conv(x: jax.Array, w: jax.Array) -> jax.Array:
    """Return the convolution of x (N, H, W, I) and w (3, 3, I, O) by jax.lax."""
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def ways(conv: Callable[..., jax.Array]) -> dict[str, Callable[..., jax.Array]]:
    """Return compiled functions of x, w and g: the convolution of x and w, and its gradients for g."""
    definitions = {
        "forward": lambda x, w, _: conv(x, w),
        "input": lambda x, w, g: jax.vjp(lambda x: conv(x, w), x)[1](g)[0],
        "filter": lambda x, w, g: jax.vjp(lambda w: conv(x, w), w)[1](g)[0],
    }
    return {name: compile.jit(way, Config(), jax.default_backend()) for name, way in definitions.items()}


def seconds(calls: list[Callable[..., jax.Array]], *inputs: jax.Array, rounds: int = 7) -> np.ndarray:
    """Return the median seconds of each call, of wall time and of processor time: (calls, 2)."""
    taken = np.zeros((rounds, len(calls), 2))
    for each in range(-1, rounds):  # the first one compiles
        for number, call in enumerate(calls):
            wall, processor = time.perf_counter(), time.process_time()
            call(*inputs).block_until_ready()
            taken[each, number] = time.perf_counter() - wall, time.process_time() - processor
    return np.median(taken, axis=0)


def main() -> None:
    """Print a row for each layer and direction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", default="192,256")
    arguments = parser.parse_args()
    height, width = map(int, arguments.size.split(","))
    print("level   in  out          lax: GFLOP/s per core  ops: GFLOP/s per core")
    for level, i, o in LAYERS:
        shape = (arguments.batch, height >> level, width >> level)
        x, w, g = jnp.ones((*shape, i)), jnp.ones((3, 3, i, o)), jnp.ones((*shape, o))
        work = 2 * 9 * i * o * np.prod(shape) / 1e9
        plain, ours = ways(lax_conv), ways(ops.conv3x3)
        for name in plain:
            figures = work / seconds([plain[name], ours[name]], x, w, g).ravel()
            print(
                f"{level:5} {i:4} {o:4} {name:8} "
                + " ".join(f"{v:{n}.0f}" for v, n in zip(figures, (14, 7, 14, 7), strict=True))
            )


if __name__ == "__main__":
    main()
