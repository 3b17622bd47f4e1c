"""Whole images from the probabilities of their overlapping tiles, on the device.

Tiles are added to a canvas, weighted by a Gaussian around their middle, as `data.tiles.join` does on the host. Several
images lie on one canvas below each other (`data.tiles.sheets`), so batches of tiles are full, and all images of a data
set go through one compiled program. Pixel counts are summed by the rows of the canvas, and then by image on the host.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sharp_unet_jax import decision
from sharp_unet_jax.data import tiles
from sharp_unet_jax.data.resize import Size
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.training import network

_ROWS = 64  # counted at once: XLA materialises 28 bytes per pixel and more


class Canvas(NamedTuple):
    """Tiles that were joined so far."""

    total: jax.Array  # (H, W, num_classes) float32, the sum of weight times probability
    weight: jax.Array  # (H, W) float32
    truth: jax.Array  # (H, W) uint8, IGNORE where no image lies


def blank(size: Size, num_classes: int) -> Canvas:
    """Return a canvas of `size` (H, W) without tiles."""
    return Canvas(jnp.zeros((*size, num_classes)), jnp.zeros(size), jnp.full(size, IGNORE, jnp.uint8))


def paste(canvas: Canvas, probabilities: jax.Array, masks: jax.Array, index: jax.Array, weight: jax.Array) -> Canvas:
    """Add a batch of tiles to a canvas.

    Args:
        canvas: is donated.
        probabilities: (B, h, w, num_classes) float32.
        masks: (B, h, w) uint8.
        index: (B, 4) int32, see `data.tiles.Sheet`.
        weight: (B,) float32, 1 for a tile and 0 for padding, which comes last.
    """
    size = masks.shape[1], masks.shape[2]
    gaussian = jnp.asarray(tiles.gaussian(size))

    def add(k: jax.Array, canvas: Canvas) -> Canvas:
        place = index[k, 3], index[k, 2]
        total = lax.dynamic_slice(canvas.total, (*place, 0), (*size, canvas.total.shape[2]))
        weight_so_far = lax.dynamic_slice(canvas.weight, place, size)
        return Canvas(
            lax.dynamic_update_slice(canvas.total, total + gaussian[..., None] * probabilities[k], (*place, 0)),
            lax.dynamic_update_slice(canvas.weight, weight_so_far + gaussian, place),
            lax.dynamic_update_slice(canvas.truth, masks[k], place),
        )

    return lax.fori_loop(0, jnp.sum(weight).astype(jnp.int32), add, canvas)


def probabilities(canvas: Canvas) -> jax.Array:
    """Return the probabilities (H, W, num_classes) float32 of the joined tiles, 0 where there is none."""
    return canvas.total / jnp.maximum(canvas.weight, jnp.finfo(jnp.float32).tiny)[..., None]


def counts(canvas: Canvas, threshold: float) -> jax.Array:
    """Return the counts (H, classes, 3) int32 of each row, see `network.counts`."""

    def of_row(row: Canvas) -> jax.Array:
        joined = probabilities(row)
        decided = decision.labels(joined, threshold)
        return network.pixel_counts(decided[None, None], row.truth[None, None], max(joined.shape[-1], 2))[0]

    return lax.map(of_row, canvas, batch_size=_ROWS)


def soft_counts(canvas: Canvas) -> jax.Array:
    """Return the soft counts (H, 3) float32 of each row, see `network.soft_counts`."""

    def of_row(row: Canvas) -> jax.Array:
        return network.soft_pixel_counts(probabilities(row)[None, None], row.truth[None, None])[0]

    return lax.map(of_row, canvas, batch_size=_ROWS)
