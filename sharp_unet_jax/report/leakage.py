"""How much the test images of the folds resemble what their runs had seen, in training or to decide on stopping.

Three kinds of relatives: images of one group, images whose ids follow one another, as slices of a stack and frames of a
video do, and near-duplicates by perceptual hash. What is not in ids, groups or pixels stays unknown.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sharp_unet_jax.data import duplicates as alike
from sharp_unet_jax.data.duplicates import DUPLICATE
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.report.provenance import labels, passport
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table


class Pair(NamedTuple):
    """A test image, and one like it that a run of the same fold had seen."""

    test: str  # ids
    seen: str
    distance: int  # bits of 64 in which their perceptual hashes differ
    correlation: float  # of their grey values at 32x32
    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]  # (h, w, 3) each
    caption: str


def table(sweeps: Sequence[Sweep]) -> Table:
    """A row a check, a column a sweep: how many of the images tested had a relative among those their run had seen."""
    columns = {label: _checks(sweep) for label, sweep in zip(labels(sweeps), sweeps, strict=True)}
    return Table(
        "audit",
        "Test images with relatives among the images their run had seen",
        passport(sweeps),
        pd.DataFrame(columns).rename_axis("tested images whose run had seen").reset_index(),
        "Every image is tested once a repeat, and counted each time; all other images are seen: trained on, or used to "
        "decide on stopping and weights. Ids are consecutive if they differ by 1 in their last number alone. Whether "
        "that makes them neighbours in a stack or video, their likeness tells (correlation at 32x32, median): "
        "neighbours are more alike than nearly all pairs, strangers than about 50 % of them. Near-duplicates differ in "
        f"at most {DUPLICATE} of the 64 bits of a perceptual hash (pHash). In four public data sets 2 in 100,000 pairs "
        "of unrelated images do, and 92 % or more of copies that were compressed, shrunk, blurred or relit, but 41 % "
        "of those with 2 % cut off each side and 23 % of those turned by 3 degrees (bench/near_duplicates.py): their "
        "number is a lower bound. Where no groups are known, no image can be said to be independent of another.",
    )


def worst(sweep: Sweep, number: int = 8) -> list[Pair]:
    """The most alike pairs of a test image and one its run had seen, no group in two pairs.

    Alike by perceptual hash, among equals by correlation. Empty where the prepared images are not there.
    """
    if sweep.prepared is None:
        return []
    images, _, row = sweep.prepared
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
        distance = int(bits[one, other])
        where = f"repeat {sweep.folds['folds'][cell]['repeat']}, fold {sweep.folds['folds'][cell]['fold']}"
        known = f"groups {' and '.join(sorted(groups))}" if _groups_known(sweep) else "groups not known"
        correlated = float(correlation[one, other])
        caption = (
            f"{ids[test]} tested, {ids[seen]} seen ({where}): "
            f"{distance} of 64 bits differ, correlation {correlated:.2f}; {known}"
        )
        pictures = _thumbnail(images[row[ids[test]]]), _thumbnail(images[row[ids[seen]]])
        pairs.append(Pair(ids[test], ids[seen], distance, correlated, pictures, caption))
        if len(pairs) == number:
            break
    return pairs


def gallery(pairs: Sequence[Pair]) -> Figure | None:
    """Pairs that `worst` gave, the test image above the one that was seen; None for no pairs."""
    if not pairs:
        return None
    height, width = pairs[0].images[0].shape[:2]
    figure = Figure(figsize=(2 * len(pairs), 4 * height / width + 0.9), layout="constrained")
    for column, pair in zip(figure.subplots(2, len(pairs), squeeze=False).T, pairs, strict=True):
        for axes, image, name in zip(column, pair.images, (f"tested: {pair.test}", f"seen: {pair.seen}"), strict=True):
            axes.imshow(image)
            axes.set_title(name if len(name) <= 26 else f"{name[:16]}…{name[-9:]}", fontsize=8)
            axes.set(xticks=(), yticks=())
            axes.spines[:].set_visible(False)
        column[1].set_xlabel(f"{pair.distance} of 64 bits differ\ncorrelation {pair.correlation:.2f}", fontsize=8)
    return figure


def likeness(sweep: Sweep) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Of every two images, in the order of `sweep.groups`: the bits of 64 in which their perceptual hashes differ, and
    the correlation of their grey values at 32x32; both (n, n). Letterbox padding is cut off first."""
    if sweep.prepared is None:
        raise ValueError(f"the prepared images of {sweep.workdir} are not there")
    images, masks, row = sweep.prepared
    hashes, small = [], []
    for name in sweep.groups:
        scored = masks[row[name]] != IGNORE
        pixels = images[row[name]][scored.any(axis=1)][:, scored.any(axis=0)]
        hashes.append(alike.phash(pixels))
        small.append(alike.small(pixels))
    bits = np.bitwise_count(np.bitwise_xor.outer(hashes, hashes))
    return bits, np.stack(small) @ np.stack(small).T


def consecutive(ids: Sequence[str]) -> NDArray[np.bool_]:
    """(n, n): whether two ids differ by 1 in their last number alone, as slice-09 and slice-10 do."""
    text, number = alike.numbered(ids)
    return (text[:, None] == text) & (np.abs(number[:, None] - number) == 1)


def relatives(related: NDArray[np.bool_], tested: NDArray[np.bool_]) -> int:
    """How many images, each counted in every cell it is tested in, are related to one that is not tested there.

    `related` is (n, n), `tested` (cells, n).
    """
    return sum(int(related[np.ix_(test, ~test)].any(axis=1).sum()) for test in tested)


def _checks(sweep: Sweep) -> dict[str, str]:
    ids, tested = list(sweep.groups), _tested(sweep)
    groups = np.array([sweep.groups[name] for name in ids])
    neighbours = consecutive(ids)

    def share(related: NDArray[np.bool_]) -> str:
        found, tests = relatives(related, tested), int(tested.sum())
        return f"{found} of {tests} ({found / tests:.1%})"

    checks = {
        "an image of the same group": share(groups[:, None] == groups) if _groups_known(sweep) else "no groups known",
        "the image before or after, by id": share(neighbours) if neighbours.any() else "no consecutive ids",
        "a near-duplicate": "prepared images not there",
    }
    if sweep.prepared is not None:
        bits, correlation = likeness(sweep)
        checks["a near-duplicate"] = share(bits <= DUPLICATE)
        across = neighbours & _apart(tested)
        if across.any():
            rank = np.mean(correlation[~np.eye(len(ids), dtype=bool)] < np.median(correlation[across]))
            checks["the image before or after, by id"] += f"; such pairs are more alike than {rank:.0%} of all"
    return checks


def _tested(sweep: Sweep) -> NDArray[np.bool_]:
    """(cells, n): the images that each repeat and fold tests, in the order of `sweep.groups`."""
    return np.array([np.isin(list(sweep.groups), cell["test"]) for cell in sweep.folds["folds"]])


def _apart(tested: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, n): whether two images are not tested together in some repeat, so that one is seen when the other is not."""
    together = tested.T.astype(np.float32) @ tested.astype(np.float32)
    return together < tested.sum(axis=0)


def _groups_known(sweep: Sweep) -> bool:
    return len(set(sweep.groups.values())) < len(sweep.groups)


def _thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = alike.picture(pixels).convert("RGB")
    picture.thumbnail((256, 256))
    return np.asarray(picture)
