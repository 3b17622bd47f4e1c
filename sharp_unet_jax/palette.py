"""The colours of models, classes, errors and text in figures, masks, overlays and contact sheets.

The page of a report has more colours, for its text and background: report/template/report.css.

Readers who are colour-blind can tell them apart: Okabe and Ito's palette, and IBM's for errors.
"""

import colorsys

import numpy as np

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    *("#000000", "#e69f00", "#56b4e9", "#009e73"),
    *("#f0e442", "#0072b2", "#d55e00", "#cc79a7"),
)
MODELS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)  # a sweep's models, in the config's order
PLAIN, SHARP = BLUE, VERMILION  # where only the skip is told apart
INK = "#262626"  # text and axes
FALSE_POSITIVE, FALSE_NEGATIVE, OTHER_CLASS = "#ffb000", "#3d6dff", "#dc267f"  # IBM's: light, dark, between them
IGNORED = "#5a5a6e"  # neither trained on nor scored
_CLASSES = (BLACK, SKY, ORANGE, GREEN, YELLOW, BLUE, VERMILION, PURPLE)  # label 0, the background, is black
_HUES = [colorsys.hsv_to_rgb(k * 0.618034 % 1, 0.75, 0.95) for k in range(256 - len(_CLASSES))]  # for more classes


def rgb(colour: str) -> tuple[int, int, int]:
    """Return a colour such as "#e69f00" as (red, green, blue), each from 0 to 255."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


CLASSES = np.array([*map(rgb, _CLASSES), *([round(255 * c) for c in hue] for hue in _HUES)], np.uint8)
"""(256, 3) RGB: the colour of each label."""
