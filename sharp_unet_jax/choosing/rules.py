"""The search for the rule that turns probabilities into masks."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sharp_unet_jax import metrics
from sharp_unet_jax.choosing import gains
from sharp_unet_jax.decision import Rule

THRESHOLDS = tuple(twentieth / 20 for twentieth in range(1, 20))

Scores = Callable[[Sequence[Rule]], NDArray[np.float64]]
"""Jaccard index of each image by each rule, (rules, images), nan where nothing is scored."""


def search(plain: Rule, ladder: Sequence[int], binary: bool, scores: Scores, groups: Sequence[str]) -> Rule:
    """Return the rule that images prefer to `plain`, which is the result where none gains enough.

    A step at a time: threshold, holes, smallest piece, largest piece. Of a step's candidates the one with the highest
    mean over images is tried, the nearer threshold or the lower size of equal ones. It is kept if the 95 % interval of
    its paired gain over the rule so far lies above zero, see `gains.interval`.

    Args:
        plain: only the threshold.
        ladder: sizes to try as `Rule.smallest`.
        binary: there is only one class; otherwise there is no threshold to choose.
        scores: of the images to choose on.
        groups: of the same images.
    """
    rule = plain
    for candidates in _steps(binary, ladder):
        options = [rule, *candidates(rule)]
        table = scores(options)
        best = int(np.argmax(np.nan_to_num(metrics.mean(table, axis=1), nan=-1)))
        if best and gains.holds(table[best], table[0], groups):
            rule = options[best]
    return rule


def ladder(masks: Iterable[NDArray[np.uint8]]) -> list[int]:
    """Return 4, 8, 16, ... pixels, up to the median size of the true objects in `masks` (H, W); [] without objects.

    An object is a piece of a class, in which pixels touch by sides or corners.
    """
    sizes: list[int] = []
    for mask in masks:
        for label in np.unique(mask[metrics.foreground(mask)]):
            pieces, _ = ndimage.label(mask == label, np.ones((3, 3)))
            sizes += np.bincount(pieces.ravel())[1:].tolist()
    highest = float(np.median(sizes)) if sizes else 0.0
    return [2**power for power in range(2, 32) if 2**power <= highest]


def _steps(binary: bool, ladder: Sequence[int]) -> Iterator[Callable[[Rule], list[Rule]]]:
    """Yield for each step the function from the rule so far to its candidates, the first of equal ones first."""
    if binary:
        yield lambda rule: [
            rule._replace(threshold=each)
            for each in sorted(THRESHOLDS, key=lambda each: abs(each - rule.threshold))
            if each != rule.threshold
        ]
    yield lambda rule: [rule._replace(fill=True)]
    yield lambda rule: [rule._replace(smallest=size) for size in ladder]
    yield lambda rule: [rule._replace(largest=True)]
