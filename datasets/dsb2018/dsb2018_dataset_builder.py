"""Data Science Bowl 2018, stage 1: 670 microscope images of nuclei, of many sizes and modalities."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from datasets import examples, files
from datasets.errors import DataError

FOLDER = "stage1_train"
URL = "https://data.broadinstitute.org/bbbc/BBBC038/"


class Builder(examples.Builder):
    """The training part of stage 1; the masks of an image's nuclei are merged into one."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"put '{FOLDER}.zip' from https://bbbc.broadinstitute.org/BBBC038 into it, or the folder '{FOLDER}/' with "
        "what it holds: '<id>/images/<id>.png' and '<id>/masks/*.png'"
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return examples.info(self, ["background", "nucleus"], channels=3)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, examples.Examples]:
        return {"train": self._generate_examples(files.find(dl_manager, (f"{FOLDER}.zip",), URL))}

    def _generate_examples(self, tree: files.Tree) -> examples.Examples:
        return examples.generate(self._pairs(tree), num_classes=2)

    def _pairs(self, tree: files.Tree) -> Iterator[examples.Pair]:
        images: dict[str, files.File] = {}
        nuclei: dict[str, list[files.File]] = defaultdict(list)
        for file in tree.below(FOLDER, (".png",)):
            match file.name.split("/"):
                case [name, "images", _]:
                    images[name] = file
                case [name, "masks", _]:
                    nuclei[name].append(file)
        if not images and not nuclei:
            raise DataError(f"DSB 2018: no '{FOLDER}' in {tree.folder}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        files.check_partners(images, {name: masks[0] for name, masks in nuclei.items()})
        for name, image in images.items():
            pixels = files.read_image(image, "RGB")
            mask = np.zeros(pixels.shape[:2], np.uint8)
            for nucleus in nuclei[name]:
                one = files.read_binary(nucleus)
                examples.check_sizes(pixels, one, nucleus.where)
                mask |= one
            yield examples.Pair(id=name, group=name, image=pixels, mask=mask, where=image.where)
