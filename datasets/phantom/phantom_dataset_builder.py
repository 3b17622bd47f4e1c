"""Synthetic images: blurred lesions on textured, unevenly lit tissue, with vessels and bright spots."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from datasets import examples

FRAMES = 3  # images of one patient, shifted a little


@dataclasses.dataclass
class Config(tfds.core.BuilderConfig):
    """The number of patients, the size of the images, and the classes."""

    patients: int = 20
    height: int = 64
    width: int = 64
    classes: tuple[str, ...] = ("background", "lesion")


class Builder(examples.Builder):
    """Synthetic images from fixed seeds, without a download, for demonstrations and tests."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012
    BUILDER_CONFIGS = [  # noqa: RUF012
        Config(name="small", description="60 images of 64x64, 20 groups"),
        Config(name="large", description="300 images of 192x256, 100 groups", patients=100, height=192, width=256),
        Config(name="multiclass", description="as small, in 3 classes", classes=("background", "lesion", "spot")),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return examples.info(self, self.builder_config.classes, channels=3)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, examples.Examples]:
        del dl_manager  # nothing to download
        return {"train": self._generate_examples(self.builder_config)}

    def _generate_examples(self, config: Config) -> examples.Examples:
        return examples.generate(_pairs(config), len(config.classes))


def _pairs(config: Config) -> Iterator[examples.Pair]:
    for patient in range(config.patients):
        rng = np.random.default_rng([20200922, patient])
        margin = config.height // 8  # the frames are crops of a larger scene
        image, lesion, spot = scene(rng, config.height + margin, config.width + margin)
        mask = lesion.astype(np.uint8)
        if "spot" in config.classes:
            mask[spot] = 2  # with two classes a spot on a lesion is lesion
        for frame in range(FRAMES):
            top, left = rng.integers(0, margin + 1, 2)
            crop = (slice(top, top + config.height), slice(left, left + config.width))
            # Each frame has its own exposure and its own noise.
            exposed = image[crop] * rng.uniform(0.9, 1.1) + rng.normal(0.0, 0.03, (config.height, config.width, 3))
            name = f"patient-{patient:03d}-frame-{frame}"
            yield examples.Pair(
                id=name,
                group=f"patient-{patient:03d}",
                image=np.rint(np.clip(exposed, 0.0, 1.0) * 255).astype(np.uint8),
                mask=mask[crop],
                where=name,
            )


def scene(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
