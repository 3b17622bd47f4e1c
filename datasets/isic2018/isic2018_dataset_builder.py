"""ISIC 2018, task 1: 2594 dermoscopic images and the outline of the lesion in each."""

from collections.abc import Iterator

import tensorflow_datasets as tfds

from datasets import examples, files
from datasets.errors import DataError

IMAGES, MASKS = "ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"
URL = "https://isic-archive.s3.amazonaws.com/challenges/2018/"


class Builder(examples.Builder):
    """The training part of ISIC 2018 task 1. Images keep their own JPEG bytes: a tenth of the size of PNG."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"put '{IMAGES}.zip' (10.4 GB) and '{MASKS}.zip' from https://challenge.isic-archive.com/data/#2018 into it, "
        "or the two folders that they hold"
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return examples.info(self, ["background", "lesion"], channels=3, encoding="jpeg")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, examples.Examples]:
        return {"train": self._generate_examples(files.find(dl_manager, (f"{IMAGES}.zip", f"{MASKS}.zip"), URL))}

    def _generate_examples(self, tree: files.Tree) -> examples.Examples:
        return examples.generate(self._pairs(tree), num_classes=2)

    def _pairs(self, tree: files.Tree) -> Iterator[examples.Pair]:
        images, masks = tree.below(IMAGES), tree.below(MASKS)
        if not images or not masks:
            missing = MASKS if images else IMAGES
            raise DataError(f"ISIC 2018: no '{missing}' in {tree.folder}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        for name, image, mask in files.pairs(images, masks, mask_ending="_segmentation"):
            pixels = files.read_image(image)  # decoded as a check, even if its bytes are kept
            is_rgb = image.suffix in files.JPEG and pixels.ndim == 3 and pixels.shape[2] == 3
            yield examples.Pair(
                id=name,
                group=name,
                image=pixels if is_rgb else files.read_image(image, "RGB"),
                mask=files.read_binary(mask),
                where=image.where,
                encoded=image.read() if is_rgb else None,
            )
