"""Masks that number objects recognised: 1, 2, 3, ... or a colour for each cell, not for each class."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from datasets.folder import masks
from datasets.folder.masks import Summary

FEWEST = 3  # labels of a set that may number objects
LOOKED_AT = 32  # masks that are read again, to count the pieces of their labels
SMALLEST = 9  # pixels of most objects; smaller ones are noise
MANY = 8  # labels in most masks: the largest label then need not differ


def numbered(summaries: Sequence[Summary], *, indices: bool) -> bool:
    """Say whether masks number objects. Labels of classes are told from numbers by any of four signs.

    - A class has another size than its neighbours. Most objects have half to twice the size of those beside them.
    - A class may be absent where a later one is there. Numbers have no gaps.
    - The largest label of most masks is one and the same. That of numbers differs, if they are few.
    - A class may be in several pieces. An object is one.
    """
    held = [(mask, *_labels(mask)) for mask in summaries]
    held = [(mask, labels, pixels) for mask, labels, pixels in held if len(labels)]
    several = [pixels for _, _, pixels in held if len(pixels) > 1]
    if not several or len({int(label) for _, labels, _ in held for label in labels}) < FEWEST:
        return False
    alike = np.concatenate([np.abs(np.log2(pixels / np.median(pixels))) <= 1 for pixels in several])
    if alike.mean() < 0.6 or np.median(np.concatenate(several)) < SMALLEST:
        return False
    gapless = np.mean([labels[-1] == len(labels) or labels[-1] > masks.COLOUR for _, labels, _ in held])
    if gapless < 0.8:
        return False
    (_, masks_alike), *_ = Counter(len(labels) for _, labels, _ in held).most_common(1)
    if masks_alike > len(held) / 2 and np.median([len(labels) for _, labels, _ in held]) < MANY:
        return False
    some = held[:: -(-len(held) // LOOKED_AT)]
    whole = [_in_one_piece(masks.read([mask.path], mask.how, indices=indices), labels) for mask, labels, _ in some]
    return bool(np.concatenate(whole).mean() >= 0.9)


def _labels(mask: Summary) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of a mask but the background, and the pixels of each."""
    shown = ~np.isin(mask.values, (masks.TRANSPARENT, 0, masks.BLACK))
    return mask.values[shown], mask.counts[shown]


def _in_one_piece(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Say of each label whether its pixels in the codes (n, H, W) are connected, if only by corners: bool (labels,)."""
    codes = masks.as_colours(codes) if labels[-1] > masks.COLOUR else codes
    numbers = np.where(np.isin(codes, labels), np.searchsorted(labels, codes) + 1, 0)
    touching = np.ones((3, 3, 3))
    boxes = ndimage.find_objects(numbers, len(labels))
    return np.array([ndimage.label(numbers[box] == n, touching)[1] == 1 for n, box in enumerate(boxes, 1)])
