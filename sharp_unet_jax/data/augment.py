"""Random augmentation of training images and masks, on the device and inside the step.

`config.Augment` sets the strength of each change; a change of strength 0 is not compiled. The changes of an image
depend only on the run's seed, the epoch and the image. They do not depend on the batch, on the devices that share it,
or on where a run was resumed.
"""

import math

import dm_pix
import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.ndimage import map_coordinates

from sharp_unet_jax.config import Augment
from sharp_unet_jax.data.resize import Size
from sharp_unet_jax.metrics import IGNORE

# Every image draws all of these numbers, used or not: no change's number then depends on which others are used.
_DRAWS = ("flip_y", "flip_x", "turn", "angle", "zoom", "y", "x", "brightness", "contrast", "gamma", "blur", "noise")
_KNOTS = 3  # elastic displacements are drawn on a 3x3 grid, as by Ronneberger et al. (2015)


def window(settings: Augment, size: Size) -> Size:
    """Return the height and width of what the changes may look at to fill `size`: with it no corner is empty.

    An elastic displacement counts with three of its standard deviations; those of crops end there.
    """
    angle, zoom, elastic = math.radians(min(settings.rotate, 90)), 1 + settings.zoom, 3 * settings.elastic
    if not (settings.rotate or settings.zoom or settings.shift or settings.elastic):
        return size
    # The corner of a rotated rectangle is farthest from an axis where its diagonal lies along the other one.
    reach = []
    for side, other in (size, size[::-1]):
        turned = min(angle, math.atan2(other, side))
        half = zoom * (side * math.cos(turned) + other * math.sin(turned)) / 2 + settings.shift * side + elastic
        reach.append(side + 2 * max(0, math.ceil(half - side / 2)))
    return reach[0], reach[1]


def batch(
    settings: Augment, images: Array, masks: Array, index: Array, draw: Array, size: Size | None = None
) -> tuple[Array, Array]:
    """Augment a batch.

    Masks move with their images, by nearest neighbour. Pixels from beyond what is given are 0, and `IGNORE` in the
    mask.

    Args:
        settings: strength of each change.
        images: (B, H, W, C) uint8.
        masks: (B, H, W) uint8.
        index: (B,) int32, the number of each image in the data set, or of each crop in the epoch.
        draw: (2,) uint32, the run's seed and the epoch.
        size: height and width of the results, which are the middle of what is given; by default all of it.

    Returns:
        Images (B, *size, C) and masks (B, *size) of the same dtypes.
    """
    # Of JAX's generators, only threefry draws the same bits for a single image and for one inside a batch.
    key = jax.random.wrap_key_data(draw, impl="threefry2x32")
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
    size = size or (masks.shape[1], masks.shape[2])
    return jax.vmap(lambda *one: _pair(settings, size, *one))(images, masks, keys)


def _pair(settings: Augment, size: Size, image: Array, mask: Array, key: Array) -> tuple[Array, Array]:
    """Augment one image (H, W, C) and its mask (H, W), and return their middle of `size`."""
    numbers, knots, noise = jax.random.split(key, 3)
    draws = dict(zip(_DRAWS, jax.random.uniform(numbers, (len(_DRAWS),), minval=-1), strict=True))
    if settings.flip or settings.turn:
        image, mask = (_flipped(settings, draws, x, square=size[0] == size[1]) for x in (image, mask))
    if settings.rotate or settings.zoom or settings.shift or settings.elastic:
        image, mask = _warped(settings, size, draws, knots, image, mask)
    if any((settings.brightness, settings.contrast, settings.gamma, settings.blur, settings.noise)):
        shades = _shaded(settings, draws, noise, image.astype(jnp.float32) / 255)
        image = jnp.round(255 * jnp.clip(shades, 0, 1)).astype(jnp.uint8)
    return image, mask


def _flipped(settings: Augment, draws: dict[str, Array], x: Array, *, square: bool) -> Array:
    """Flip and turn an image or a mask (H, W, ...); only a square is turned by 90 degrees."""
    for axis, name in enumerate(("flip_y", "flip_x")):
        x = jnp.where((draws[name] + 1) / 2 < settings.flip, jnp.flip(x, axis), x)
    share = (draws["turn"] + 1) / 2 / (settings.turn or 1)  # below 1: turn, by 90, 180 or 270 degrees, a third each
    if not square:
        return jnp.where((share < 1) & bool(settings.turn), jnp.rot90(x, 2), x)
    quarters = jnp.where((share < 1) & bool(settings.turn), 1 + jnp.floor(3 * share), 0)
    x = jnp.where(quarters >= 2, jnp.rot90(x, 2), x)
    return jnp.where(quarters % 2 == 1, jnp.rot90(x), x)


def _warped(
    settings: Augment, size: Size, draws: dict[str, Array], key: Array, image: Array, mask: Array
) -> tuple[Array, Array]:
    """Rotate, zoom, shift and deform in one resampling: bilinear for the image, nearest for the mask."""
    height, width = size
    angle, factor = jnp.deg2rad(settings.rotate) * draws["angle"], (1 + settings.zoom) ** -draws["zoom"]
    cos, sin = factor * jnp.cos(angle), factor * jnp.sin(angle)
    y, x = jnp.meshgrid(
        jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2, indexing="ij", sparse=True
    )
    # The source of each output pixel: rotated and zoomed about the centre, then shifted.
    rows = cos * y + sin * x + (mask.shape[0] - 1) / 2 + height * settings.shift * draws["y"]
    columns = cos * x - sin * y + (mask.shape[1] - 1) / 2 + width * settings.shift * draws["x"]
    if settings.elastic:
        knots = settings.elastic * jax.random.normal(key, (2, _KNOTS, _KNOTS))
        displacement = jax.image.resize(knots, (2, height, width), "cubic")
        if mask.shape != size:  # a crop, with the room that `window` says
            displacement = jnp.clip(displacement, -3 * settings.elastic, 3 * settings.elastic)
        rows, columns = rows + displacement[0], columns + displacement[1]
    warped = map_coordinates(mask, [rows, columns], order=0, mode="constant", cval=IGNORE)
    inside = (rows >= -0.5) & (rows < image.shape[0] - 0.5) & (columns >= -0.5) & (columns < image.shape[1] - 0.5)
    return jnp.where(inside[..., None], _bilinear(image, rows, columns), 0).astype(jnp.uint8), warped


def _bilinear(image: Array, rows: Array, columns: Array) -> Array:
    """Sample the image (h, w, C) at `rows` and `columns` (H, W), with the edge repeated: float32, rounded.

    Whole pixels are gathered: `map_coordinates` would gather each channel on its own.
    """
    height, width, _ = image.shape
    rows, columns = jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)
    top, left = jnp.floor(rows).astype(jnp.int32), jnp.floor(columns).astype(jnp.int32)
    bottom, right = jnp.minimum(top + 1, height - 1), jnp.minimum(left + 1, width - 1)
    down, along = (rows - top)[..., None], (columns - left)[..., None]
    above = (1 - along) * image[top, left] + along * image[top, right]
    below = (1 - along) * image[bottom, left] + along * image[bottom, right]
    return jnp.round((1 - down) * above + down * below)


def _shaded(settings: Augment, draws: dict[str, Array], key: Array, image: Array) -> Array:
    """Change the colours of an image in [0, 1]; the result may leave that range."""
    if settings.brightness:
        image = dm_pix.adjust_brightness(image, settings.brightness * draws["brightness"])
    if settings.contrast:
        image = dm_pix.adjust_contrast(image, (1 + settings.contrast) ** draws["contrast"])
    if settings.gamma:
        image = dm_pix.adjust_gamma(image, (1 + settings.gamma) ** draws["gamma"])
    # Half of the draws are below 0 and change nothing: the network also sees sharp images without noise.
    if settings.blur:
        image = _blurred(settings.blur, jnp.maximum(settings.blur * draws["blur"], 1e-3), image)
    if settings.noise:
        deviation = jnp.maximum(settings.noise * draws["noise"], 0)
        image = image + deviation * jax.random.normal(key, image.shape)
    return image


def _blurred(largest: float, sigma: Array, image: Array) -> Array:
    """Blur by a Gaussian that ends at three times the `largest` sigma, with the edge repeated.

    dm_pix has a grouped convolution, which takes many times as long on a CPU.
    """
    radius = max(1, round(3 * largest))
    taps = jnp.exp(-0.5 * (jnp.arange(-radius, radius + 1) / sigma) ** 2)
    taps = taps / jnp.sum(taps)
    for axis in (0, 1):
        around = [(radius, radius) if each == axis else (0, 0) for each in range(3)]
        padded = jnp.pad(image, around, mode="edge")
        length = image.shape[axis]
        shifted = (jax.lax.slice_in_dim(padded, k, k + length, axis=axis) for k in range(2 * radius + 1))
        image = sum((tap * part for tap, part in zip(taps, shifted, strict=True)), jnp.zeros_like(image))
    return image
