"""Exact Euclidean distances in pixels, inside jit and on any device, for the losses that look at boundaries."""

import jax
import jax.numpy as jnp
from jax import lax


def to_nearest(seeds: jax.Array) -> jax.Array:
    """Distance from every pixel to the nearest True one: `scipy.ndimage.distance_transform_edt(~seeds)`.

    Separable: distances along each row by cumulative maxima, then over the columns min_k (i - k)^2 + row(k, j)^2, one
    source row k at a time, so that no array is larger than the result. H * H * W steps; everything squared is a
    whole number, exact up to sides of 16,384 pixels.

    Args:
        seeds: (..., H, W) boolean.

    Returns:
        (..., H, W) float32; inf where the image has no True pixel.
    """
    height, width = seeds.shape[-2:]
    far = height + width  # further than any pixel of the image
    column = lax.broadcasted_iota(jnp.int32, seeds.shape, seeds.ndim - 1)
    before = lax.cummax(jnp.where(seeds, column, -far), axis=seeds.ndim - 1)
    after = lax.cummin(jnp.where(seeds, column, width + far), axis=seeds.ndim - 1, reverse=True)
    in_row = jnp.minimum(jnp.minimum(column - before, after - column), far) ** 2
    row = lax.broadcasted_iota(jnp.int32, seeds.shape, seeds.ndim - 2)

    def nearer(squared: jax.Array, source: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        k, in_row_k = source
        return jnp.minimum(squared, (row - k) ** 2 + in_row_k[..., None, :]), None

    sources = jnp.arange(height, dtype=jnp.int32), jnp.moveaxis(in_row, -2, 0)
    squared, _ = lax.scan(nearer, jnp.full(seeds.shape, far**2, jnp.int32), sources, unroll=8)
    return jnp.where(squared < far**2, jnp.sqrt(squared.astype(jnp.float32)), jnp.inf)


def of_classes(labels: jax.Array, classes: int) -> tuple[jax.Array, jax.Array]:
    """Distances to each class and to its complement.

    Args:
        labels: (N, H, W) integer classes; other values, such as metrics.IGNORE, belong to no class: they are
            measured from, never to.
        classes: C.

    Returns:
        Two (N, H, W, C) float32: the distance to the nearest pixel of class c (0 on it), and to the nearest pixel of
        any other class. inf where there is no such pixel in the image.
    """
    seeds = jax.nn.one_hot(labels, classes, dtype=jnp.bool_, axis=1)
    to_class = to_nearest(seeds)
    to_others = [jnp.min(jnp.delete(to_class, c, axis=1), axis=1) for c in range(classes)]
    return jnp.moveaxis(to_class, 1, -1), jnp.stack(to_others, axis=-1)


def signed(labels: jax.Array, classes: int) -> jax.Array:
    """Signed distance of every pixel to the boundary of each class, as the release of Kervadec et al. (2019) has it.

    Outside the class the distance to its nearest pixel; on it 1 minus the distance to the nearest pixel of another
    class, so the class's outermost pixels are at 0. A class that is absent from an image, or alone in it, has no
    boundary: 0 everywhere.

    Args and result as for `of_classes`: (N, H, W, C) float32.
    """
    to_class, to_others = of_classes(labels, classes)
    distance = jnp.where(to_class == 0, 1 - to_others, to_class)
    return jnp.where(jnp.isfinite(distance), distance, 0)
