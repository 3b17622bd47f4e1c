"""Folds: the images that train, validate and test in each run, as pure functions of ids, groups and a seed.

The order of images comes from SHA-256 of seed, repeat and id, not from a random generator. A split is therefore the
same on every machine, with every NumPy, and for every order of the images. The exception is `authors`, whose generator
NumPy has frozen.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

Protocol = Literal["paper", "nested"]


class Split(NamedTuple):
    """Int64 indices into the list of ids; sorted, except for the test images of `authors`."""

    train: np.ndarray
    validation: np.ndarray
    """Images that decide on epochs and learning rates. The paper's protocol takes the test images."""
    test: np.ndarray


def plan(
    ids: Sequence[str],
    groups: Sequence[str],
    *,
    folds: int,
    repeats: int,
    grouped: bool,
    protocol: Protocol,
    validation: float = 0.2,
    seed: int,
    tests: Mapping[tuple[int, int], np.ndarray] | None = None,
) -> dict[tuple[int, int], Split]:
    """Split a data set for every (repeat, fold), both counted from 0.

    Args:
        ids: names of the images, each once.
        groups: each image's group; used only if `grouped`.
        folds: number of parts; each is the test part once in a repeat.
        repeats: number of independent divisions.
        grouped: no group has images in two of train, validation and test.
        protocol: "paper" validates on the test part. "nested" validates on a part of the training images, drawn for
            each (seed, repeat, fold).
        validation: under "nested", the fraction of the training images; with groups, as close as they allow.
        seed: any integer.
        tests: the test images of every (repeat, fold), where these are given and not drawn.

    Raises:
        ValueError: for repeated ids, fewer images or groups than folds, fewer than 2 folds, an unknown protocol, a
            split that would leave a part empty, or a group that given `tests` divide although `grouped`.

    >>> from sharp_unet_jax.data import folds
    >>> patients = ["a", "a", "b", "b", "c", "c"]
    >>> splits = folds.plan(
    ...     ["1", "2", "3", "4", "5", "6"], patients, folds=3, repeats=2, grouped=True, protocol="paper", seed=0
    ... )
    >>> len(splits)
    6
    >>> sorted({patients[i] for i in splits[0, 0].train} & {patients[i] for i in splits[0, 0].test})
    []
    """
    if protocol not in get_args(Protocol):
        raise ValueError(f'protocol must be "paper" or "nested", got {protocol!r}')
    if len(groups) != len(ids):
        raise ValueError(f"{len(ids)} ids but {len(groups)} groups: every image needs one")
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    if not 0 < validation < 1:
        raise ValueError(f"validation must be a fraction between 0 and 1, got {validation}")
    _check_unique(ids)
    if tests is None:
        tests = _drawn(groups if grouped else ids, folds, repeats, grouped, seed)
    elif grouped:
        _check_whole(groups, tests)
    names = groups if grouped else ids
    splits = {}
    for (repeat, fold), test in tests.items():
        train = np.setdiff1d(np.arange(len(ids)), test)
        inner = test
        if protocol == "nested":
            inner = train[portion([names[i] for i in train], validation, f"{seed}/{repeat}/{fold}/validation")]
            train = np.setdiff1d(train, inner)
        if not len(train) or not len(inner):
            raise ValueError(
                f"repeat {repeat}, fold {fold}: {len(train)} images left to train on and {len(inner)} to validate on: "
                f"{protocol} needs both, so use more images or groups, or another validation fraction"
            )
        splits[repeat, fold] = Split(train, inner, test)
    return splits


def authors(ids: Sequence[str], *, random_state: int) -> np.ndarray:
    """Return the test images of the one split that the paper's code trains on: ceil(n / 5) of n images.

    It is scikit-learn's `train_test_split(images, test_size=0.2, random_state=random_state)`, of images in the order of
    their file names as text: 1.tif, 10.tif, 2.tif. The test images are in that function's order, by which they come in
    batches. The paper's code has random_state 42, and 0 for several classes.

    Args:
        ids: file names without suffix, each once; zeros before a number are not part of the name.
        random_state: seed of NumPy's RandomState.

    Returns:
        Int64 indices into `ids`, (ceil(n / 5),).

    >>> from sharp_unet_jax.data import folds
    >>> folds.authors(["1", "2", "3", "10"], random_state=42)  # in the order 1, 10, 2, 3
    array([3])
    """
    # The dot of a suffix sorts before letters, digits and "_", but after "-" and " ".
    names = [f"{int(name) if name.isdecimal() else name}." for name in ids]
    order = np.array(sorted(range(len(ids)), key=names.__getitem__), np.int64)
    return order[np.random.RandomState(random_state).permutation(len(ids))[: math.ceil(0.2 * len(ids))]]


def k_folds(ids: Sequence[str], k: int, *, seed: int, repeat: int) -> list[np.ndarray]:
    """Divide images at random into k parts whose sizes differ by at most one.

    Returns:
        k disjoint arrays of sorted int64 indices that hold all images together.

    Raises:
        ValueError: for k < 2, fewer images than k, or repeated ids.
    """
    _check_enough(len(ids), k, "images")
    _check_unique(ids)
    order = sorted(range(len(ids)), key=lambda i: _digest(f"{seed}/{repeat}/{ids[i]}"))
    return [np.sort(np.array(order[fold::k], np.int64)) for fold in range(k)]


def grouped_folds(groups: Sequence[str], k: int, *, seed: int, repeat: int) -> list[np.ndarray]:
    """Divide images into k parts of about equal size without splitting a group.

    Each group joins the part that is smallest so far, so that two parts differ by at most the largest group's size.
    Groups are taken in the order of their sizes, each multiplied by a random factor between 1 and 2. Without the
    factors, groups of distinct sizes would form the same parts in every repeat. On sequences like CVC-ClinicDB's the
    parts are as even with the factors.

    Args:
        groups: each image's group.
        k: number of parts.
        seed: any integer.
        repeat: number of the division.

    Returns:
        k disjoint arrays of sorted int64 indices that hold all images together; none is empty.

    Raises:
        ValueError: for k < 2 or fewer groups than k.
    """
    sizes = Counter(groups)
    _check_enough(len(sizes), k, "groups")
    # size * (1 + digest / 2**256), in whole numbers
    weight = {group: size * (2**256 + _digest(f"{seed}/{repeat}/{group}")) for group, size in sizes.items()}
    filled = [0] * k
    part = {}
    for group in sorted(sizes, key=lambda group: -weight[group]):
        part[group] = filled.index(min(filled))
        filled[part[group]] += sizes[group]
    parts = np.array([part[group] for group in groups])
    return [np.flatnonzero(parts == fold).astype(np.int64) for fold in range(k)]


def portion(names: Sequence[str], fraction: float, prefix: str) -> np.ndarray:
    """Choose about `fraction` of the names (n,), and at least one; equal names stay together.

    The choice depends on the names and on the text `prefix`, such as a seed.

    Returns:
        Sorted positions of the chosen names, (m,) int64.
    """
    sizes = Counter(names)
    order = sorted(sizes, key=lambda name: _digest(f"{prefix}/{name}"))
    target = fraction * len(names)
    chosen: set[str] = set()
    filled = 0
    for name in order:
        if abs(filled + sizes[name] - target) < abs(filled - target):
            chosen.add(name)
            filled += sizes[name]
    if not chosen:  # every group is at least twice the target
        chosen.add(min(order, key=sizes.__getitem__))
    return np.flatnonzero([name in chosen for name in names])


def _drawn(
    names: Sequence[str], folds: int, repeats: int, grouped: bool, seed: int
) -> dict[tuple[int, int], np.ndarray]:
    """Return the test images of every (repeat, fold); `names` are the ids, or the groups if `grouped`."""
    draw = grouped_folds if grouped else k_folds
    return {
        (repeat, fold): test
        for repeat in range(repeats)
        for fold, test in enumerate(draw(names, folds, seed=seed, repeat=repeat))
    }


def _check_whole(groups: Sequence[str], tests: Mapping[tuple[int, int], np.ndarray]) -> None:
    """Raise ValueError for a group of which a fold tests some images and trains on others."""
    sizes = Counter(groups)
    for (repeat, fold), test in tests.items():
        for group, images in Counter(groups[i] for i in test).items():
            if images < sizes[group]:
                raise ValueError(
                    f"repeat {repeat}, fold {fold} tests {images} of the {sizes[group]} images of group {group}: keep "
                    "each group in one fold, or set grouped=false"
                )


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")


def _check_enough(n: int, k: int, noun: str) -> None:
    if k < 2:
        raise ValueError(f"cross-validation needs at least 2 folds, got {k}")
    if n < k:
        raise ValueError(f"{n} {noun} cannot fill {k} folds: ask for fewer folds or bring more {noun}")


def _check_unique(ids: Sequence[str]) -> None:
    repeated = [name for name, times in Counter(ids).items() if times > 1]
    if repeated:
        raise ValueError(f"ids must differ: {repeated[0]!r} is there more than once ({len(repeated)} such ids)")
