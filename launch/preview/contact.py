"""A contact sheet: typical and unusual images of a data set, with the outlines of their masks; and a sheet of crops."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from launch.preview.outlines import COLOURS, GAP, IGNORED, outlined
from sharp_unet_jax import ragged
from sharp_unet_jax.advice.profile import Profile
from sharp_unet_jax.config import Data
from sharp_unet_jax.data import crops
from sharp_unet_jax.data.resize import resize

TILE = 224  # pixels of a picture's longer side
COLUMNS, MOST = 6, 30  # pictures in a row; pictures in all
CROPS, SHEET, NARROW = 12, 1400, 160  # crops that are drawn; pixels of their sheet, and of a caption
LINE = 15  # pixels of a line of text


def pick(profile: Profile) -> dict[int, list[str]]:
    """Choose the images to show, in order, each with the reasons why it is unusual; typical images have none."""
    shown: dict[int, list[str]] = {}
    for index, why in [*_alike(profile), *_extremes(profile)]:
        shown.setdefault(index, []).append(why)
    typical = np.linspace(0, len(profile.ids) - 1, max(COLUMNS, MOST - len(shown))).astype(int).tolist()
    return {index: shown.get(index, []) for index in dict.fromkeys([*shown, *typical])}


def _alike(profile: Profile) -> list[tuple[int, str]]:
    """Return images that are like another, with the reason."""
    chosen: list[tuple[int, str]] = []
    for i, j, bits, _ in profile.near[:2]:
        chosen += [(i, f"like {profile.ids[j]}, {bits} of 64 bits"), (j, f"like {profile.ids[i]}")]
    for one, other, *_ in profile.copies[:2]:
        chosen += [(one, f"copy of {profile.ids[other]}"), (other, f"copy of {profile.ids[one]}")]
    return chosen


def _extremes(profile: Profile) -> list[tuple[int, str]]:
    """Return the images with the least and the most of something, with the reason."""
    foreground, chosen = profile.foreground, []
    if empty := np.flatnonzero(foreground == 0).tolist():
        chosen.append((empty[0], f"an empty mask, of {len(empty)}"))
    chosen.append((int(np.argmin(np.where(foreground > 0, foreground, 2))), "least foreground"))
    chosen.append((int(np.argmax(foreground)), "most foreground"))
    for label in range(1, len(profile.classes)) if 2 < len(profile.classes) < 8 else ():
        chosen.append((int(np.argmax(profile.counts[:, label])), f"most {profile.classes[label]}"))
    for value, least, greatest in (
        (profile.sizes.prod(axis=1), "smallest", "largest"),
        (profile.sizes[:, 1] / profile.sizes[:, 0], "narrowest", "widest"),
        (np.array([one.brightness for one in profile.images]), "darkest", "brightest"),
    ):
        if value.min() < value.max():
            chosen += [(int(np.argmin(value)), least), (int(np.argmax(value)), greatest)]
    return chosen


def sheet(profile: Profile, read: Callable[[int], tuple[np.ndarray, np.ndarray]]) -> Image.Image:
    """Draw the images that `pick` chooses, each with its id and the reasons.

    `read` returns the image (h, w, C) and the mask (h, w) of an index in `profile`.
    """
    chosen = list(pick(profile).items())
    side, font = TILE + GAP, ImageFont.load_default(12)
    rows = -(-len(chosen) // COLUMNS)
    paper = Image.new("RGB", (COLUMNS * side, 2 * LINE + rows * (side + 3 * LINE)), "white")
    draw = ImageDraw.Draw(paper)
    x = GAP
    for label, name in enumerate(profile.classes[1:8]):
        draw.rectangle((x, 6, x + 12, 18), fill=tuple(COLOURS[label % len(COLOURS)].tolist()))
        draw.text((x + 18, 4), name, "black", font)
        x += 30 + int(draw.textlength(name, font))
    if (profile.labelled < 1).any():
        draw.rectangle((x, 6, x + 12, 18), fill=tuple(IGNORED.tolist()))
        draw.text((x + 18, 4), "not scored", "black", font)
    for number, (index, why) in enumerate(chosen):
        left, top = number % COLUMNS * side, 2 * LINE + number // COLUMNS * (side + 3 * LINE)
        height, width = profile.sizes[index].tolist()
        size = max(1, round(TILE * height / max(height, width))), max(1, round(TILE * width / max(height, width)))
        picture = Image.fromarray(outlined(*resize(*read(index), size, "stretch")))
        paper.paste(picture, (left + (TILE - size[1]) // 2, top + (TILE - size[0]) // 2))
        lines = f"{profile.ids[index]}  {width}x{height}, {profile.foreground[index]:.1%}", ", ".join(why)
        for line, text in enumerate(lines):
            draw.text((left + 2, top + TILE + line * LINE), _short(text, draw, font), "black", font)
    return paper


def crop_sheet(
    data: Data, ids: Sequence[str], sizes: NDArray[np.int64], read: Callable[[int], tuple[np.ndarray, np.ndarray]]
) -> Image.Image:
    """Draw crops of a few images as training draws them, pixel by pixel, each with its image's id and its place.

    `sizes` (n, 2) are of the images at the resolution of training; `read` is that of `sheet`.
    """
    chosen = np.unique(np.linspace(0, len(ids) - 1, CROPS).astype(int)).tolist()
    each = dataclasses.replace(data, crops=-(-CROPS // len(chosen)))
    cuts = []
    for index in chosen:  # one after another, since images may be large
        height, width = sizes[index].tolist()
        image, mask = resize(*read(index), (height, width), data.fit, data.mask_filter)
        drawn = crops.draw(np.zeros(1, np.int64), sizes[[index]], [crops.points(mask)], each, seed=index, epoch=1)
        images, masks = ragged.of([image]), ragged.of([mask])
        for crop in drawn:
            where = f"row {crop[1]}, column {crop[2]}"
            picture = outlined(*crops.cut(images, masks, crop, data.size, data.size))
            cuts.append((f"{ids[index]}  {width}x{height}", where, picture))
    font, height, width = ImageFont.load_default(12), data.size[0] + GAP, max(data.size[1] + GAP, NARROW)
    columns = max(1, min(len(cuts), SHEET // width))
    paper = Image.new("RGB", (columns * width, -(-len(cuts) // columns) * (height + 2 * LINE)), "white")
    draw = ImageDraw.Draw(paper)
    for number, (name, where, picture) in enumerate(cuts):
        left, top = number % columns * width, number // columns * (height + 2 * LINE)
        paper.paste(Image.fromarray(picture), (left, top))
        for line, text in enumerate((name, where)):
            draw.text((left + 2, top + height + line * LINE), _short(text, draw, font, width - GAP), "black", font)
    return paper


def _short(
    text: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int = TILE
) -> str:
    """Cut letters out of the middle of a text until it is no wider than a picture."""
    while draw.textlength(text, font) > width:
        text = text[: len(text) // 2 - 2] + "…" + text[len(text) // 2 + 1 :]
    return text
