"""A few images and masks in the layout in which each data set is published."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image


def picture(seed: int, height: int = 24, width: int = 32, channels: int = 3) -> np.ndarray:
    """Return random pixels."""
    return np.random.default_rng(seed).integers(
        0, 256, (height, width, channels)[: 2 if channels == 1 else 3], np.uint8
    )


def blob(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    """Return a white rectangle on black."""
    mask = np.zeros((height, width), np.uint8)
    top, left = np.random.default_rng(seed).integers(2, 10, 2)
    mask[top : top + 8, left : left + 10] = 255
    return mask


def encode(array: np.ndarray, suffix: str) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    if suffix == ".tif":
        # Like CVC-ClinicDB's own files: RGB tagged as MINISBLACK, which Pillow cannot open.
        planar = "contig" if array.shape[-1] == 3 else None
        tifffile.imwrite(buffer, array, photometric="minisblack", planarconfig=planar, metadata=None)
    else:
        Image.fromarray(array).save(buffer, {".png": "PNG", ".jpg": "JPEG"}[suffix])
    return buffer.getvalue()


@dataclass(frozen=True)
class Layout:
    """The files of a data set by name, and one image and one mask that tests damage."""

    files: dict[str, bytes]
    image: str
    mask: str
    zip_name: str | None = None  # name of the archive that holds all these files

    def write(self, folder: Path) -> Path:
        """Write the files as folders."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    def zip(self, path: Path) -> Path:
        """Write one archive; like real ones, it has entries for its folders and macOS's extra files."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for folder in sorted({name.rpartition("/")[0] for name in self.files} - {""}):
                archive.writestr(f"{folder}/", b"")
            for name, content in self.files.items():
                archive.writestr(name, content)
            for name in self.files:
                folder, _, base = name.rpartition("/")
                archive.writestr(f"__MACOSX/{folder}/._{base}".replace("//", "/"), b"litter")
        return path

    def changed(self, **changes: bytes | None) -> "Layout":
        """Return the layout with `image=` or `mask=` replaced, or removed if None."""
        content = self.files | {getattr(self, key): value for key, value in changes.items()}
        return Layout({name: value for name, value in content.items() if value is not None}, self.image, self.mask)


def cvc_clinicdb(prefix: str = "", suffix: str = ".tif", frames: tuple[int, ...] = (1, 2, 10, 25, 26)) -> Layout:
    """Return `Original/1.tif`, `Ground Truth/1.tif`, ...; the mirror's masks are RGB and hold greys."""
    content = {}
    for frame in frames:
        mask = blob(frame)
        if suffix == ".png":
            mask = np.stack([mask] * 3, axis=-1)
            mask[0, :4], mask[1, :4] = 90, 200  # greys, below and above the threshold
        content[f"{prefix}Original/{frame}{suffix}"] = encode(picture(frame), suffix)
        content[f"{prefix}Ground Truth/{frame}{suffix}"] = encode(mask, suffix)
    return Layout(content, f"{prefix}Original/10{suffix}", f"{prefix}Ground Truth/10{suffix}", "archive.zip")


def isbi2012(prefix: str = "", slices: int = 8) -> Layout:
    """Return two stacks."""
    volume = np.stack([picture(index, channels=1) for index in range(slices)])
    labels = np.stack([255 - blob(index) for index in range(slices)])
    image, mask = f"{prefix}train-volume.tif", f"{prefix}train-labels.tif"
    content = {image: encode(volume, ".tif"), mask: encode(labels, ".tif")}
    return Layout(content, image, mask, "ISBI-2012-challenge.zip")


IMAGES, MASKS = "ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"


def isic2018(count: int = 4) -> Layout:
    """Return JPEGs and PNG masks in two folders, with the licence files of the official archives."""
    content = {f"{folder}/{name}.txt": b"terms" for folder in (IMAGES, MASKS) for name in ("LICENSE", "ATTRIBUTION")}
    for number in range(count):
        height = 24 + number
        content[f"{IMAGES}/ISIC_{number:07d}.jpg"] = encode(picture(number, height), ".jpg")
        content[f"{MASKS}/ISIC_{number:07d}_segmentation.png"] = encode(blob(number, height), ".png")
    return Layout(content, f"{IMAGES}/ISIC_0000001.jpg", f"{MASKS}/ISIC_0000001_segmentation.png")


def dsb2018(prefix: str = "stage1_train/", names: tuple[str, ...] = ("00ab", "0c1d", "f2")) -> Layout:
    """Return RGBA images, and a mask for each of two nuclei."""
    content = {}
    for seed, name in enumerate(names):
        content[f"{prefix}{name}/images/{name}.png"] = encode(picture(seed, channels=4), ".png")
        for nucleus in range(2):
            content[f"{prefix}{name}/masks/{seed}{nucleus}.png"] = encode(blob(seed + 10 * nucleus), ".png")
    return Layout(content, f"{prefix}0c1d/images/0c1d.png", f"{prefix}0c1d/masks/10.png", "stage1_train.zip")


LAYOUTS: dict[str, Callable[..., Layout]] = {
    "cvc_clinicdb": cvc_clinicdb,
    "isbi2012": isbi2012,
    "isic2018": isic2018,
    "dsb2018": dsb2018,
}
