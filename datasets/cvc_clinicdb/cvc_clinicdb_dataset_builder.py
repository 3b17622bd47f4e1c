"""CVC-ClinicDB: 612 colonoscopy frames with polyps, from 29 video sequences."""

import csv
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from datasets import examples, files
from datasets.errors import DataError

ARCHIVES = ("CVC-ClinicDB.zip", "archive.zip")  # Kaggle calls every download archive.zip
FOLDERS = [f"{top}{kind}" for top in ("CVC-ClinicDB/", "") for kind in ("", "PNG/", "TIF/")]


class Builder(examples.Builder):
    """Frames, masks of polyps, and as group the video sequence of each frame."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "put the folders 'Original' and 'Ground Truth' (1.tif to 612.tif) of CVC-ClinicDB from "
        "https://polyp.grand-challenge.org/CVCClinicDB/ into it, directly or in 'CVC-ClinicDB/', or the mirror's "
        "'archive.zip' as downloaded from https://www.kaggle.com/datasets/balraj98/cvcclinicdb"
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return examples.info(self, ["background", "polyp"], channels=3)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, examples.Examples]:
        return {"train": self._generate_examples(files.find(dl_manager, ARCHIVES))}

    def _generate_examples(self, tree: files.Tree) -> examples.Examples:
        return examples.generate(self._pairs(tree), num_classes=2)

    def _pairs(self, tree: files.Tree) -> Iterator[examples.Pair]:
        for folder in FOLDERS:
            images, masks = tree.below(f"{folder}Original"), tree.below(f"{folder}Ground Truth")
            if images or masks:
                break
        else:
            raise DataError(f"CVC-ClinicDB is not in {tree.folder}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        sequence_of = sequences()
        for name, image, mask in files.pairs(images, masks):
            if name not in sequence_of:
                raise DataError(f"{image.where}: frames are called 1 to 612; remove this file")
            yield examples.Pair(
                id=f"{int(name):03d}",
                group=sequence_of[name],
                image=files.read_image(image, "RGB"),
                mask=files.read_binary(mask),
                where=image.where,
            )


def sequences() -> dict[str, str]:
    """Return the video sequence of each of the 612 frames, by the frame's file name."""
    with (Path(__file__).parent / "sequences.csv").open(newline="") as table:
        return {
            str(frame): f"sequence-{int(row['sequence']):02d}"
            for row in csv.DictReader(table)
            for frame in range(int(row["first_frame"]), int(row["last_frame"]) + 1)
        }
