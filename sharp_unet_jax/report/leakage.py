"""The audit of folds: test images that resemble images their run had seen, in training or to decide on stopping.

It looks for three kinds of relatives: images of the same group; images with consecutive ids, as slices of a stack or
frames of a video have; near-duplicates by perceptual hash. What ids, groups and pixels do not show stays unknown.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sharp_unet_jax.data import duplicates, pillow
from sharp_unet_jax.data.duplicates import DUPLICATE
from sharp_unet_jax.report import shown
from sharp_unet_jax.report.provenance import describe, labels
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table

PAIRS = 8  # that the page shows
SAMPLE = 4096  # images of whose pairs likeness is ranked, at most


class Pair(NamedTuple):
    """A test image, and one like it that the runs of its fold had seen."""

    test: str  # ids
    seen: str
    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]  # (h, w, 3) each
    caption: str  # says how alike they are


class Audit(NamedTuple):
    """The findings of a sweep's checks together."""

    share: float  # of test images that have a relative
    sure: bool  # whether groups or pixels tell of one; ids in a row may be those of strangers
    sources: tuple[str, ...]  # what was there to look at: groups, ids in a row, pixels


class Looks(NamedTuple):
    """Summaries of images, by which any two are compared. Letterbox padding is cut off first."""

    hashes: NDArray[np.uint64]  # (n,) perceptual hashes, in the order of `sweep.groups`
    small: NDArray[np.float32]  # (n, 1024) grey values at 32x32: the product of two is their correlation


def table(sweeps: Sequence[Sweep]) -> Table:
    """Return "audit": a row per check, a column per sweep: how many test images had a relative that their run saw."""
    columns, found = {}, []
    for label, sweep in zip(labels(sweeps), sweeps, strict=True):
        columns[label], audit = _checks(sweep)
        found.append(audit)
    return Table(
        "audit",
        "Audit of folds: test images with a relative among the images their run had seen",
        describe(sweeps),
        pd.DataFrame(columns).rename_axis("test images whose run had seen").reset_index(),
        "A test image is counted in every repeat. All other images of a run are seen: trained on, or used to "
        "decide on stopping and weights. Ids are consecutive if they differ only in their last number, by 1. Their "
        "likeness (median correlation at 32x32) shows whether they are neighbours in a stack or video: neighbours are "
        f"more alike than nearly all pairs (of up to {SAMPLE} images, drawn), unrelated images more than about 50 % of "
        f"them. Near-duplicates differ in at most {DUPLICATE} of the 64 bits of a perceptual hash (pHash). In four "
        "public data sets this holds for 2 in 100,000 pairs of unrelated images. It holds for at least 92 % of copies "
        "that were compressed, shrunk, blurred or relit, but for 41 % of copies with 2 % cut off each side and 23 % of "
        "those rotated by 3 degrees (bench/near_duplicates.py), so the number is a lower bound. Where no groups are "
        "known, no image can be said to be independent of another.",
        _says(found),
    )


def _says(found: Sequence[Audit]) -> str:
    """Return in one sentence how many test images have a relative."""
    most = max(found, key=lambda audit: audit.share)
    if not most.share:
        known = [source for source in most.sources if all(source in audit.sources for audit in found)]
        if not known:
            return "Nothing tells whether test images have such relatives: no groups, no ids in a row, no pixels."
        told = f"{', '.join(known[:-1])} and {known[-1]} tell" if len(known) > 1 else f"{known[0]} alone tell"
        return f"No test image has such a relative, as far as {told}."
    share = f"{'Up to ' if len(found) > 1 else ''}{most.share:.1%} of test images have such a relative"
    if most.sure:
        return f"{share}: scores are too good for new patients or slides."
    return (
        f"{share}, by their ids alone: if ids in a row are neighbours, scores are too good for new patients or slides."
    )


def most_alike(sweep: Sweep) -> list[Pair]:
    """Return the PAIRS most alike pairs of a test image and one that its run had seen, no group in two pairs.

    Likeness is by perceptual hash, and by correlation among equal hashes. [] without the prepared images.
    """
    if sweep.prepared is None:
        return []
    ids, tested = list(sweep.groups), _tested(sweep)
    pairs: list[Pair] = []
    for bits, correlation, one, other in islice(_most_alike(looks(sweep), sweep, tested), PAIRS):
        groups = {sweep.groups[ids[one]], sweep.groups[ids[other]]}
        cell = int(np.argmax(tested[:, one] != tested[:, other]))
        test, seen = (one, other) if tested[cell, one] else (other, one)
        where = f"repeat {sweep.folds['folds'][cell]['repeat']}, fold {sweep.folds['folds'][cell]['fold']}"
        known = f"groups {' and '.join(sorted(groups))}" if _groups_known(sweep) else "groups not known"
        caption = (
            f"{ids[test]} tested, {ids[seen]} seen ({where}): "
            f"{bits} of 64 bits differ, correlation {correlation:.2f}; {known}"
        )
        test_image, seen_image = (shown.as_trained(sweep, {}, ids[each]).image for each in (test, seen))
        pictures = _thumbnail(test_image), _thumbnail(seen_image)
        pairs.append(Pair(ids[test], ids[seen], pictures, caption))
    return pairs


def _most_alike(looks: Looks, sweep: Sweep, tested: NDArray[np.bool_]) -> Iterator[tuple[int, float, int, int]]:
    """Yield bits, correlation and rows of pairs that a run divides, the most alike first, no group in two pairs.

    Each row has only its best pair with a later one in `queue`: all n x n pairs may not fit into memory.
    """
    groups, divided = _codes(list(sweep.groups.values())), _codes(tested.T)
    free = np.ones(len(groups), bool)
    queue: list[tuple[int, float, int, int]] = []

    def push(one: int) -> None:
        others = one + 1 + np.flatnonzero(free[one + 1 :] & (divided[one + 1 :] != divided[one]))
        if len(others):
            bits = np.bitwise_count(looks.hashes[others] ^ looks.hashes[one])
            others = others[bits == bits.min()]
            correlation = looks.small[others] @ looks.small[one]
            best = correlation.argmax()
            heapq.heappush(queue, (int(bits.min()), -float(correlation[best]), one, int(others[best])))

    for one in range(len(groups)):
        push(one)
    while queue:
        bits, opposite, one, other = heapq.heappop(queue)
        if free[one] and free[other]:
            free &= ~np.isin(groups, groups[[one, other]])
            yield bits, -opposite, one, other
        elif free[one]:
            push(one)


def looks(sweep: Sweep) -> Looks:
    """Return the summaries of all images of a sweep. Raises ValueError without the prepared images."""
    n = len(sweep.groups)
    found = Looks(np.empty(n, np.uint64), np.empty((n, 1024), np.float32))
    for place, name in enumerate(sweep.groups):
        pixels = shown.as_trained(sweep, {}, name).image
        found.hashes[place], found.small[place] = duplicates.phash(pixels), duplicates.small(pixels)
    return found


def consecutive(ids: Sequence[str]) -> NDArray[np.int64]:
    """Return (pairs, 2): places of ids that differ only in their last number, by 1, as slice-09 and slice-10 do.

    Each pair is there in both orders.
    """
    places = defaultdict(list)
    for place, (text, number) in enumerate(zip(*duplicates.numbered(ids), strict=True)):
        places[text, number].append(place)
    found = [
        (one, other)
        for (text, number), ones in places.items()
        if number < 2**53  # beyond it, and for NaN, number + 1 is not the next number
        for one in ones
        for other in places.get((text, number + 1), [])
    ]
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return np.concatenate([pairs, pairs[:, ::-1]])


def _checks(sweep: Sweep) -> tuple[dict[str, str], Audit]:
    """Return what each check found, in words, and all of it."""
    ids, tested = list(sweep.groups), _tested(sweep)
    groups, neighbours, tests = _codes(list(sweep.groups.values())), consecutive(ids), int(tested.sum())

    def share(related: NDArray[np.bool_]) -> str:
        found = int((related & tested).sum())
        return f"{found} of {tests} ({found / tests:.1%})"

    # Each is (cells, n): True where the image has a relative that the runs of the repeat and fold had seen.
    same_group = np.stack([np.isin(groups, groups[~test]) for test in tested])
    beside = np.zeros_like(tested)
    for related, test in zip(beside, tested, strict=True):
        related[neighbours[~test[neighbours[:, 1]], 0]] = True
    checks = {
        "an image of the same group": share(same_group) if _groups_known(sweep) else "no groups known",
        "the image before or after, by id": share(beside) if len(neighbours) else "no consecutive ids",
        "a near-duplicate": "prepared images not found",
    }
    sure = same_group
    sources = ["groups"] * _groups_known(sweep) + ["ids"] * bool(len(neighbours))
    if sweep.prepared is not None:
        hashes, small = looks(sweep)
        alike = _near(hashes, tested)
        sure, sources = sure | alike, [*sources, "pixels"]
        checks["a near-duplicate"] = share(alike)
        across = neighbours[(tested[:, neighbours[:, 0]] != tested[:, neighbours[:, 1]]).any(axis=0)]
        if len(across):
            rank = _rank(small, np.median([small[one] @ small[other] for one, other in across]))
            checks["the image before or after, by id"] += f"; such pairs are more alike than {rank:.0%} of all"
    share_of_any = int(((sure | beside) & tested).sum()) / tests
    return checks, Audit(share_of_any, bool((sure & tested).any()), tuple(sources))


def _near(hashes: NDArray[np.uint64], tested: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (cells, n): True where an image has a near-duplicate that is not tested in the repeat and fold."""
    found = np.empty_like(tested)
    for row, own in enumerate(hashes):  # row by row: an n x n array may not fit into memory
        alike = np.flatnonzero(np.bitwise_count(hashes ^ own) <= DUPLICATE)
        found[:, row] = ~tested[:, alike].all(axis=1)
    return found


def _rank(small: NDArray[np.float32], likeness: float) -> float:
    """Return the share of pairs that are less alike than `likeness`, of at most SAMPLE images; see `Looks.small`."""
    small = small[np.random.default_rng(0).permutation(len(small))[:SAMPLE]]
    less = 0
    for row in range(0, len(small), 256):
        below = small[row : row + 256] @ small[row:].T < likeness
        less += int(np.triu(below, 1).sum())  # each pair once
    return less / math.comb(len(small), 2)


def _tested(sweep: Sweep) -> NDArray[np.bool_]:
    """Return (cells, n): the images that each repeat and fold tests, in the order of `sweep.groups`."""
    return np.array([np.isin(list(sweep.groups), cell["test"]) for cell in sweep.folds["folds"]])


def _codes(values: Sequence[str] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return (n,): the same number for equal values, or for equal rows."""
    return np.unique(values, axis=0, return_inverse=True)[1].reshape(-1)


def _groups_known(sweep: Sweep) -> bool:
    return len(set(sweep.groups.values())) < len(sweep.groups)


def _thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = pillow.picture(pixels).convert("RGB")
    picture.thumbnail((256, 256))
    return np.asarray(picture)
