"""ISBI 2012: 30 neighbouring electron-microscopy slices of a fly's nerve cord, cells against membranes."""

from collections.abc import Iterator

import tensorflow_datasets as tfds

from datasets import examples, files
from datasets.errors import DataError

URL = "https://downloads.imagej.net/"
ARCHIVES = ("ISBI-2012-challenge.zip",)
FOLDERS = ("", "isbi2012/", "ISBI-2012-challenge/")
VOLUME, LABELS = ([f"{folder}{name}" for folder in FOLDERS] for name in ("train-volume.tif", "train-labels.tif"))
BLOCK = 6  # slices per group: 30 slices are five groups, one for each of five folds


class Builder(examples.Builder):
    """The training stack of the ISBI 2012 challenge as single slices; a block of neighbours is a group."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "put 'ISBI-2012-challenge.zip' from https://downloads.imagej.net/ISBI-2012-challenge.zip into it, or the two "
        "files 'train-volume.tif' and 'train-labels.tif' that it holds, directly or in 'isbi2012/'"
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return examples.info(self, ["membrane", "cell"], channels=1)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, examples.Examples]:
        return {"train": self._generate_examples(files.find(dl_manager, ARCHIVES, URL, wanted=(*VOLUME, *LABELS)))}

    def _generate_examples(self, tree: files.Tree) -> examples.Examples:
        return examples.generate(self._pairs(tree), num_classes=2)

    def _pairs(self, tree: files.Tree) -> Iterator[examples.Pair]:
        volume_file, labels_file = tree.file(*VOLUME), tree.file(*LABELS)
        if volume_file is None or labels_file is None:
            missing = "'train-labels.tif'" if volume_file else "'train-volume.tif'"
            raise DataError(f"ISBI 2012: no {missing} in {tree.folder}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        volume, labels = files.read_image(volume_file), files.read_image(labels_file)
        if volume.ndim != 3 or volume.shape != labels.shape:
            shapes = f"{volume_file.where} is {volume.shape} but its labels are {labels.shape}"
            raise DataError(f"{shapes}; download both again")
        for index, (image, mask) in enumerate(zip(volume, labels, strict=True)):
            first = index - index % BLOCK
            block = f"slices-{first:02d}-{min(first + BLOCK, len(volume)) - 1:02d}"
            yield examples.Pair(
                id=f"slice-{index:02d}",
                group=block,
                volume=block,  # a neighbour of another block may be in another fold
                image=image,
                mask=files.binary(mask),
                where=f"{volume_file.where}, slice {index}",
            )
