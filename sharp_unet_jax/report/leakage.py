"""The audit of folds: test images that resemble images their run had seen, in training or to decide on stopping.

It looks for three kinds of relatives: images of the same group; images with consecutive ids, as slices of a stack or
frames of a video have; near-duplicates by perceptual hash. What ids, groups and pixels do not show stays unknown.
"""

from collections.abc import Sequence
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


class Pair(NamedTuple):
    """A test image, and one like it that the runs of its fold had seen."""

    test: str  # ids
    seen: str
    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]  # (h, w, 3) each
    caption: str  # says how alike they are


def table(sweeps: Sequence[Sweep]) -> Table:
    """Return "audit": a row per check, a column per sweep: how many test images had a relative that their run saw."""
    columns, shares = {}, []
    for label, sweep in zip(labels(sweeps), sweeps, strict=True):
        columns[label], share = _checks(sweep)
        shares.append(share)
    return Table(
        "audit",
        "Audit of folds: test images with a relative among the images their run had seen",
        describe(sweeps),
        pd.DataFrame(columns).rename_axis("test images whose run had seen").reset_index(),
        "A test image is counted in every repeat. All other images of a run are seen: trained on, or used to "
        "decide on stopping and weights. Ids are consecutive if they differ only in their last number, by 1. Their "
        "likeness (median correlation at 32x32) shows whether they are neighbours in a stack or video: neighbours are "
        "more alike than nearly all pairs, unrelated images more than about 50 % of them. Near-duplicates differ in at "
        f"most {DUPLICATE} of the 64 bits of a perceptual hash (pHash). In four public data sets this holds for 2 in "
        "100,000 pairs of unrelated images. It holds for at least 92 % of copies that were compressed, shrunk, blurred "
        "or relit, but for 41 % of copies with 2 % cut off each side and 23 % of those rotated by 3 degrees "
        "(bench/near_duplicates.py), so the number is a lower bound. Where no groups are known, no image can be said "
        "to be independent of another.",
        _says(shares),
    )


def _says(shares: Sequence[float]) -> str:
    """Return in one sentence how many test images have a relative, of the share of each sweep."""
    if not max(shares):
        return "No test image has such a relative, as far as ids, groups and pixels tell."
    most = f"{'Up to ' if len(shares) > 1 else ''}{max(shares):.1%} of test images have such a relative"
    return f"{most}: scores are too good for new patients or slides."


def most_alike(sweep: Sweep) -> list[Pair]:
    """Return the PAIRS most alike pairs of a test image and one that its run had seen, no group in two pairs.

    Likeness is by perceptual hash, and by correlation among equal hashes. [] without the prepared images.
    """
    if sweep.prepared is None:
        return []
    images, masks, row = sweep.prepared
    ids, tested = list(sweep.groups), _tested(sweep)
    bits, correlation = likeness(sweep)
    ones, others = np.nonzero(np.triu(_apart(tested)))
    pairs: list[Pair] = []
    taken: set[str] = set()
    for index in np.lexsort((-correlation[ones, others], bits[ones, others])):
        one, other = int(ones[index]), int(others[index])
        groups = {sweep.groups[ids[one]], sweep.groups[ids[other]]}
        if groups & taken:
            continue
        taken |= groups
        cell = int(np.argmax(tested[:, one] != tested[:, other]))
        test, seen = (one, other) if tested[cell, one] else (other, one)
        where = f"repeat {sweep.folds['folds'][cell]['repeat']}, fold {sweep.folds['folds'][cell]['fold']}"
        known = f"groups {' and '.join(sorted(groups))}" if _groups_known(sweep) else "groups not known"
        caption = (
            f"{ids[test]} tested, {ids[seen]} seen ({where}): "
            f"{bits[one, other]} of 64 bits differ, correlation {correlation[one, other]:.2f}; {known}"
        )
        test_image, seen_image = (
            images[row[ids[each]]][shown.inside(images[row[ids[each]]], masks[row[ids[each]]])] for each in (test, seen)
        )
        pictures = _thumbnail(test_image), _thumbnail(seen_image)
        pairs.append(Pair(ids[test], ids[seen], pictures, caption))
        if len(pairs) == PAIRS:
            break
    return pairs


def likeness(sweep: Sweep) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return, for every two images, how their perceptual hashes differ and how their grey values correlate.

    Letterbox padding is cut off first.

    Returns:
        bits: (n, n), of 64, in the order of `sweep.groups`.
        correlation: (n, n), at 32x32.

    Raises:
        ValueError: without the prepared images.
    """
    if sweep.prepared is None:
        raise ValueError(f"the prepared images of {sweep.workdir} are not there")
    images, masks, row = sweep.prepared
    hashes, small = [], []
    for name in sweep.groups:
        image = images[row[name]]
        pixels = image[shown.inside(image, masks[row[name]])]
        hashes.append(duplicates.phash(pixels))
        small.append(duplicates.small(pixels))
    bits = np.bitwise_count(np.bitwise_xor.outer(hashes, hashes))
    return bits, np.stack(small) @ np.stack(small).T


def consecutive(ids: Sequence[str]) -> NDArray[np.bool_]:
    """Return (n, n): True where two ids differ only in their last number, by 1, as slice-09 and slice-10 do."""
    text, number = duplicates.numbered(ids)
    return (text[:, None] == text) & (np.abs(number[:, None] - number) == 1)


def relatives(related: NDArray[np.bool_], tested: NDArray[np.bool_]) -> int:
    """Return how many tested images are related to one that is not tested with them, counted in every cell.

    Args:
        related: (n, n).
        tested: (cells, n), a cell per repeat and fold.
    """
    return sum(int(related[np.ix_(test, ~test)].any(axis=1).sum()) for test in tested)


def _checks(sweep: Sweep) -> tuple[dict[str, str], float]:
    """Return what each check found, and the share of test images with any relative."""
    ids, tested = list(sweep.groups), _tested(sweep)
    groups = np.array([sweep.groups[name] for name in ids])
    neighbours = consecutive(ids)

    same_group = groups[:, None] == groups
    related, tests = neighbours | same_group, int(tested.sum())

    def share(related: NDArray[np.bool_]) -> str:
        found = relatives(related, tested)
        return f"{found} of {tests} ({found / tests:.1%})"

    checks = {
        "an image of the same group": share(same_group) if _groups_known(sweep) else "no groups known",
        "the image before or after, by id": share(neighbours) if neighbours.any() else "no consecutive ids",
        "a near-duplicate": "prepared images not found",
    }
    if sweep.prepared is not None:
        bits, correlation = likeness(sweep)
        related |= bits <= DUPLICATE
        checks["a near-duplicate"] = share(bits <= DUPLICATE)
        across = neighbours & _apart(tested)
        if across.any():
            rank = np.mean(correlation[~np.eye(len(ids), dtype=bool)] < np.median(correlation[across]))
            checks["the image before or after, by id"] += f"; such pairs are more alike than {rank:.0%} of all"
    return checks, relatives(related, tested) / tests


def _tested(sweep: Sweep) -> NDArray[np.bool_]:
    """Return (cells, n): the images that each repeat and fold tests, in the order of `sweep.groups`."""
    return np.array([np.isin(list(sweep.groups), cell["test"]) for cell in sweep.folds["folds"]])


def _apart(tested: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (n, n): True where some run tests only one of two images, so that the other is seen for it."""
    together = tested.T.astype(np.float32) @ tested.astype(np.float32)
    times = tested.sum(axis=0)
    return together < np.maximum.outer(times, times)


def _groups_known(sweep: Sweep) -> bool:
    return len(set(sweep.groups.values())) < len(sweep.groups)


def _thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = pillow.picture(pixels).convert("RGB")
    picture.thumbnail((256, 256))
    return np.asarray(picture)
