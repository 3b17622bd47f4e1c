"""Finding and Measuring Lungs in CT Data: chest CT with lungs outlined by hand, as slices or whole volumes."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from datasets import ct, examples, files
from datasets.errors import DataError
from sharp_unet_jax.data import pixels

WINDOW = (-512.0, 512.0)  # Hounsfield units, as in the paper's reference 30 (BCDU-Net)
MINMAX_SIZE = 256  # height and width of the slices of the config minmax
ARCHIVES = ("archive.zip", "finding-lungs-in-ct-data.zip", "2d_images.zip", "2d_masks.zip", "3d_images.zip")
FOLDERS = ("", "finding-lungs-in-ct-data/", "lung_ct/", "archive/")


class Builder(examples.Builder):
    """Lung masks of the Kaggle set kmader/finding-lungs-in-ct-data."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="slices", description="267 single slices"),
        tfds.core.BuilderConfig(name="volumes", description="the slices with lung of the whole volumes, by volume"),
        tfds.core.BuilderConfig(name="minmax", description="the single slices at 256x256, as in the paper's code"),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "put 'archive.zip' as downloaded from https://www.kaggle.com/datasets/kmader/finding-lungs-in-ct-data into it "
        "(or 'finding-lungs-in-ct-data.zip', what the kaggle command calls it), or the folders it holds: '2d_images' "
        "and '2d_masks' (ID_*.tif) for slices and minmax, '3d_images' (IMG_*.nii.gz and MASK_*.nii.gz) for volumes"
    )

    def _info(self) -> tfds.core.DatasetInfo:
        window = None if self.builder_config.name == "minmax" else WINDOW
        return examples.info(self, ["background", "lung"], channels=1, window=window)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, examples.Examples]:
        return {"train": self._generate_examples(files.find(dl_manager, ARCHIVES))}

    def _generate_examples(self, tree: files.Tree) -> examples.Examples:
        pairs = self._volumes(tree) if self.builder_config.name == "volumes" else self._slices(tree)
        return examples.generate(pairs, num_classes=2)

    def _slices(self, tree: files.Tree) -> Iterator[examples.Pair]:
        images, masks = (self._below(tree, name, files.TIF) for name in ("2d_images", "2d_masks"))
        for name, image, mask in files.pairs(images, masks):
            picture, lung = (_grey(files.read_image(file)) for file in (image, mask))
            if self.builder_config.name == "minmax":
                ct.check_finite(picture, image.where)
                examples.check_sizes(picture, lung, image.where)
                picture, lung = _minmax(picture), _nearest(lung)
            elif picture.dtype != np.uint8:  # copies converted to 8 bits hold no Hounsfield units
                picture = ct.windowed(picture, WINDOW, image.where)
            yield examples.Pair(name, name, picture, (lung > 0).astype(np.uint8), image.where)

    def _volumes(self, tree: files.Tree) -> Iterator[examples.Pair]:
        found = self._below(tree, "3d_images", ct.NIFTI)
        images, masks = (
            [
                dataclasses.replace(file, name=file.stem.removesuffix(".nii").removeprefix(kind))
                for file in found
                if kind in file.name
            ]
            for kind in ("IMG_", "MASK_")
        )
        for name, image, mask in files.pairs(images, masks):
            volume, lung = ct.read_nifti_pair(image, mask)
            if (
                volume.shape[0] == volume.shape[1] != volume.shape[2]
            ):  # the published files hold slice, row, column; this one the reverse
                volume, lung = volume.transpose(2, 1, 0), lung.transpose(2, 1, 0)
            kept = [index for index, outlined in enumerate(lung) if outlined.any()]
            if not kept:
                raise DataError(f"{mask.where}: no slice shows lung, all voxels are 0; download it again")
            first = kept[0]  # of neighbours without a gap
            for before, index in zip([first - 1, *kept], kept, strict=False):
                first = first if index == before + 1 else index
                id_ = f"IMG_{name}-{index:03d}"
                picture = ct.windowed(volume[index], WINDOW, f"{image.where}, slice {index}")
                label, run = (lung[index] > 0).astype(np.uint8), f"IMG_{name}-{first:03d}"
                yield examples.Pair(id_, f"IMG_{name}", picture, label, image.where, volume=run)

    def _below(self, tree: files.Tree, name: str, suffixes: tuple[str, ...]) -> list[files.File]:
        for folder in FOLDERS:
            if found := tree.below(f"{folder}{name}", suffixes):
                return found
        raise DataError(f"lung CT: no '{name}' in {tree.folder}: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")


def _grey(array: np.ndarray) -> np.ndarray:
    return array[..., 0] if array.ndim == 3 else array


def _minmax(picture: np.ndarray) -> np.ndarray:
    """Resize a slice (h, w) by Lanczos interpolation; its lowest value becomes 0 and its highest 255, unclipped."""
    rows, columns = (_lanczos(length) for length in picture.shape)
    small = rows @ picture.astype(np.float64) @ columns.T
    return pixels.windowed(small, (small.min(), small.max()))


def _lanczos(length: int) -> np.ndarray:
    """Return weights (MINMAX_SIZE, length) that resize one axis as OpenCV's INTER_LANCZOS4: each place has 8 pixels.

    The pixels at the borders are repeated, and shrinking does not widen the filter.
    """
    places = (np.arange(MINMAX_SIZE)[:, None] + 0.5) * length / MINMAX_SIZE - 0.5
    taps = np.floor(places).astype(int) + np.arange(-3, 5)
    weights = np.sinc(places - taps) * np.sinc((places - taps) / 4)
    matrix = np.zeros((MINMAX_SIZE, length))
    at = np.arange(MINMAX_SIZE)[:, None], taps.clip(0, length - 1)
    np.add.at(matrix, at, weights / weights.sum(axis=1, keepdims=True))
    return matrix


def _nearest(mask: np.ndarray) -> np.ndarray:
    """Resize a mask (h, w) by nearest neighbours as OpenCV does: of 512x512 it takes the even rows and columns."""
    return mask[np.ix_(*(np.arange(MINMAX_SIZE) * length // MINMAX_SIZE for length in mask.shape))]
