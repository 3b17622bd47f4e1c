"""Changes of PNG, JPG, BMP, GIF and TIF: other modes, sizes and headers that are valid files, or nearly so."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from tests.fuzz.mutators.content import Mutator, UnsuitableError, pick

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr")


def other_mode(path: Path, random: np.random.Generator) -> None:
    with Image.open(path) as image:
        kind, pixels = image.format, image.convert("RGB") if image.mode not in ("L", "RGB") else image.copy()
    buffer = io.BytesIO()
    try:
        pixels.convert(pick(random, MODES)).save(buffer, kind)
    except (OSError, ValueError, KeyError) as error:
        raise UnsuitableError from error
    path.write_bytes(buffer.getvalue())


def other_size(path: Path, random: np.random.Generator) -> None:
    with Image.open(path) as image:
        size = [(1, 1), (1, image.height), (image.width + 1, image.height), (image.height, image.width)]
        pixels = image.resize(pick(random, size))
    pixels.save(path)


def rotated_by_exif(path: Path, random: np.random.Generator) -> None:
    if path.suffix not in (".png", ".jpg"):
        raise UnsuitableError
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = pick(random, [3, 6, 9, 0])
        image.save(path, exif=exif)


def of_several_frames(path: Path, random: np.random.Generator) -> None:
    if path.suffix not in (".png", ".gif", ".tif"):
        raise UnsuitableError
    with Image.open(path) as image:
        frames = [image.copy(), image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def png_of_a_header(path: Path, random: np.random.Generator) -> None:
    """Change one number of a PNG's header, and make its checksum right again."""
    content = bytearray(path.read_bytes())
    if content[:4] != b"\x89PNG":
        raise UnsuitableError
    if random.random() < 0.7:
        at = pick(random, [16, 20])
        content[at : at + 4] = pick(random, [0, 1, 5, 20000, 2**31 - 1, 2**32 - 1]).to_bytes(4, "big")
    else:
        content[random.integers(24, 29)] = pick(random, [0, 1, 2, 3, 4, 6, 16, 255])
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


def png_of_many_pixels(path: Path, random: np.random.Generator) -> None:
    """Write 400 megapixels of one colour in a few hundred kilobytes."""
    side = 20_000
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    parts = [
        len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big") for name, body in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def png_with_a_bomb_of_text(path: Path, random: np.random.Generator) -> None:
    content = path.read_bytes()
    if content[:4] != b"\x89PNG":
        raise UnsuitableError
    body = b"Comment\0\0" + zlib.compress(bytes(10**8), 9)
    chunk = len(body).to_bytes(4, "big") + b"zTXt" + body + zlib.crc32(b"zTXt" + body).to_bytes(4, "big")
    path.write_bytes(content[:33] + chunk + content[33:])


PICTURES: tuple[Mutator, ...] = (
    *(other_mode, other_mode, other_size, rotated_by_exif, of_several_frames, png_of_a_header, png_of_a_header),
    *(png_of_many_pixels, png_with_a_bomb_of_text),
)


def tif_of_another_kind(path: Path, random: np.random.Generator) -> None:
    array = tifffile.imread(path)
    changes = [
        lambda: array.astype(np.float32),
        lambda: np.full(array.shape, np.nan, np.float32),
        lambda: np.full(array.shape, np.inf, np.float64),
        lambda: array.astype(np.complex64),
        lambda: array.astype(np.uint64) << 40,
        lambda: array.astype(np.int16) - 300,
        lambda: np.stack([array, array]),
        lambda: np.zeros((0, *array.shape), np.uint8),
        lambda: np.zeros((0, 5), np.uint8),
        lambda: array[:1, :1],
        lambda: array.astype(bool),
        lambda: array.astype(np.float16),
    ]
    tifffile.imwrite(path, pick(random, changes)())


def tif_of_several_series(path: Path, random: np.random.Generator) -> None:
    array = tifffile.imread(path)
    with tifffile.TiffWriter(path) as file:
        file.write(array)
        file.write(array[:-1])


def tif_tag(path: Path, random: np.random.Generator) -> None:
    """Change the value, count or type of one tag of the first page."""
    with tifffile.TiffFile(path) as file:
        tags = [tag.offset for tag in file.pages[0].tags]
    content = bytearray(path.read_bytes())
    at = pick(random, tags) + pick(random, [2, 4, 8, 8, 8])
    content[at : at + 2] = pick(random, [0, 1, 2, 3, 4, 9, 255, 65535]).to_bytes(2, "little")
    path.write_bytes(content)


def tif_with_a_chain_in_a_circle(path: Path, random: np.random.Generator) -> None:
    """Let the list of pages end where it began."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[len(file.pages) - 1]
        first = file.pages[0].offset
        at = page.offset + 2 + 12 * len(page.tags)
    content = bytearray(path.read_bytes())
    content[at : at + 4] = first.to_bytes(4, "little")
    path.write_bytes(content)


TIFS: tuple[Mutator, ...] = (
    *(tif_of_another_kind, tif_of_another_kind, tif_of_several_series, tif_tag, tif_tag, tif_with_a_chain_in_a_circle),
)
