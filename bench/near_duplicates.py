"""Share of pictures that the report's audit calls near-duplicates, by its limit on the bits of their perceptual hashes.

    python bench/near_duplicates.py DOWNLOADS

Strangers are pairs of a data set that are not known to be related. In CVC-ClinicDB they are pairs of frames from
different ones of its 29 video sequences. In ISIC-2018, Data Science Bowl 2018 and COVID-19 CT they are all pairs; some
patients have several images and are not marked, so these figures are upper bounds. Copies are an image and a changed
version of it, with changes that data sets make.
"""

import argparse
import csv
import io
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

SIZE = (256, 192)  # width, height: the audit compares images at the size of training
LIMITS = range(0, 13, 2)


def jpeg(image: Image.Image) -> Image.Image:
    """Return the image after JPEG compression of quality 30."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file).convert("L")


def cropped(share: float) -> Callable[[Image.Image], Image.Image]:
    """Return a function that crops this share of width and height from each side."""
    left, top = round(share * SIZE[0]), round(share * SIZE[1])
    return lambda image: image.crop((left, top, SIZE[0] - left, SIZE[1] - top))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 30": jpeg,
    "a quarter of the size": lambda image: image.resize((SIZE[0] // 4, SIZE[1] // 4), Image.Resampling.BOX),
    "30 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "contrast of 70 %": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "blurred by 2 pixels": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "2 % cut off each side": cropped(0.02),
    "5 % cut off each side": cropped(0.05),
    "turned by 3 degrees": lambda image: image.rotate(3, Image.Resampling.BILINEAR),
}


def read(manual: Path) -> dict[str, tuple[list[Image.Image], list[str]]]:
    """Return the grey images of each data set, and the group of each image."""
    with open(Path(__file__).parents[1] / "datasets" / "cvc_clinicdb" / "sequences.csv") as file:
        spans = [(int(row["first_frame"]), int(row["last_frame"]), row["sequence"]) for row in csv.DictReader(file)]
    cvc = sorted((manual / "CVC-ClinicDB" / "PNG" / "Original").glob("*.png"))
    covid = sorted((manual / "COVID-SemiSeg" / "Dataset").glob("T*Set/*/Imgs/*.jpg"))
    with zipfile.ZipFile(manual / "stage1_train.zip") as archive:
        nuclei = [
            archive.read(name) for name in sorted(archive.namelist()) if "/images/" in name and name[-4:] == ".png"
        ]
    return {
        "CVC-ClinicDB": (
            grey(cvc),
            [next(name for first, last, name in spans if first <= int(p.stem) <= last) for p in cvc],
        ),
        "ISIC-2018": alone(grey(sorted((manual / "ISIC2018_Task1-2_Training_Input").glob("*.jpg")))),
        "DSB-2018": alone(grey(map(io.BytesIO, nuclei))),
        "COVID-19 CT": alone(grey(covid)),
    }


def grey(files: Iterable[Path | io.BytesIO]) -> list[Image.Image]:
    """Return grey images resized to SIZE."""
    return [Image.open(file).convert("L").resize(SIZE, Image.Resampling.BOX) for file in files]


def alone(images: list[Image.Image]) -> tuple[list[Image.Image], list[str]]:
    """Return the images, and a group of its own for each."""
    return images, [str(index) for index in range(len(images))]


def hashes(images: Iterable[Image.Image]) -> np.ndarray:
    """Return perceptual hashes, (n,) uint64."""
    return np.array([np.packbits(imagehash.phash(image).hash).view(np.uint64)[0] for image in images])


def main() -> None:
    """Read the command line and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manual", type=Path, help="the folder of the downloaded files")
    data = read(parser.parse_args().manual)
    print("| at most so many bits of 64 |", " | ".join(map(str, LIMITS)), "|\n|---" + "|---" * len(LIMITS) + "|")
    for name, (images, groups) in data.items():
        values = hashes(images)
        apart = np.triu(np.array(groups)[:, None] != np.array(groups))
        bits = np.bitwise_count(values[:, None] ^ values)[apart]
        found = [int((bits <= limit).sum()) for limit in LIMITS]
        print(f"| strangers in {name}, of {len(bits)} pairs |", " | ".join(map(str, found)), "|")
    images = [image for each, _ in data.values() for image in each[:: max(1, len(each) // 60)]]
    before = hashes(images)
    for name, change in CHANGES.items():
        bits = np.bitwise_count(before ^ hashes(map(change, images)))
        found = [f"{100 * np.mean(bits <= limit):.0f} %" for limit in LIMITS]
        print(f"| copies found of {len(images)}: {name} |", " | ".join(found), "|")


if __name__ == "__main__":
    main()
