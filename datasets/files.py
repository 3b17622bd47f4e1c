"""Files of the data sets: found in a folder or in the zip archives in it, paired by name, and read as arrays."""

import contextlib
import io
import logging
import os
import re
import struct
import unicodedata
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile

from datasets import download
from datasets.errors import DataError, MissingError
from sharp_unet_jax.errors import is_out_of_memory

MAX_PIXELS = 2**28  # of one picture, as in 16384x16384: a file of 400 kB may hold more, and take minutes to decode
Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS decides; Pillow would warn from a third of it on
# A DataError says in one line what these log. nibabel logs what it repairs in a header, too.
for library in ("tifffile", "nibabel.global"):
    logging.getLogger(library).setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module="nibabel")

JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
TIF = (".tif", ".tiff")
# The content of a file may be of another format than its name says. Pillow knows more, and runs a program for some.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
# Folders of macOS, of network drives and of Windows: copies, thumbnails, bins.
OF_SYSTEMS = {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
TEXTS = {"README", "CHANGES", "LICENSE"}  # files without a suffix that data sets have


def local(path: Path | str) -> Path:
    """Return a path with `~` expanded. Raises DataError for an address such as gs://bucket: no such file is read."""
    if re.match(r"[A-Za-z][\w+.-]+:/", str(path)):  # pathlib makes one slash of two; a drive has one letter
        raise DataError(f"{path}: is an address, but files are read and written only on this machine; name a folder")
    return spelled(Path(os.path.expanduser(path)))  # which leaves the ~ of nobody as it is


def spelled(path: Path) -> Path:
    """Return a path with its accents encoded as on the disk, or as given where neither is there."""
    spellings = (Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD"))
    return path if path.exists() else next((other for other in spellings if other.exists()), path)


def regular(path: Path) -> Path:
    """Return `path`. Raises DataError for a folder, and for a pipe or a device: reading these may never end."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is no file but a folder, a pipe or a device; remove it")
    return path


@contextlib.contextmanager
def collecting(faults: list[str] | None) -> Iterator[None]:
    """Add the message of a DataError in the block to `faults`; without such a list the error passes."""
    try:
        yield
    except DataError as error:
        if faults is None:
            raise
        faults.append(str(error))


@dataclass(frozen=True)
class File:
    """A file on disk or a member of a zip archive."""

    name: str  # path below the folder that was searched, with forward slashes
    where: str  # full path, for messages
    read: Callable[[], bytes]

    @classmethod
    def at(cls, path: Path, root: Path | None = None) -> "File":
        """Return the file at `path`, named relative to `root`."""
        name = path.relative_to(root).as_posix() if root else path.name
        return cls(name, str(path), lambda: regular(path).read_bytes())

    @property
    def stem(self) -> str:
        """The name without folders and suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix in lower case, ".png"."""
        return PurePosixPath(self.name).suffix.lower()


class Tree:
    """The files below `folder`, and the members of the zip archives in it as if they were extracted there.

    `archives` names the zips. A zip may hold `a/b.png`, or be called `a.zip` and hold `b.png`: both are `a/b.png` here.
    Extracted files come before archived ones. `downloaded` gives the path of archives that are elsewhere, by name.
    """

    def __init__(self, folder: Path, archives: Sequence[str] = (), downloaded: Mapping[str, Path] | None = None):
        self.folder = folder
        self._members: dict[str, File] = {}
        for name, path in ({name: folder / name for name in archives} | dict(downloaded or {})).items():
            members = _members(path) if path.is_file() else []
            self._members |= {member.name: member for member in members}
            top = f"{name.removesuffix('.zip')}/"
            if not any(member.name.startswith(top) for member in members):
                self._members |= {top + member.name: member for member in members}

    def file(self, *names: str) -> File | None:
        """Return the first of these files that exists, or None."""
        on_disk = (File.at(self.folder / name, self.folder) for name in names if (self.folder / name).is_file())
        return next(on_disk, None) or next((self._members[name] for name in names if name in self._members), None)

    def below(self, name: str, suffixes: Sequence[str] = (".png", *JPEG, ".bmp", *TIF)) -> list[File]:
        """Return the files in the folder `name` and its subfolders, in natural order; [] if there is no such folder."""
        found = [File.at(path, self.folder / name) for path in below(self.folder / name) if path.is_file()]
        if not found:
            inside = [(seen, member) for seen, member in self._members.items() if seen.startswith(f"{name}/")]
            found = [File(seen.removeprefix(f"{name}/"), member.where, member.read) for seen, member in inside]
        found = [file for file in found if file.suffix in suffixes and is_shown(file.stem)]
        return sorted(found, key=lambda file: natural(file.name))


def _members(path: Path) -> list[File]:
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # damaged headers raise errors of many kinds
        raise DataError(f"{path}: not a zip archive, or cut short ({error}); download it again") from error
    names = [name for name in archive.namelist() if not name.endswith("/")]
    if not names:
        raise DataError(f"{path}: the archive is empty; download it again")
    name, number = Counter(names).most_common(1)[0]
    if number > 1:
        raise DataError(f"{path}: holds {number} files called {name}; download it again")
    return [File(name, f"{path}: {name}", partial(archive.read, name)) for name in names]


def below(folder: Path, faults: list[str] | None = None) -> Iterator[Path]:
    """Yield all files below a folder, also by way of links to folders; a link to a folder around itself is no way.

    A folder that cannot be read is a fault, and so is a link to nothing whose name has no suffix: to a folder. Faults
    are raised as DataError or, where there is a list `faults`, added to it.
    """

    def unread(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):  # there is no such folder to walk
            with collecting(faults):
                why = f"cannot be read ({error.strerror}); check its permissions and its disk"
                raise DataError(f"{error.filename}: {why}")

    for where, inside, names in os.walk(folder, followlinks=True, onerror=unread):
        inside[:] = [name for name in inside if is_shown(name) and not _leads_around(Path(where, name))]
        for path in (Path(where, name) for name in names if is_shown(name)):
            if not path.suffix and path.name not in TEXTS and path.is_symlink() and not path.exists():
                with collecting(faults):
                    why = f"is a link to {path.readlink()}, which is not there; mount it, or remove the link"
                    raise DataError(f"{path}: {why}")
            yield path


def _leads_around(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def is_shown(name: str) -> bool:
    """Say whether a file or folder is the user's: systems put their own beside them, macOS a dot file beside each."""
    return not name.startswith(".") and name not in OF_SYSTEMS


def natural(name: str) -> list[str | int]:
    """Return a sort key that puts "2" before "10"."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def pairs(images: Iterable[File], masks: Iterable[File], mask_ending: str = "") -> list[tuple[str, File, File]]:
    """Pair images and masks whose names are equal but for `mask_ending`; return (name, image, mask) in natural order.

    Raises DataError for a file without its partner.
    """
    image_of, mask_of = _by_name(images, ""), _by_name(masks, mask_ending)
    check_partners(image_of, mask_of)
    return [(name, image_of[name], mask_of[name]) for name in sorted(image_of, key=natural)]


def check_partners(image_of: Mapping[str, File], mask_of: Mapping[str, File]) -> None:
    """Refuse images without a mask and masks without an image. Raises DataError."""
    for kind, having, others in (("mask", image_of, mask_of), ("image", mask_of, image_of)):
        unpaired = [file.where for name, file in having.items() if name not in others]
        if unpaired:
            more = f" and {len(unpaired) - 3} more" if len(unpaired) > 3 else ""
            raise DataError(f"no {kind} for {', '.join(unpaired[:3])}{more}; add the missing files or remove these")


def _by_name(found: Iterable[File], ending: str) -> dict[str, File]:
    by_name: dict[str, File] = {}
    for file in found:
        name = file.stem.removesuffix(ending)
        if name in by_name:
            raise DataError(f"{by_name[name].where} and {file.where} are both called {name}; remove one of them")
        by_name[name] = file
    return by_name


def read_image(source: File | Path, mode: str | None = None) -> np.ndarray:
    """Return the pixels of a PNG, JPG, BMP or TIF as stored, (H, W) or (H, W, C); of a palette, the indices.

    `mode="RGB"` gives (H, W, 3) for any file: grey is repeated, a palette looked up, alpha dropped. Raises DataError.
    """
    file = File.at(source) if isinstance(source, Path) else source
    with reading(file.where):
        if file.suffix in TIF:  # Pillow cannot open RGB tagged as MINISBLACK, tifffile can
            with tifffile.TiffFile(io.BytesIO(file.read())) as tif:
                check_series(tif, file.where)
                array = tif.asarray()
            if not array.size:
                raise DataError(f"{file.where}: holds no pixels; remove it")
            if array.dtype.kind not in "buif":
                raise DataError(f"{file.where}: holds numbers of type {array.dtype}; save whole or real ones")
            return _rgb(array) if mode else array
        with picture(file) as image:
            return np.asarray(image.convert(mode) if mode else image)


def read_binary(source: File | Path) -> np.ndarray:
    """Return `binary` of a file, with its palette looked up. Raises DataError."""
    file = File.at(source) if isinstance(source, Path) else source
    array = read_image(file)
    if file.suffix not in TIF:
        with picture(file) as image:
            array = read_image(file, "RGB") if image.mode in ("P", "PA") else array
    return binary(array)


@contextlib.contextmanager
def picture(source: File | Path) -> Iterator[Image.Image]:
    """Open a PNG, JPG or BMP; its pixels are not decoded yet. Raises DataError for more than MAX_PIXELS."""
    where = source.where if isinstance(source, File) else source
    with reading(where):
        opened = io.BytesIO(source.read()) if isinstance(source, File) else regular(source)
        with Image.open(opened, formats=FORMATS) as image:
            if image.format == "TIFF":  # Pillow cuts its channels to 8 bits
                raise DataError(f"{where}: is a TIF by its content; rename it to .tif")
            _check_size(image.width, image.height, where)
            yield _grey_bitmap(image) or image


def _grey_bitmap(image: Image.Image) -> Image.Image | None:
    """Return the pixels of a BMP of 4 or 8 bits with a palette of few greys, black first; None of all other files.

    Pillow takes black and white for 1 bit, other greys for 8 bits, and decodes other pixels. It writes such files, too.
    """
    if not isinstance(image, BmpImageFile) or image.mode not in ("1", "L") or image.fp is None:
        return None
    image.fp.seek(14)
    header, bits = struct.unpack("<I10xH", image.fp.read(16))
    if header < 40 or bits == {"1": 1, "L": 8}[image.mode]:  # a header of OS/2 has all colours of its bits
        return None
    image.fp.seek(0)
    array = imagecodecs.bmp_decode(image.fp.read())  # (H, W), or (H, W, 3)
    grey = Image.fromarray(array if array.ndim == 2 else array[..., 0])
    grey.format = image.format
    return grey


def check_series(tif: tifffile.TiffFile, where: Path | str) -> None:
    """Refuse a TIF of several series, since only the first would be read, and pages of no size or too large a one.

    Raises DataError.
    """
    if len(tif.series) > 1:
        raise DataError(
            f"{where}: holds {len(tif.series)} series of pictures that differ in size or kind; save them apart"
        )
    page = tif.pages.first
    _check_size(page.imagewidth * bool(page.size), page.imagelength * page.imagedepth, where)


def _check_size(width: int, height: int, where: Path | str) -> None:
    if width * height == 0:
        raise DataError(f"{where}: holds no pixels; remove it")
    if width * height > MAX_PIXELS:
        raise DataError(f"{where}: is {width}x{height}; a picture of over {MAX_PIXELS} pixels is not read: shrink it")


@contextlib.contextmanager
def reading(where: Path | str) -> Iterator[None]:
    """Turn any error in reading the image `where` into a DataError that names the file once."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise DataError(f"{where}: is too large for the memory of this machine; crop or shrink it") from error
        reason = getattr(error, "strerror", None) or error  # str() of an OSError repeats the path
        if isinstance(error, UnidentifiedImageError):
            reason = "of no known format"
        text = " ".join(str(reason).split())
        raise DataError(f"{where}: cannot be read as an image ({text}); it is damaged or cut short") from error


def _rgb(array: np.ndarray) -> np.ndarray:
    return np.stack([array] * 3, axis=-1) if array.ndim == 2 else array[..., :3]


def binary(mask: np.ndarray) -> np.ndarray:
    """Return a mask painted in black and white, grey or RGB as 0 and 1: 1 above 127; alpha is dropped."""
    grey = mask[..., : {2: 1}.get(mask.shape[-1], 3)].max(axis=-1) if mask.ndim == 3 else mask
    return (grey if grey.dtype == bool else grey > 127).astype(np.uint8)


def png(array: np.ndarray) -> io.BytesIO:
    """Encode (H, W), (H, W, 1) or (H, W, 3) uint8 as PNG. TFDS would need TensorFlow to encode an array.

    Compression level 2 takes a quarter of the default's time and a tenth more space.
    """
    buffer = io.BytesIO()
    plane = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    Image.fromarray(plane).save(buffer, "PNG", compress_level=2)
    buffer.seek(0)
    return buffer


def manual_dir(dl_manager: Any) -> Path:
    """Return the folder of the user's files. Raises MissingError, in TFDS's words, where it is missing or empty."""
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError as error:
        raise MissingError(" ".join(str(error).split())) from error


def find(dl_manager: Any, archives: Sequence[str], url: str | None = None, wanted: Sequence[str] = ()) -> Tree:
    """Return the files in TFDS's manual_dir or, where these are missing, download `archives` from `url`.

    They are missing if manual_dir holds none of `archives`, zipped or extracted, and none of the files `wanted`. Raises
    DataError where a download fails, or for a damaged archive, which is deleted.
    """
    downloads = Path(dl_manager.download_dir)
    try:
        folder = manual_dir(dl_manager)
        tree = Tree(folder, archives)
        if url is None or tree.file(*wanted) or any(tree.below(name.removesuffix(".zip")) for name in archives):
            return tree
    except MissingError:
        if url is None:
            raise
        folder = downloads
    found = {name: downloads / name for name in archives}
    download.fetch({url + name: path for name, path in found.items()})
    for path in found.values():
        try:
            _members(path)
        except DataError as error:
            path.unlink()
            raise DataError(f"{error}: it is deleted, so give the command again") from error
    return Tree(folder, downloaded=found)
