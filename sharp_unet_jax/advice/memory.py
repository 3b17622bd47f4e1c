"""Memory of a training step, estimated by tracing: nothing is compiled or run. Memory of this machine."""

import functools
import math
import resource
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from flax import nnx
from numpy.typing import NDArray

from sharp_unet_jax import losses
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import tiles
from sharp_unet_jax.training import network

CONTAINER = Path("/sys/fs/cgroup")  # what the kernel tells a process of its container


class Need(NamedTuple):
    """Bytes of a training step, and the sizes that suit the network."""

    state: int  # bytes of parameters, their gradients, the optimizer's moments and the averaged weights
    image: int  # bytes for each image of a batch
    multiple: int  # the network's stride: it pads other sizes up to the next multiple


def need(config: Config, model: str, *, channels: int, num_classes: int) -> Need:
    """Estimate the memory of a training step of `model` on images of `config.data.size`.

    An image needs what its forward pass leaves for the backward pass, and three quarters of that for temporaries. The
    former are the residuals of `jax.vjp` for two images less those for one: the difference leaves out the parameters,
    which are residuals too. The estimate is 0.9 to 1.8 times XLA's own on a CPU (bench/README.md).
    """

    def build() -> Any:
        return network.build(config, model, num_classes=num_classes, channels=channels, rngs=nnx.Rngs(0))

    segmenter = nnx.eval_shape(build)
    graph, loss = nnx.graphdef(segmenter), losses.get(config.loss)

    def residuals(params: Any, stats: Any, image: jax.Array, mask: jax.Array) -> Any:
        def objective(params: Any) -> jax.Array:
            model = nnx.merge(graph, params, stats, copy=True)
            heads = model.outputs(network.scaled(image), jnp.ones(len(image)))
            return functools.reduce(jnp.add, [jnp.sum(loss(logits, mask)) for logits in heads])

        return jax.vjp(objective, params)[1]

    params, stats = jax.eval_shape(lambda: network.arrays(build()))

    def kept(images: int) -> int:
        shape = (images, *config.data.size)
        image, mask = (jax.ShapeDtypeStruct(s, jnp.uint8) for s in ((*shape, channels), shape))
        return _bytes(jax.eval_shape(residuals, params, stats, image, mask))

    copies = 2 + (1 if config.optimizer == "sgd" else 2) + (config.ema > 0)
    return Need(copies * _bytes(params), int(1.75 * (kept(2) - kept(1))), segmenter.stride)


def resident(
    config: Config, sizes: NDArray[np.int64], *, channels: int, num_classes: int, multiple: int, batch: int
) -> int:
    """Return the bytes that lie on a device throughout: the data set, if it may, and the canvas of whole images.

    Args:
        config: of the sweep.
        sizes: heights and widths of the images at the resolution of training, (n, 2).
        channels: of the images.
        num_classes: of the network.
        multiple: the network's stride.
        batch: tiles that are predicted together.
    """
    of_crops = config.data.fit == "crop"
    pixels = int(sizes.prod(axis=1).sum()) if of_crops else len(sizes) * math.prod(config.data.size)
    images = pixels * (channels + 1)
    kept = images if images <= 1e9 * config.data.resident_gb else 0
    # The canvas has the sum of probabilities, its weights and labels; probabilities and decisions are made of it.
    joined = math.prod(tiles.canvas(sizes, config.data.size, multiple, batch)) if of_crops else 0
    return kept + joined * (8 * num_classes + 6)


def at_hand(device: jax.Device) -> int:
    """Return the bytes that a run may fill: the memory of a GPU or TPU, or the free memory of a CPU's machine."""
    return (device.memory_stats() or {}).get("bytes_limit") or free()


def free() -> int:
    """Return the free bytes of this machine, or what its container or a limit of the process leaves of them."""
    found = [psutil.virtual_memory().available]
    if (CONTAINER / "memory.max").exists() and (most := (CONTAINER / "memory.max").read_text().strip()) != "max":
        _, _, cached = (CONTAINER / "memory.stat").read_text().partition("inactive_file ")  # files that can be dropped
        used = int((CONTAINER / "memory.current").read_text()) - int(cached.split()[0])
        found.append(max(int(most) - used, 0))
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)  # `ulimit -v`, as batch systems set it
    if limit != resource.RLIM_INFINITY:
        # XLA's CPU code maps about twice the addresses that it fills, and aborts where it gets none.
        found.append(max(limit - psutil.Process().memory_info().vms, 0) // 2)
    return min(found)


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
