"""Properties of all splits, for any ids and groups, and two splits that may never change."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from sharp_unet_jax.data import folds

# First frames of the 29 sequences of CVC-ClinicDB, and the frame after the last.
STARTS = [
    *(1, 26, 51, 68, 79, 104, 127, 152, 178, 200, 206, 228, 253, 278, 298, 318, 343, 364, 384, 409, 429, 448, 467),
    *(479, 504, 529, 547, 572, 592, 613),
]
CVC = [f"sequence{i}" for i, size in enumerate(np.diff(STARTS), 1) for _ in range(size)]

names = st.lists(st.text("abcdef0123/", min_size=1, max_size=4), min_size=2, max_size=40, unique=True)
labels = st.lists(st.sampled_from("abcdefghijkl"), min_size=2, max_size=60)
seeds = st.integers(-5, 2**40)


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def assert_partition(parts, n: int) -> None:
    assert all(part.dtype == np.int64 and np.all(np.diff(part) > 0) for part in parts)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))


@given(names, st.integers(2, 7), seeds)
def test_folds_are_equal_parts_whatever_the_listing_order(ids, k, seed):
    assume(len(ids) >= k)
    parts = folds.k_folds(ids, k, seed=seed, repeat=3)
    assert len(parts) == k
    assert_partition(parts, len(ids))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    backwards = folds.k_folds(ids[::-1], k, seed=seed, repeat=3)
    assert [{ids[i] for i in part} for part in parts] == [{ids[::-1][i] for i in part} for part in backwards]


@given(labels, st.integers(2, 7), seeds)
def test_groups_stay_whole_and_parts_are_balanced(groups, k, seed):
    sizes = Counter(groups)
    assume(len(sizes) >= k)
    parts = folds.grouped_folds(groups, k, seed=seed, repeat=1)
    assert len(parts) == k
    assert_partition(parts, len(groups))
    held = [{groups[i] for i in part} for part in parts]
    assert sum(map(len, held)) == len(sizes)
    assert all(held)
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= max(sizes.values())
    backwards = folds.grouped_folds(groups[::-1], k, seed=seed, repeat=1)
    assert held == [{groups[::-1][i] for i in part} for part in backwards]


def test_parts_of_cvc_sequences_are_even_and_differ_in_every_repeat():
    splits = [folds.grouped_folds(CVC, 5, seed=0, repeat=r) for r in range(50)]
    spread = [max(map(len, parts)) - min(map(len, parts)) for parts in splits]
    assert np.mean(spread) < 12  # of 122; the exact order of sizes gives 15, a random order 18
    assert len({frozenset(frozenset(part.tolist()) for part in parts) for parts in splits}) == 50


def test_repeats_differ_although_all_groups_are_of_distinct_sizes():
    groups = [f"g{i}" for i in range(20) for _ in range(10 + 3 * i)]
    splits = [folds.grouped_folds(groups, 5, seed=0, repeat=r) for r in range(10)]
    assert len({frozenset(frozenset(part.tolist()) for part in parts) for parts in splits}) == 10
    assert all(max(map(len, parts)) - min(map(len, parts)) < 25 for parts in splits)  # of 154


def test_repeats_and_seeds_differ_and_calls_do_not():
    ids = [f"image{i:03}" for i in range(30)]
    once = folds.k_folds(ids, 5, seed=0, repeat=0)
    assert same(once, folds.k_folds(ids, 5, seed=0, repeat=0))
    assert not same(once, folds.k_folds(ids, 5, seed=0, repeat=1))
    assert not same(once, folds.k_folds(ids, 5, seed=1, repeat=0))


@given(names, st.integers(2, 4), seeds, st.booleans(), st.sampled_from([0.1, 0.2, 0.5]), st.data())
def test_nested_plan(ids, k, seed, grouped, fraction, data):
    groups = data.draw(st.lists(st.sampled_from("abcdefghijkl"), min_size=len(ids), max_size=len(ids)))
    assume(len(ids) > 2 * k)
    if grouped:
        assume(len(set(groups)) >= k)
        parts = [part for r in range(2) for part in folds.grouped_folds(groups, k, seed=seed, repeat=r)]
        assume(all(len(set(np.delete(groups, part))) >= 2 for part in parts))  # two groups at least can be divided
    plan = folds.plan(
        ids, groups, folds=k, repeats=2, grouped=grouped, protocol="nested", validation=fraction, seed=seed
    )
    assert set(plan) == {(r, f) for r in range(2) for f in range(k)}
    for split in plan.values():
        assert_partition(split, len(ids))
        assert all(len(part) for part in split)
        left = len(split.train) + len(split.validation)
        if grouped:
            held = [{groups[i] for i in part} for part in split]
            assert sum(map(len, held)) == len(set(groups))
            largest = max(Counter(groups).values())
            assert abs(len(split.validation) - fraction * left) <= largest
        else:
            assert abs(len(split.validation) - fraction * left) <= 1
    for r in range(2):
        assert_partition([np.sort(np.concatenate([plan[r, f].test for f in range(k)]))], len(ids))
    order = np.random.default_rng(0).permutation(len(ids))
    mixed = folds.plan(
        [ids[i] for i in order],
        [groups[i] for i in order],
        folds=k,
        repeats=2,
        grouped=grouped,
        protocol="nested",
        validation=fraction,
        seed=seed,
    )
    for run, split in plan.items():
        for part, other in zip(split, mixed[run], strict=True):
            np.testing.assert_array_equal(part, np.sort(order[other]))


@pytest.mark.parametrize("grouped", [False, True])
def test_paper_plan_decides_on_the_test_part(grouped):
    ids = [f"{i}" for i in range(612)]
    plan = folds.plan(ids, CVC, folds=5, repeats=2, grouped=grouped, protocol="paper", seed=7)
    nested = folds.plan(ids, CVC, folds=5, repeats=2, grouped=grouped, protocol="nested", seed=7)
    for run, split in plan.items():
        np.testing.assert_array_equal(split.validation, split.test)
        np.testing.assert_array_equal(split.test, nested[run].test)  # both protocols have the same test parts
        assert_partition([split.train, split.test], 612)
    shares = [len(split.validation) / (612 - len(split.test)) for split in nested.values()]
    np.testing.assert_allclose(shares, 0.2, atol=0.04 if grouped else 0.002)
    inner = {tuple(split.validation) for split in nested.values()}
    assert len(inner) == 10


def test_validation_takes_the_smallest_group_where_all_are_too_large():
    groups = ["a"] * 10 + ["b"] * 6 + ["c"] * 8 + ["d"] * 9
    plan = folds.plan(
        [str(i) for i in range(33)],
        groups,
        folds=4,
        repeats=1,
        grouped=True,
        protocol="nested",
        validation=0.01,
        seed=0,
    )
    for split in plan.values():
        held = {groups[i] for i in split.validation}
        assert held == ({"c"} if groups[split.test[0]] == "b" else {"b"})


def test_frozen_splits():
    """If this fails, all recorded splits have changed: fix the code, do not update the numbers."""
    ids = [f"image{i:02}" for i in range(12)]
    groups = [f"group{i // 2}" for i in range(12)]
    plain = folds.plan(ids, groups, folds=3, repeats=2, grouped=False, protocol="nested", seed=42)
    whole = folds.plan(ids, groups, folds=3, repeats=2, grouped=True, protocol="nested", seed=42)
    assert [part.tolist() for part in plain[1, 2]] == FROZEN[0]
    assert [part.tolist() for part in whole[0, 1]] == FROZEN[1]


FROZEN = [[[0, 2, 5, 6, 8, 11], [1, 10], [3, 4, 7, 9]], [[2, 3, 4, 5, 6, 7], [10, 11], [0, 1, 8, 9]]]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"folds": 1}, "at least 2 folds, got 1"),
        ({"folds": 7}, "6 images cannot fill 7 folds: ask for fewer folds or bring more images"),
        ({"folds": 4, "grouped": True}, "3 groups cannot fill 4 folds: ask for fewer folds or bring more groups"),
        ({"ids": list("abcdea")}, "'a' is there more than once"),
        ({"groups": list("ab")}, "6 ids but 2 groups"),
        ({"protocol": "honest"}, "got 'honest'"),
        ({"validation": 1.0}, "between 0 and 1, got 1.0"),
        ({"repeats": 0}, "at least 1, got 0"),
        (
            {"groups": list("aaabbb"), "grouped": True, "protocol": "nested"},
            "repeat 0, fold 0: 0 images left to train on and 3 to validate on",
        ),
        (
            {"ids": list("ab"), "groups": list("ab"), "protocol": "nested"},
            "0 images left to train on and 1 to validate on",
        ),
    ],
)
def test_errors_are_one_clear_line(changes, line):
    arguments = {"ids": list("abcdef"), "groups": list("aabbcc"), "folds": 2, "repeats": 1, "grouped": False}
    arguments |= {"protocol": "paper", "seed": 0} | changes
    with pytest.raises(ValueError, match=line) as error:
        folds.plan(**arguments)
    assert "\n" not in str(error.value)


def test_k_folds_refuses_repeated_ids():
    with pytest.raises(ValueError, match="'a' is there more than once"):
        folds.k_folds(list("abca"), 2, seed=0, repeat=0)


@given(st.integers(2, 700), st.sampled_from([0, 42]))
def test_the_authors_split_is_that_of_scikit_learn(n, random_state):
    ids = [f"{number:03}" for number in range(1, n + 1)]  # of CVC-ClinicDB, whose files are 1.tif, 2.tif, ...
    files = sorted(f"{number}.tif" for number in range(1, n + 1))
    _, tested = train_test_split(files, test_size=0.2, random_state=random_state)
    found = folds.authors(ids, random_state=random_state)
    assert [f"{int(ids[index])}.tif" for index in found] == tested


def test_the_authors_split_sorts_file_names():
    """A suffix counts: `a-1.tif` is before `a.tif`, and `a.tif` before `a1.tif` and `a_1.tif`."""
    ids = ["a_1", "b", "a", "a-1", "a1", "slice-01", "slice-00"]
    files = sorted(f"{name}.tif" for name in ids)
    _, tested = train_test_split(files, test_size=0.2, random_state=42)
    assert [f"{ids[index]}.tif" for index in folds.authors(ids, random_state=42)] == tested


def test_given_test_images_keep_their_order_and_the_rest_trains():
    tests = {(0, 0): np.array([4, 1]), (1, 0): np.array([4, 1])}
    options = {"folds": 1, "repeats": 2, "grouped": False, "seed": 0, "tests": tests}
    plan = folds.plan(list("abcdefgh"), list("aabbccdd"), protocol="paper", **options)
    assert list(plan) == [(0, 0), (1, 0)]
    for split in plan.values():
        assert split.validation is split.test
        np.testing.assert_array_equal(split.test, [4, 1])
        np.testing.assert_array_equal(split.train, [0, 2, 3, 5, 6, 7])
    nested = folds.plan(list("abcdefgh"), list("aabbccdd"), protocol="nested", **options)
    for split in nested.values():
        np.testing.assert_array_equal(split.test, [4, 1])
        assert len(split.validation) == 1
        np.testing.assert_array_equal(np.sort(np.concatenate(split)), np.arange(8))


@pytest.mark.parametrize(
    ("test", "grouped", "line"),
    [
        ([0, 2, 3], True, "repeat 0, fold 0 tests 1 of the 2 images of group a: keep each group in one fold"),
        (range(8), False, "repeat 0, fold 0: 0 images left to train on and 8 to validate on"),
    ],
)
def test_given_test_images_that_cannot_be_used(test, grouped, line):
    with pytest.raises(ValueError, match=line) as error:
        folds.plan(
            list("abcdefgh"),
            list("aabbccdd"),
            folds=1,
            repeats=1,
            grouped=grouped,
            protocol="paper",
            seed=0,
            tests={(0, 0): np.array(test)},
        )
    assert "\n" not in str(error.value)
