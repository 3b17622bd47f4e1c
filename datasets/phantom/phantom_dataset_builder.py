"""Synthetic images: blurred lesions on tissue with vessels and bright spots, and small sharp ones on hairy skin."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from datasets import examples
from datasets.phantom.scenes import skin, tissue

FRAMES = 3  # images of one patient, shifted a little; of skin there is one


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
        Config(
            name="small_lesions",
            description="40 images of 600x900, lesions of 8 pixels",
            patients=40,
            height=600,
            width=900,
        ),
        Config(name="multiclass", description="as small, in 3 classes", classes=("background", "lesion", "spot")),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return examples.info(self, self.builder_config.classes, channels=3)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, examples.Examples]:
        del dl_manager  # nothing to download
        return {"train": self._generate_examples(self.builder_config)}

    def _generate_examples(self, config: Config) -> examples.Examples:
        pairs = _skin_pairs if config.name == "small_lesions" else _pairs
        return examples.generate(pairs(config), len(config.classes))


def _skin_pairs(config: Config) -> Iterator[examples.Pair]:
    for patient in range(config.patients):
        image, lesions = skin(np.random.default_rng([20261129, patient]), config.height, config.width)
        name = f"patient-{patient:03d}"
        yield examples.Pair(id=name, group=name, image=_uint8(image), mask=lesions.astype(np.uint8), where=name)


def _pairs(config: Config) -> Iterator[examples.Pair]:
    for patient in range(config.patients):
        rng = np.random.default_rng([20200922, patient])
        margin = config.height // 8  # the frames are crops of a larger scene
        image, lesion, spot = tissue(rng, config.height + margin, config.width + margin)
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
                image=_uint8(exposed),
                mask=mask[crop],
                where=name,
            )


def _uint8(image: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
