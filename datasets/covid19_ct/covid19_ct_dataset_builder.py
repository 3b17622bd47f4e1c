"""COVID-19 CT segmentation: 100 axial slices with ground-glass opacity, consolidation and pleural effusion."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from datasets import ct, examples, files
from datasets.errors import DataError

CLASSES = ("background", "ground-glass", "consolidation", "pleural effusion")
WINDOWS = {  # Hounsfield units, by config; semiseg has 8 bits
    "medseg": (-1250.0, 250.0),  # the lung window, level -500, width 1500
    "hu512": (-512.0, 512.0),  # the paper's code
}
MEDSEG_FOLDERS = ("", "covid19_ct/", "13521488/")
ARCHIVES = (  # figshare's "download all" gives the first; the last two are parts of the second
    "13521488.zip",
    "COVID-SemiSeg.zip",
    "MultiClassInfection-Train.zip",
    "MultiClassInfection-Test.zip",
)
SEMISEG_FOLDERS = ("COVID-SemiSeg/Dataset/", "COVID-SemiSeg/", "Dataset/", "")


class Builder(examples.Builder):
    """The slices of medicalsegmentation.com, as first published or cropped by the COVID-SemiSeg release."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="medseg", description="100 slices of 512x512, four classes, Hounsfield units"),
        tfds.core.BuilderConfig(name="semiseg", description="98 slices cropped to the lungs, three classes, 8 bits"),
        tfds.core.BuilderConfig(name="hu512", description="medseg in the window of the paper's code, [-512, 512]"),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "for medseg and hu512 put 'tr_im.nii.gz' and 'tr_mask.nii.gz' of 'MedSeg Covid Dataset 1' from "
        "https://figshare.com/articles/dataset/MedSeg_Covid_Dataset_1/13521488 into it; for semiseg put "
        "'COVID-SemiSeg.zip', linked at https://github.com/DengPingFan/Inf-Net, into it, as downloaded or extracted "
        "('COVID-SemiSeg/Dataset/TrainingSet/MultiClassInfection-Train/Imgs/0.jpg' and so on)"
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return examples.info(self, self._classes, channels=1, window=WINDOWS.get(self.builder_config.name))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, examples.Examples]:
        return {"train": self._generate_examples(files.find(dl_manager, ARCHIVES))}

    def _generate_examples(self, tree: files.Tree) -> examples.Examples:
        window = WINDOWS.get(self.builder_config.name)
        pairs = self._medseg(tree, window) if window else self._semiseg(tree)
        return examples.generate(pairs, num_classes=len(self._classes))

    @property
    def _classes(self) -> tuple[str, ...]:
        return CLASSES[:3] if self.builder_config.name == "semiseg" else CLASSES

    def _medseg(self, tree: files.Tree, window: tuple[float, float]) -> Iterator[examples.Pair]:
        image, mask = (self._nifti(tree, name) for name in ("tr_im", "tr_mask"))
        volume, labels = ct.read_nifti_pair(image, mask)
        if not np.isin(labels, range(len(CLASSES))).all():
            values = np.unique(labels)
            raise DataError(f"{mask.where}: holds {values[0]:g} to {values[-1]:g}; the labels are 0, 1, 2 and 3")
        for index in range(volume.shape[2]):
            # Stored as x, y, slice, and a picture has its rows first. Transposed, the spine is at the bottom.
            picture = ct.windowed(volume[:, :, index].T, window, f"{image.where}, slice {index}")
            name = f"slice-{index:03d}"
            yield examples.Pair(name, name, picture, labels[:, :, index].T.astype(np.uint8), f"{image.where}, {name}")

    def _nifti(self, tree: files.Tree, name: str) -> files.File:
        file = tree.file(*(f"{folder}{name}.nii{packed}" for folder in MEDSEG_FOLDERS for packed in (".gz", "")))
        if file is None:
            todo = self.MANUAL_DOWNLOAD_INSTRUCTIONS
            raise DataError(f"COVID-19 CT: no '{name}.nii.gz' in {tree.folder}: {todo}")
        return file

    def _semiseg(self, tree: files.Tree) -> Iterator[examples.Pair]:
        images, masks = [], []
        for part in ("TrainingSet/MultiClassInfection-Train", "TestingSet/MultiClassInfection-Test"):
            short = part.split("/")[1]
            for folder in [f"{top}{part}" for top in SEMISEG_FOLDERS] + [short]:
                found = tree.below(f"{folder}/Imgs"), tree.below(f"{folder}/GT")
                if any(found):
                    break
            else:
                raise DataError(f"COVID-SemiSeg: no '{short}' in {tree.folder}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
            images += found[0]
            masks += found[1]
        for name, image, mask in files.pairs(images, masks):
            yield examples.Pair(name, name, files.read_image(image, "L"), files.read_image(mask), image.where)
