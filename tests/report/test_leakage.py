"""The audit of folds, on images whose relatives are known by construction and on real frames of videos."""

import csv
import dataclasses
import itertools
import re
import tracemalloc
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from sharp_unet_jax.data import duplicates, folds
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.report import leakage
from sharp_unet_jax.report.records import Sweep
from tests.report import synthetic

CHECKS = ("an image of the same group", "the image before or after, by id", "a near-duplicate")


def pictures(n, size=(40, 48), channels=3, seed=0):
    """Return smooth images that have nothing in common."""
    raw = np.random.default_rng(seed).normal(size=(n, *size, channels))
    smooth = ndimage.gaussian_filter(raw, (0, 4, 4, 0))
    return np.uint8(np.clip(128 + 400 * smooth, 0, 255))


def data(n=12, groups=None, ids=None, **options):
    ids = ids or tuple(f"{chr(97 + i)}" for i in range(n))
    images = pictures(n, **options)
    masks = np.ones(images.shape[:3], np.uint8)
    return Dataset("synthetic", images, masks, ids, groups or ids, ("background", "lesion"))


def checked(*sweeps):
    table = leakage.table(sweeps)
    assert tuple(table.frame.iloc[:, 0]) == CHECKS
    return table.frame.set_index(table.frame.columns[0])


def by_hand(sweep, related):
    """Return how many tested images, over all cells, are related to one that is not tested with them."""
    found = 0
    for cell in sweep.folds["folds"]:
        seen = set(sweep.groups) - set(cell["test"])
        found += sum(any(related(image, other) for other in seen) for image in cell["test"])
    return found


def likeness(sweep):
    """Return bits and correlation of every two images, (n, n) each."""
    hashes, small = leakage.looks(sweep)
    return np.bitwise_count(np.bitwise_xor.outer(hashes, hashes)), small @ small.T


def of_matrices(sweep, number):
    """Return the counts of each check, their union, the rank of neighbours and the best pairs, by (n, n) arrays."""
    ids, (bits, correlation) = list(sweep.groups), likeness(sweep)
    tested = np.array([np.isin(ids, cell["test"]) for cell in sweep.folds["folds"]])
    groups = np.array(list(sweep.groups.values()))
    text, at = duplicates.numbered(ids)
    neighbours = (text[:, None] == text) & (abs(at[:, None] - at) == 1)
    apart = (tested[:, :, None] != tested[:, None]).any(axis=0)
    checks = [groups[:, None] == groups, neighbours, bits <= leakage.DUPLICATE]
    checks.append(np.logical_or.reduce(checks))
    counts = [sum(int(each[np.ix_(test, ~test)].any(axis=1).sum()) for test in tested) for each in checks]
    others = correlation[~np.eye(len(ids), dtype=bool)]
    rank = np.mean(others < np.median(correlation[neighbours & apart]))
    pairs, taken = [], set()
    ones, twos = np.nonzero(np.triu(apart))
    for index in np.lexsort((-correlation[ones, twos], bits[ones, twos])):
        own = {groups[ones[index]], groups[twos[index]]}
        if not own & taken and len(pairs) < number:
            taken |= own
            pairs.append((frozenset({ids[ones[index]], ids[twos[index]]}), int(bits[ones[index], twos[index]])))
    return counts, rank, pairs


def test_groups_are_counted_and_grouped_folds_have_none(tmp_path):
    dataset = data(groups=tuple(f"patient-{i // 3}" for i in range(12)))
    random = synthetic.sweep(tmp_path / "random", dataset, folds=3, repeats=2)
    grouped = synthetic.sweep(tmp_path / "grouped", dataset, folds=3, repeats=2, grouped=True)
    nested = synthetic.sweep(tmp_path / "nested", dataset, folds=3, repeats=2, protocol="nested")
    row = checked(random, grouped, nested).loc["an image of the same group"]
    number = by_hand(random, lambda one, other: random.groups[one] == random.groups[other])
    assert 0 < number <= 24
    assert row.to_list() == [
        f"{number} of 24 ({number / 24:.1%})",
        "0 of 24 (0.0%)",
        f"{number} of 24 ({number / 24:.1%})",
    ]


def test_unknown_groups_ids_and_images_are_named(tmp_path):
    sweep = synthetic.sweep(tmp_path, data())
    (tmp_path / "data.json").unlink()
    assert checked(sweep).iloc[:, 0].to_list() == [
        "no groups known", "no consecutive ids", "prepared images not found"
    ]  # fmt: skip
    assert leakage.most_alike(sweep) == []
    assert "no image can be said to be independent" in leakage.table([sweep]).note
    assert leakage.table([sweep]).says.startswith("Nothing tells whether test images have such relatives")


def test_copies_across_folds_are_found_whatever_their_brightness(tmp_path):
    dataset = data(20)
    dataset.images[13] = dataset.images[2]
    dataset.images[7] = np.uint8(0.9 * dataset.images[5] + 12)  # brighter, with less contrast
    sweep = synthetic.sweep(tmp_path, dataset, folds=20)  # each image is a fold of its own, so every pair is split
    assert checked(sweep).loc["a near-duplicate"].item() == "4 of 20 (20.0%)"
    first, second, third, *_ = leakage.most_alike(sweep)
    assert {first.test, first.seen} == {dataset.ids[2], dataset.ids[13]}
    assert {second.test, second.seen} == {dataset.ids[5], dataset.ids[7]}
    assert int(re.search(r"(\d+) of 64 bits", third.caption)[1]) > leakage.DUPLICATE
    np.testing.assert_array_equal(first.images[0], dataset.images[2])
    assert "0 of 64 bits differ, correlation 1.00; groups not known" in first.caption


def test_pairs_within_a_fold_are_no_leak(tmp_path):
    dataset = data(12, groups=tuple(f"g{i // 2}" for i in range(12)))
    dataset.images[1::2] = dataset.images[::2]
    sweep = synthetic.sweep(tmp_path, dataset, folds=3, grouped=True)
    assert checked(sweep).loc["a near-duplicate"].item() == "0 of 12 (0.0%)"
    pairs = leakage.most_alike(sweep)
    assert len(pairs) == 3  # six groups, each in one pair
    assert all(sweep.groups[pair.test] != sweep.groups[pair.seen] for pair in pairs)


def test_a_caption_names_the_repeat_and_fold_that_split_the_pair(tmp_path):
    dataset = data(12)
    sweep = synthetic.sweep(tmp_path, dataset, folds=3, repeats=2, protocol="nested")
    for pair in leakage.most_alike(sweep):
        cell = next(
            cell for cell in sweep.folds["folds"] if f"(repeat {cell['repeat']}, fold {cell['fold']})" in pair.caption
        )
        assert pair.test in cell["test"]
        assert pair.seen not in cell["test"]


def test_images_that_are_never_tested_are_seen_whatever_the_order_of_the_pair(tmp_path):
    dataset = data(20)
    sweep = synthetic.sweep(tmp_path, dataset, split="authors", folds=1, repeats=2)
    tested = set(sweep.folds["folds"][0]["test"])
    assert len(tested) == 4
    assert checked(sweep).loc["a near-duplicate"].item() == "0 of 8 (0.0%)"
    pairs = leakage.most_alike(sweep)
    assert len(pairs) == 4  # no image is in two of them
    assert {pair.test for pair in pairs} == tested
    before = [dataset.ids.index(pair.test) < dataset.ids.index(pair.seen) for pair in pairs]
    assert any(before)
    assert not all(before)


def test_consecutive_ids():
    ids = [
        "slice-09",
        "slice-10",
        "slice-12",
        "other-11",
        "p1-frame-3",
        "p1-frame-4",
        "p2-frame-4",
        "x7.b",
        "x8.b",
        "y",
        *(f"beyond what a float tells apart {2**53 + i}" for i in range(3)),
    ]
    pairs = [(ids[i], ids[j]) for i, j in leakage.consecutive(ids)]
    found = [("slice-09", "slice-10"), ("p1-frame-3", "p1-frame-4"), ("x7.b", "x8.b")]
    assert sorted(pairs) == sorted([*found, *(pair[::-1] for pair in found)])
    assert leakage.consecutive(["a", "b"]).shape == (0, 2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "fields",
    [
        {"folds": 3, "repeats": 2},
        {"folds": 3, "grouped": True},
        {"folds": 2, "protocol": "nested", "repeats": 2},
        {"split": "authors", "folds": 1, "repeats": 2},
    ],
    ids=["random", "grouped", "nested", "authors"],
)
def test_row_by_row_finds_what_arrays_of_all_pairs_find(tmp_path, fields, seed):
    rng, n = np.random.default_rng(seed), 40
    ids = tuple(f"{'ab'[k % 2]}-{number:03}" for k, number in enumerate(rng.choice(60, n, replace=False)))
    dataset = data(n, ids=ids, groups=tuple(f"g{number}" for number in rng.integers(0, 15, n)), seed=seed)
    for one, other in rng.choice(n, (8, 2), replace=False):  # likenesses of all degrees
        noise = rng.normal(0, 4 + 4 * one, dataset.images[0].shape)
        dataset.images[one] = np.clip(dataset.images[other] + noise, 0, 255)
    sweep = synthetic.sweep(tmp_path, dataset, **fields)
    counts, rank, best = of_matrices(sweep, 6)
    tests = sum(len(cell["test"]) for cell in sweep.folds["folds"])
    cells, audit = leakage._checks(sweep)
    assert [int(cell.split(" of ")[0]) for cell in cells.values()] == counts[:3]
    assert audit.share == counts[3] / tests
    said = cells["the image before or after, by id"].partition("; such pairs are more alike than ")[2]
    assert int(said.partition("% of all")[0]) == pytest.approx(100 * rank, abs=1)  # the last bit decides at the median
    assert 0 < counts[1] < counts[3] or fields.get("grouped")
    pairs = leakage.most_alike(sweep)[:6]
    bits = [int(re.search(r"(\d+) of 64 bits", pair.caption)[1]) for pair in pairs]
    assert [(frozenset({pair.test, pair.seen}), number) for pair, number in zip(pairs, bits, strict=True)] == best


@pytest.mark.parametrize("find", [leakage._checks, leakage.most_alike])
def test_no_array_is_of_all_pairs(monkeypatch, find):
    """One byte per pair of 3000 images would be 9 MB."""
    n, rng = 3000, np.random.default_rng(0)
    groups = {f"case{k:04}": f"p{k // 60}" for k in range(n)}
    plan = folds.plan([*groups], [*groups.values()], folds=5, repeats=2, grouped=False, protocol="paper", seed=0)
    ids = [*groups]
    cells = [{"repeat": r, "fold": f, "test": [ids[k] for k in split.test]} for (r, f), split in plan.items()]
    sweep = Sweep(Path("x"), {"data": {"context": 0}}, {"images": n, "group_of": groups, "folds": cells}, {})
    images, masks = np.zeros((n, 2, 2, 1), np.uint8), np.zeros((n, 2, 2), np.uint8)
    sweep.__dict__["prepared"] = (images, masks, {name: k for k, name in enumerate(ids)})
    looks = leakage.Looks(rng.integers(0, 2**63, n, np.uint64), rng.normal(size=(n, 4)).astype(np.float32))
    monkeypatch.setattr(leakage, "looks", lambda _: looks)
    tracemalloc.start()
    try:
        find(sweep)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < n * n


def test_neighbours_are_ranked_among_a_sample_of_many_images(monkeypatch):
    small = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    products = [float(one @ other) for one, other in itertools.combinations(small, 2)]
    exact = np.mean(np.array(products) < 2.0)
    assert leakage._rank(small, 2.0) == pytest.approx(exact, abs=1e-12)
    monkeypatch.setattr(leakage, "SAMPLE", 100)
    assert leakage._rank(small, 2.0) == pytest.approx(exact, abs=0.03)
    assert leakage._rank(small, 2.0) != exact


def test_likeness_tells_neighbours_of_a_stack_from_numbered_strangers(tmp_path):
    ids = tuple(f"slice-{i:02d}" for i in range(20))
    strangers = data(20, ids=ids)
    stack = dataclasses.replace(
        strangers, images=np.uint8(ndimage.gaussian_filter1d(strangers.images * 1.0, 2, axis=0))
    )
    rows = checked(
        *(
            synthetic.sweep(tmp_path / name, data, folds=4)
            for name, data in (("strangers", strangers), ("stack", stack))
        )
    ).loc["the image before or after, by id"]
    shares = [int(cell.rpartition("than ")[2].partition("%")[0]) for cell in rows]
    assert shares[0] < 75
    assert shares[1] > 90
    sweep = synthetic.sweep(tmp_path / "again", stack, folds=4)
    number = by_hand(sweep, lambda one, other: abs(int(one[-2:]) - int(other[-2:])) == 1)
    assert rows.iloc[1].startswith(f"{number} of 20 ")


def test_likeness_is_imagehashs_and_numpys(tmp_path):
    dataset = data(5, channels=1)
    sweep = synthetic.sweep(tmp_path, dataset)
    bits, correlation = likeness(sweep)
    grey = [Image.fromarray(image[..., 0]) for image in dataset.images]
    hashes = [imagehash.phash(image) for image in grey]
    np.testing.assert_array_equal(bits, [[one - other for other in hashes] for one in hashes])
    small = [np.asarray(image.resize((32, 32), Image.Resampling.BOX)).ravel() for image in grey]
    np.testing.assert_allclose(correlation, np.corrcoef(small), atol=1e-5)


def test_padding_does_not_make_images_alike(tmp_path):
    dataset = data(6)
    padded = dataclasses.replace(
        dataset,
        images=np.pad(dataset.images, ((0, 0), (30, 30), (0, 0), (0, 0))),
        masks=np.pad(dataset.masks, ((0, 0), (30, 30), (0, 0)), constant_values=IGNORE),
    )
    plain, letterbox = (
        likeness(synthetic.sweep(tmp_path / name, d)) for name, d in (("a", dataset), ("b", padded))
    )  # fmt: skip
    for one, other in zip(plain, letterbox, strict=True):
        np.testing.assert_array_equal(one, other)


def test_ignored_pixels_of_an_image_do_not_change_its_likeness(tmp_path):
    dataset, ignored = data(6), data(6)
    ignored.masks[0, 10:20] = IGNORE
    ignored.masks[1, :, :5] = IGNORE
    one, other = (likeness(synthetic.sweep(tmp_path / name, d)) for name, d in (("a", dataset), ("b", ignored)))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_a_uniform_image_is_like_no_other(tmp_path):
    dataset = data(4)
    dataset.images[0] = 7
    _, correlation = likeness(synthetic.sweep(tmp_path, dataset))
    assert np.isfinite(correlation).all()
    assert correlation[0, 1:].tolist() == [0, 0, 0]


def test_a_pair_holds_thumbnails_of_both_images(tmp_path):
    pairs = leakage.most_alike(synthetic.sweep(tmp_path, data(6, size=(300, 400))))
    assert len(pairs) == 3
    assert all(image.shape == (192, 256, 3) for pair in pairs for image in pair.images)


def test_frames_of_a_real_video_leak_into_random_folds(real_data, tmp_path):
    folder = real_data / "manual" / "CVC-ClinicDB" / "PNG" / "Original"
    with (Path(__file__).parents[2] / "datasets/cvc_clinicdb/sequences.csv").open(newline="") as file:
        sequences = [(int(row["first_frame"]), int(row["last_frame"])) for row in csv.DictReader(file)][3:7]
    frames = [(n, f"sequence-{first}") for first, last in sequences for n in range(first, last + 1)]
    images = np.stack([np.asarray(Image.open(folder / f"{n}.png").convert("RGB").resize((64, 48))) for n, _ in frames])
    ids, groups = tuple(f"{n:03d}" for n, _ in frames), tuple(group for _, group in frames)
    dataset = Dataset("cvc", images, np.ones(images.shape[:3], np.uint8), ids, groups, ("background", "polyp"))
    random = synthetic.sweep(tmp_path / "random", dataset, folds=4)
    grouped = synthetic.sweep(tmp_path / "grouped", dataset, folds=4, grouped=True)
    found = checked(random, grouped).map(lambda cell: int(cell.split(" of ")[0]))
    assert (found.iloc[:, 0] >= [len(ids), 0.9 * len(ids), 4]).all()
    assert (found.iloc[:, 1] <= [0, 6, 0]).all()


def test_it_says_no_more_than_was_looked_at(tmp_path):
    alone = synthetic.sweep(tmp_path / "alone", data())
    assert leakage.table([alone]).says == "No test image has such a relative, as far as pixels alone tell."
    numbered = synthetic.sweep(tmp_path / "numbered", data(ids=tuple(f"a{index:02}" for index in range(12))))
    (tmp_path / "numbered" / "data.json").unlink()
    assert "by their ids alone: if ids in a row are neighbours, scores are too good" in leakage.table([numbered]).says
    patients = synthetic.sweep(tmp_path / "patients", data(groups=tuple(f"patient-{i // 6}" for i in range(12))))
    assert leakage.table([patients]).says.endswith("such a relative: scores are too good for new patients or slides.")
