"""Blends of colours: the pixels at edges that were smoothed, as drawing programs and resizing leave them."""

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from scipy.spatial import cKDTree

from datasets.folder.masks import BLACK, COLOUR, TRANSPARENT, Summary

STEPS = 16  # of the mixtures that are compared with a colour
NEAR = 24.0  # distance in RGB, from 0 to 441: resizing overshoots, and mixtures are compared in steps
MOST = 0.05  # share of all pixels that may be blends


def are_blends(codes: Sequence[int], of: Sequence[int]) -> np.ndarray:
    """Say of each colour whether it is near a mixture of up to three of the colours `of`: bool (codes,)."""
    weights = [(a, b, STEPS - a - b) for a in range(STEPS + 1) for b in range(STEPS + 1 - a)]
    threes = _rgb([three for colours in combinations_with_replacement(of, 3) for three in colours]).reshape(-1, 3, 3)
    mixtures = np.einsum("wk,tkc->wtc", np.array(weights) / STEPS, threes).reshape(-1, 3)
    distance, _ = cKDTree(mixtures).query(_rgb(codes))
    return distance <= NEAR


def nearest(codes: np.ndarray, of: Sequence[int]) -> np.ndarray:
    """Return for each code the index of the colour in `of` that is nearest to it, of the shape of `codes`."""
    colours = [at for at, code in enumerate(of) if code >= COLOUR]  # TRANSPARENT is none
    _, found = cKDTree(_rgb([of[at] for at in colours])).query(_rgb(codes.ravel()))
    return np.array(colours)[found].reshape(codes.shape)


def main(summaries: Sequence[Summary], values: Sequence[int]) -> list[int]:
    """Return the colours that all other `values` are blends of; all of them where there are no such."""
    solid = {one for mask in summaries for one in mask.solid} | {one for one in (BLACK, TRANSPARENT) if one in values}
    rest = [value for value in values if value not in solid]
    few = [value for value in values if value in solid]
    found = rest and 2 <= len(few) <= 8 and are_blends(rest, [one for one in few if one != TRANSPARENT]).all()
    return few if found else list(values)


def _rgb(codes: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the colours of codes, float (n, 3)."""
    colours = np.asarray(codes, np.int64)[:, None] - COLOUR
    return (colours >> np.array([16, 8, 0]) & 255).astype(float)
