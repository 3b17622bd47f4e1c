"""How fast each 3x3 convolution of the U-Net runs: forward, gradient of the input, gradient of the filter.

    python bench/layers.py --batch=4 --size=192,256

GFLOP/s by the clock and by processor time (of all cores together), plain lax beside `ops.conv3x3`; medians of several.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sharp_unet_jax import ops

LAYERS = [(0, 3, 32), (0, 32, 32), (0, 64, 32), (1, 32, 64), (1, 64, 64), (1, 128, 64), (2, 64, 128), (2, 128, 128)]
LAYERS += [(2, 256, 128), (3, 128, 256), (3, 256, 256), (3, 512, 256), (4, 256, 512), (4, 512, 512)]


def lax_conv(x: jax.Array, w: jax.Array) -> jax.Array:
    """The definition."""
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def seconds(call: Callable[..., jax.Array], *inputs: jax.Array, rounds: int = 5) -> tuple[float, float]:
    """Median seconds of a call, by the clock and of processor time."""
    call(*inputs).block_until_ready()
    taken = []
    for _ in range(rounds):
        wall, processor = time.perf_counter(), time.process_time()
        call(*inputs).block_until_ready()
        taken.append((time.perf_counter() - wall, time.process_time() - processor))
    wall, processor = np.median(taken, axis=0)
    return float(wall), float(processor)


def main() -> None:
    """Prints a row for each layer and direction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", default="192,256")
    arguments = parser.parse_args()
    height, width = map(int, arguments.size.split(","))
    print("level   in  out          lax: GFLOP/s  a core   ops: GFLOP/s  a core")
    for level, i, o in LAYERS:
        shape = (arguments.batch, height >> level, width >> level)
        x, w, g = jnp.ones((*shape, i)), jnp.ones((3, 3, i, o)), jnp.ones((*shape, o))
        work = 2 * 9 * i * o * np.prod(shape) / 1e9
        row: dict[str, list[float]] = {"forward": [], "input": [], "filter": []}
        for conv in (lax_conv, ops.conv3x3):
            ways = {
                "forward": (jax.jit(conv), x, w),
                "input": (jax.jit(lambda x, w, g, conv=conv: jax.vjp(lambda x: conv(x, w), x)[1](g)[0]), x, w, g),
                "filter": (jax.jit(lambda x, w, g, conv=conv: jax.vjp(lambda w: conv(x, w), w)[1](g)[0]), x, w, g),
            }
            for name, (call, *inputs) in ways.items():
                row[name] += [work / s for s in seconds(call, *inputs)]
        for name, figures in row.items():
            print(
                f"{level:5} {i:4} {o:4} {name:8} "
                + " ".join(f"{v:{n}.0f}" for v, n in zip(figures, (14, 7, 14, 7), strict=True))
            )


if __name__ == "__main__":
    main()
