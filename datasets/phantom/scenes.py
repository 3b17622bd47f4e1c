"""Scenes of the phantom: what a picture shows, and where its lesions are."""

import numpy as np


def tissue(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an RGB image (height, width, 3) in [0, 1], and bool masks of its lesions and of its bright spots."""
    y, x = np.mgrid[:height, :width] / height
    aspect = width / height

    tissue = np.array([0.80, 0.48, 0.40]) + rng.uniform(-0.08, 0.08, 3)
    texture = 0.10 * _smooth_noise(rng, height, width, 5) + 0.06 * _smooth_noise(rng, height, width, 16)
    image = tissue * (1.0 + texture)[..., None]

    edge = np.full((height, width), -np.inf)  # positive inside a lesion
    for _ in range(rng.integers(1, 4)):
        u, v = _ellipse(y, x, rng.uniform(0.2, 0.8, 2) * (1.0, aspect), rng.uniform(0.09, 0.21, 2), rng)
        around, phase = np.arctan2(v, u), rng.uniform(0, 2 * np.pi, 2)
        outline = 1.0 + 0.12 * np.sin(3 * around + phase[0]) + 0.06 * np.sin(5 * around + phase[1])
        edge = np.maximum(edge, outline - np.hypot(u, v))
    blurred = 1.0 / (1.0 + np.exp(-edge / 0.10))
    tint = np.array([0.60, 0.42, 0.42]) + rng.uniform(-0.10, 0.10, 3)
    mottled = tint * (1.0 + 0.15 * _smooth_noise(rng, height, width, 12))[..., None]
    image *= 1.0 - blurred[..., None] * (1.0 - mottled)

    # Dark areas that are no lesions: soft shadows, and vessels, which cross lesions as well.
    for _ in range(rng.integers(1, 4)):
        u, v = _ellipse(y, x, rng.uniform(0.0, 1.0, 2) * (1.0, aspect), rng.uniform(0.08, 0.25, 2), rng)
        image *= 1.0 - rng.uniform(0.10, 0.30) * np.exp(-(u**2) - v**2)[..., None]
    for _ in range(rng.integers(2, 5)):
        along, across = _ellipse(y, x, rng.uniform(0.1, 0.9, 2) * (1.0, aspect), np.ones(2), rng)
        shift, thickness = rng.uniform(0, 2 * np.pi), rng.uniform(0.010, 0.022)
        winding = across + 0.05 * np.sin(7.0 * along + shift) + 0.02 * np.sin(19.0 * along + 2 * shift)
        image *= 1.0 - np.exp(-((winding / thickness) ** 2))[..., None] * np.array([0.25, 0.45, 0.40])

    # Light falls off from a point, and wet tissue reflects it in spots.
    distance = np.hypot(y - rng.uniform(0.2, 0.8), x - aspect * rng.uniform(0.2, 0.8))
    image *= rng.uniform(0.75, 1.15) * (1.0 - 0.5 * (distance / aspect) ** 1.5)[..., None]
    spots = np.zeros((height, width))
    for _ in range(rng.integers(2, 6)):
        u, v = _ellipse(y, x, rng.uniform(0.05, 0.95, 2) * (1.0, aspect), rng.uniform(0.015, 0.045, 2), rng)
        spots = np.maximum(spots, np.exp(-((u**2 + v**2) ** 2)))
    image += 0.95 * spots[..., None] * (1.0 - image)
    return image, edge > 0, spots > 0.5


def skin(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an RGB image (height, width, 3) in [0, 1], and a bool mask of its lesions, each about 8 pixels wide.

    Stubble is as dark as lesions and hardly smaller: a shrunk image tells them apart no longer.
    """
    y, x = np.mgrid[:height, :width]
    texture = 0.05 * _smooth_noise(rng, height, width, 5) + 0.03 * _smooth_noise(rng, height, width, 40)
    image = (np.array([0.82, 0.62, 0.53]) + rng.uniform(-0.06, 0.06, 3)) * (1.0 + texture)[..., None]
    lesions = np.zeros((height, width), bool)
    dark = np.array([0.44, 0.30, 0.26]) + rng.uniform(-0.04, 0.04, 3)

    for number, radius, longer, colour, strength in (
        (rng.integers(4, 9), (12, 40), (1.0, 1.5), np.array([0.95, 0.84, 0.78]), (0.4, 0.8)),  # pale spots
        (rng.integers(3, 7), (10, 25), (1.0, 1.5), dark, (0.3, 0.7)),  # freckles
        (rng.integers(120, 161), (1.2, 1.7), (3.0, 5.0), dark, (0.7, 1.0)),  # stubble
    ):
        for _ in range(number):
            small = rng.uniform(*radius)
            centre, radii = rng.uniform(0.0, 1.0, 2) * (height, width), small * np.array([rng.uniform(*longer), 1.0])
            _blend(image, centre, radii, colour, rng.uniform(*strength), rng)
    cells = np.argsort(rng.uniform(0.0, 1.0, 54))[: rng.integers(8, 17)]  # of a 6x9 grid: no two lesions meet
    for row, column in zip(*np.divmod(cells, 9), strict=True):
        centre = (np.array([row, column]) + rng.uniform(0.2, 0.8, 2)) * (height / 6, width / 9)
        lesions |= _blend(image, centre, rng.uniform(3.6, 4.4, 2), dark, rng.uniform(0.5, 1.0), rng)
    for _ in range(rng.integers(3, 7)):  # long hairs, which may cross lesions
        along, across = _ellipse(y, x, rng.uniform(0.1, 0.9, 2) * (height, width), np.ones(2), rng)
        winding = across + 20.0 * np.sin(along / rng.uniform(60.0, 120.0))
        image *= 1.0 - 0.5 * np.exp(-(winding**2))[..., None]

    vignette = np.hypot(y / height - 0.5, x / width - 0.5)
    image *= rng.uniform(0.9, 1.1) * (1.0 - 0.7 * vignette**2)[..., None]
    return image + rng.normal(0.0, 0.03, image.shape), lesions


def _blend(
    image: np.ndarray,
    centre: np.ndarray,
    radii: np.ndarray,
    colour: np.ndarray,
    strength: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Blend an ellipse, rotated at random, into an image. Return its pixels, bool (height, width).

    Its edge is soft over two pixels, as a lens draws it.
    """
    top, left = (max(0, int(middle - radii.max() - 2)) for middle in centre)
    bottom, right = (int(middle + radii.max() + 3) for middle in centre)
    part = image[top:bottom, left:right]
    y, x = np.mgrid[: part.shape[0], : part.shape[1]]
    u, v = _ellipse(y, x, centre - (top, left), radii, rng)
    inside = (1.0 - np.hypot(u, v)) * radii.min()  # pixels to the edge
    part += strength * np.clip(0.5 + inside / 2, 0.0, 1.0)[..., None] * (colour - part)
    pixels = np.zeros(image.shape[:2], bool)
    pixels[top:bottom, left:right] = inside > 0
    return pixels


def _ellipse(
    y: np.ndarray, x: np.ndarray, centre: np.ndarray, radii: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates in which an ellipse at `centre`, rotated at random, is the unit circle."""
    angle = rng.uniform(0, np.pi)
    down, right = y - centre[0], x - centre[1]
    along = np.cos(angle) * right + np.sin(angle) * down
    across = np.cos(angle) * down - np.sin(angle) * right
    return along / radii[0], across / radii[1]


def _smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Return noise with about `cells` bumps over the height: random values on a grid, joined by cosine steps."""
    columns = -(-width * cells // height)
    grid = rng.normal(0.0, 1.0, (cells + 1, columns + 1))
    y, x = np.linspace(0, cells, height, endpoint=False), np.linspace(0, columns, width, endpoint=False)
    top, left = y.astype(int), x.astype(int)
    down, right = ((1 - np.cos(np.pi * (position % 1))) / 2 for position in (y, x))
    rows = grid[top] * (1 - down)[:, None] + grid[top + 1] * down[:, None]
    return rows[:, left] * (1 - right) + rows[:, left + 1] * right
