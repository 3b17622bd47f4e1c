"""What a training step needs in memory, by tracing it: nothing is compiled or run."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import psutil
from flax import nnx

from sharp_unet_jax import losses
from sharp_unet_jax.config import Config
from sharp_unet_jax.training import network


class Need(NamedTuple):
    """Bytes, and what sizes a network likes."""

    state: int  # parameters, their gradients and Adam's two moments: whatever the batch
    image: int  # for each image of a batch
    multiple: int  # sizes that are no multiples of it are padded by the network


def need(config: Config, model: str, *, channels: int, num_classes: int) -> Need:
    """Of a step of `model` at `config.data.size`.

    An image's share is what the forward pass leaves for the backward pass, and three quarters of it again for what is
    on the way. The former are the residuals of `jax.vjp` for two images less those for one: parameters are among them,
    in the type of the arithmetic. That is 0.9 to 1.8 times what XLA says on a CPU, see bench/README.md.
    """

    def made() -> Any:
        return network.build(config, model, num_classes=num_classes, channels=channels, rngs=nnx.Rngs(0))

    segmenter = nnx.eval_shape(made)
    graph, loss = nnx.graphdef(segmenter), losses.get(config.loss)

    def residuals(params: Any, stats: Any, image: jax.Array, mask: jax.Array) -> Any:
        def objective(params: Any) -> jax.Array:
            logits = nnx.merge(graph, params, stats, copy=True)(network.scaled(image), jnp.ones(len(image)))
            return jnp.sum(loss(logits, mask))

        return jax.vjp(objective, params)[1]

    params, stats = jax.eval_shape(lambda: network.arrays(made()))

    def kept(images: int) -> int:
        shape = (images, *config.data.size)
        image, mask = (jax.ShapeDtypeStruct(s, jnp.uint8) for s in ((*shape, channels), shape))
        return _bytes(jax.eval_shape(residuals, params, stats, image, mask))

    return Need(4 * _bytes(params), int(1.75 * (kept(2) - kept(1))), segmenter.stride)


def at_hand(device: jax.Device) -> int:
    """Bytes that a run may fill: a GPU's or TPU's own memory, or what the machine has free beside its CPU."""
    if own := (device.memory_stats() or {}).get("bytes_limit"):
        return own
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container; "max" where there is none
    most = limit.read_text().strip() if limit.exists() else ""
    free = psutil.virtual_memory().available
    return min(free, int(most)) if most.isdecimal() else free


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
