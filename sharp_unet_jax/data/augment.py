"""Training images and masks changed at random, on the device and inside the step: `config.Augment` says by how much.

What happens to an image depends on the run's seed, the epoch and the image alone: not on the batch, nor on the devices
that share it, nor on where a run was cut off. Where a strength is 0, nothing of its change is compiled.
"""

import dm_pix
import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.ndimage import map_coordinates

from sharp_unet_jax.config import Augment
from sharp_unet_jax.metrics import IGNORE

# Numbers drawn for every image, whichever are used: each has its own, so that one change does not depend on another.
_DRAWS = ("flip_y", "flip_x", "turn", "angle", "zoom", "y", "x", "brightness", "contrast", "gamma", "blur", "noise")
_KNOTS = 3  # a side: elastic displacements are drawn on so coarse a grid, as by Ronneberger et al. (2015)


def batch(settings: Augment, images: Array, masks: Array, index: Array, draw: Array) -> tuple[Array, Array]:
    """Images (B, H, W, C) and masks (B, H, W), uint8, changed; the same shapes and type.

    `index` (B,) int32 says which image each is; `draw` (2,) uint32 is the seed of the run and the epoch. Masks move
    with their images, by nearest neighbour; what comes from beyond an image is 0, and `IGNORE` in its mask.
    """
    # Of JAX's generators, the one whose bits are the same for one image and for many.
    key = jax.random.wrap_key_data(draw, impl="threefry2x32")
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
    return jax.vmap(lambda *one: _pair(settings, *one))(images, masks, keys)


def _pair(settings: Augment, image: Array, mask: Array, key: Array) -> tuple[Array, Array]:
    """One image (H, W, C) and its mask (H, W)."""
    numbers, knots, noise = jax.random.split(key, 3)
    draws = dict(zip(_DRAWS, jax.random.uniform(numbers, (len(_DRAWS),), minval=-1), strict=True))
    if settings.flip or settings.turn:
        image, mask = (_flipped(settings, draws, x) for x in (image, mask))
    if settings.rotate or settings.zoom or settings.shift or settings.elastic:
        image, mask = _warped(settings, draws, knots, image, mask)
    if any((settings.brightness, settings.contrast, settings.gamma, settings.blur, settings.noise)):
        shades = _shaded(settings, draws, noise, image.astype(jnp.float32) / 255)
        image = jnp.round(255 * jnp.clip(shades, 0, 1)).astype(jnp.uint8)
    return image, mask


def _flipped(settings: Augment, draws: dict[str, Array], x: Array) -> Array:
    """An image or a mask (H, W, ...), flipped and turned; only a square has room for a quarter turn."""
    for axis, name in enumerate(("flip_y", "flip_x")):
        x = jnp.where((draws[name] + 1) / 2 < settings.flip, jnp.flip(x, axis), x)
    share = (draws["turn"] + 1) / 2 / (settings.turn or 1)  # below 1 it turns: by 90 degrees below a third, and so on
    if x.shape[0] != x.shape[1]:
        return jnp.where((share < 1) & bool(settings.turn), jnp.rot90(x, 2), x)
    quarters = jnp.where((share < 1) & bool(settings.turn), 1 + jnp.floor(3 * share), 0)
    x = jnp.where(quarters >= 2, jnp.rot90(x, 2), x)
    return jnp.where(quarters % 2 == 1, jnp.rot90(x), x)


def _warped(settings: Augment, draws: dict[str, Array], key: Array, image: Array, mask: Array) -> tuple[Array, Array]:
    """Affine and elastic in one resampling: bilinear for the image, nearest for the mask."""
    height, width = mask.shape
    angle, factor = jnp.deg2rad(settings.rotate) * draws["angle"], (1 + settings.zoom) ** -draws["zoom"]
    cos, sin = factor * jnp.cos(angle), factor * jnp.sin(angle)
    y, x = jnp.meshgrid(
        jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2, indexing="ij", sparse=True
    )
    # Where each pixel comes from: about the centre, which may itself have moved.
    rows = cos * y + sin * x + (height - 1) / 2 + height * settings.shift * draws["y"]
    columns = cos * x - sin * y + (width - 1) / 2 + width * settings.shift * draws["x"]
    if settings.elastic:
        knots = settings.elastic * jax.random.normal(key, (2, _KNOTS, _KNOTS))
        displacement = jax.image.resize(knots, (2, height, width), "cubic")
        rows, columns = rows + displacement[0], columns + displacement[1]
    mask = map_coordinates(mask, [rows, columns], order=0, mode="constant", cval=IGNORE)
    inside = (rows >= -0.5) & (rows < height - 0.5) & (columns >= -0.5) & (columns < width - 0.5)
    return jnp.where(inside[..., None], _bilinear(image, rows, columns), 0).astype(jnp.uint8), mask


def _bilinear(image: Array, rows: Array, columns: Array) -> Array:
    """The image (H, W, C) at `rows` and `columns` (H, W), the edge repeated; float32, rounded.

    SciPy's `map_coordinates` takes a channel at a time; this gathers whole pixels.
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
    """The colours of an image in [0, 1], which may leave that range."""
    if settings.brightness:
        image = dm_pix.adjust_brightness(image, settings.brightness * draws["brightness"])
    if settings.contrast:
        image = dm_pix.adjust_contrast(image, (1 + settings.contrast) ** draws["contrast"])
    if settings.gamma:
        image = dm_pix.adjust_gamma(image, (1 + settings.gamma) ** draws["gamma"])
    # Half of the draws are below 0: a network should know images as they are, too.
    if settings.blur:
        image = _blurred(settings.blur, jnp.maximum(settings.blur * draws["blur"], 1e-3), image)
    if settings.noise:
        deviation = jnp.maximum(settings.noise * draws["noise"], 0)
        image = image + deviation * jax.random.normal(key, image.shape)
    return image


def _blurred(largest: float, sigma: Array, image: Array) -> Array:
    """Gaussian, the edge repeated, cut off at three times the `largest` sigma.

    dm_pix's is a grouped convolution, which takes many times as long on a CPU.
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
