"""A contact sheet: typical images of a data set and the oddest, with the outlines of their masks."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from launch.preview.outlines import GAP, OUTLINES, outlined
from sharp_unet_jax.advice.profile import Profile
from sharp_unet_jax.data.resize import resize

TILE, COLUMNS, MOST = 224, 6, 30  # pixels of a picture's longer side; pictures in a row, and in all
LINE = 15  # pixels


def pick(facts: Profile, most: int = MOST) -> dict[int, list[str]]:
    """Which images to show, in order, and what is special about each: nothing, of the typical ones."""
    area, aspect = facts.sizes.prod(axis=1), facts.sizes[:, 1] / facts.sizes[:, 0]
    foreground, brightness = facts.foreground, np.array([one.brightness for one in facts.images])
    odd: list[tuple[int, str]] = []
    for i, j, bits, _ in facts.near[:2]:
        odd += [(i, f"like {facts.ids[j]}, {bits} of 64 bits"), (j, f"like {facts.ids[i]}")]
    for one, other, *_ in facts.copies[:2]:
        odd += [(one, f"copy of {facts.ids[other]}"), (other, f"copy of {facts.ids[one]}")]
    if empty := np.flatnonzero(foreground == 0).tolist():
        odd.append((empty[0], f"an empty mask, of {len(empty)}"))
    odd.append((int(np.argmin(np.where(foreground > 0, foreground, 2))), "least foreground"))
    odd.append((int(np.argmax(foreground)), "most foreground"))
    for label in range(1, len(facts.classes)) if 2 < len(facts.classes) < 8 else ():
        odd.append((int(np.argmax(facts.counts[:, label])), f"most {facts.classes[label]}"))
    for value, least, greatest in (
        (area, "smallest", "largest"),
        (aspect, "narrowest", "widest"),
        (brightness, "darkest", "brightest"),
    ):
        if value.min() < value.max():
            odd += [(int(np.argmin(value)), least), (int(np.argmax(value)), greatest)]
    shown: dict[int, list[str]] = {}
    for index, why in odd:
        shown.setdefault(index, []).append(why)
    typical = np.linspace(0, len(facts.ids) - 1, max(COLUMNS, most - len(shown))).astype(int).tolist()
    return {index: shown.get(index, []) for index in dict.fromkeys([*shown, *typical])}


def sheet(facts: Profile, read: Callable[[int], tuple[np.ndarray, np.ndarray]]) -> Image.Image:
    """The pictures that `pick` chose, each with its id; `read` gives an image (h, w, C) and its mask (h, w)."""
    chosen = list(pick(facts).items())
    side, font = TILE + GAP, ImageFont.load_default(12)
    rows = -(-len(chosen) // COLUMNS)
    paper = Image.new("RGB", (COLUMNS * side, 2 * LINE + rows * (side + 3 * LINE)), "white")
    draw = ImageDraw.Draw(paper)
    x = GAP
    for label, name in enumerate(facts.classes[1:8]):
        draw.rectangle((x, 6, x + 12, 18), fill=tuple(OUTLINES[1:][label % (len(OUTLINES) - 1)].tolist()))
        draw.text((x + 18, 4), name, "black", font)
        x += 30 + int(draw.textlength(name, font))
    for number, (index, why) in enumerate(chosen):
        left, top = number % COLUMNS * side, 2 * LINE + number // COLUMNS * (side + 3 * LINE)
        paper.paste(Image.fromarray(outlined(*resize(*read(index), (TILE, TILE), "letterbox"))), (left, top))
        height, width = facts.sizes[index]
        lines = f"{facts.ids[index]}  {width}x{height}, {facts.foreground[index]:.1%}", ", ".join(why)
        for line, text in enumerate(lines):
            draw.text((left + 2, top + TILE + line * LINE), _short(text, draw, font), "black", font)
    return paper


def _short(text: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    while draw.textlength(text, font) > TILE:
        text = text[: len(text) // 2 - 2] + "…" + text[len(text) // 2 + 1 :]
    return text
