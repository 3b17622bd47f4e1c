"""Scores of predicted images: those that runs are reported by, for every way of training."""

import dataclasses

import jax
import numpy as np
import pytest

from sharp_unet_jax import metrics
from sharp_unet_jax.choosing import images, scores
from sharp_unet_jax.choosing.images import Source, pack, unpack
from sharp_unet_jax.choosing.scores import Part, Pool
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.data.resize import resize, restore
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.ragged import of as ragged
from sharp_unet_jax.report import records
from sharp_unet_jax.sweeps import workdir
from sharp_unet_jax.training import train
from tests import crop_runs
from tests.conftest import shrink_models, squares

PLAIN = Rule(0.5)
SIZE = {"builder": "crops", "size": (16, 24)}


@pytest.mark.parametrize(
    ("data", "classes"),
    [
        (Data(**SIZE, fit="letterbox", score="native"), 2),
        pytest.param(Data(**SIZE, fit="crop", scale=0.7, score="native", validate="crops"), 3, marks=pytest.mark.slow),
        pytest.param(Data(**SIZE, fit="letterbox"), 2, marks=pytest.mark.slow),
        pytest.param(Data(**SIZE, fit="crop", resident_gb=0.0), 2, marks=pytest.mark.slow),
    ],
    ids=["native", "scaled crops", "letterbox", "crops"],
)
def test_runs_are_scored_as_they_are_reported(tmp_path, monkeypatch, data, classes):
    shrink_models(monkeypatch)
    examples = crop_runs.examples(n=8, classes=classes)
    crop_runs.make(tmp_path / "w", examples, data, classes=classes, cache=tmp_path / "prepared")
    (tmp_path / "w/choice.json").write_text("{}")  # damaged: what replaces it does not read it
    sweep, config = records.load(tmp_path / "w"), workdir.read_config(tmp_path / "w")
    dataset = images.dataset(sweep)
    source = Source(sweep, config, dataset, images.predictor(sweep, config, dataset, jax.devices()[:1]))
    (tmp_path / "w/choice.json").write_text("of other runs: launch.choose replaces it")
    for run in sweep.planned.values():
        rows = source.test(run)
        predicted = list(source.predict(run, rows))
        found = [
            scores.jaccard(dataset, config, row, each, [PLAIN])[0]
            for row, each in zip(rows.tolist(), predicted, strict=True)
        ]
        assert np.mean(found) == pytest.approx(sweep.finished[run.name]["jaccard"], abs=1e-12)
        assert source.of_test(run) == [pack(np.rint(255 * each).astype(np.uint8)) for each in predicted]


def test_packed_probabilities_are_the_same():
    each = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(unpack(pack(each[:, ::2])), each[:, ::2])


def as_predicted(dataset, rng):
    return rng.random((*dataset.masks.shape, dataset.num_classes), np.float32)


def test_the_padding_of_a_letterbox_is_no_part_of_the_image():
    """A piece that goes on in the padding is as large as its part in the image, and the image's border ends no hole."""
    mask = np.zeros((12, 40), np.uint8)
    mask[0:3, 4:8] = 1
    _, small = resize(np.zeros((12, 40, 3), np.uint8), mask, (40, 40), "letterbox")
    dataset = dataclasses.replace(squares(n=1, size=(40, 40)), masks=small[None])
    config = Config(data=Data(size=(40, 40), fit="letterbox"))
    found = np.where(small == 1, 0.9, 0.1).astype(np.float32)[..., None]
    found[4:14, 12:34] = 0.9  # above the image: the letterbox pads 14 rows
    found[14:15, 12:14] = 0.9  # two pixels of it are inside
    two, alone = scores.jaccard(dataset, config, 0, found, [PLAIN, Rule(0.5, smallest=4)])
    assert (two, alone) == (pytest.approx(12 / 14), 1)


def test_an_image_without_a_scored_pixel_is_scored_as_its_run_is():
    """Its letterbox cannot be told from its mask."""
    dataset = squares(n=1)
    dataset.masks[:] = metrics.IGNORE
    config, found = Config(data=Data(size=(16, 24), fit="letterbox")), np.full((16, 24, 1), 0.9, np.float32)
    assert scores.jaccard(dataset, config, 0, found, [PLAIN, Rule(0.5, largest=True)]).tolist() == [1, 1]


def test_sizes_are_those_at_the_resolution_of_training():
    """One pixel of training is four by four of the file, so that a speck of it is fewer than two pixels."""
    own = np.zeros((32, 48), np.uint8)
    own[8:24, 8:24] = 1
    dataset = dataclasses.replace(squares(n=1, size=(8, 12)), native=ragged([own]))
    config = Config(data=Data(size=(8, 12), score="native"))
    found = np.zeros((8, 12, 1), np.float32)
    found[2:6, 2:6] = found[0, 10] = 1
    decided = restore(found, own.shape, "stretch")[..., 0] > 0.5
    speck = int(decided[:8, 32:].sum())
    assert 8 < speck < 32
    rules = [PLAIN, Rule(0.5, smallest=speck // 16), Rule(0.5, smallest=speck // 16 + 1), Rule(0.5, largest=True)]
    plain, kept, dropped, alone = scores.jaccard(dataset, config, 0, found, rules)
    assert plain == kept < dropped == alone


def test_the_plain_rule_is_what_is_reported():
    rng = np.random.default_rng(0)
    for classes in (2, 3):
        dataset = squares(n=4, classes=classes)
        dataset.masks[0, :3] = metrics.IGNORE
        config = Config(data=Data(size=(16, 24)), threshold=0.3)
        for index, probabilities in enumerate(as_predicted(dataset, rng)):
            counts = train.count(dataset, config, index, probabilities)
            expected = metrics.score(counts[None], empty="one", binary=classes == 2).means["jaccard"]
            (found,) = scores.jaccard(dataset, config, index, probabilities, [Rule(0.3)])
            assert found == pytest.approx(expected)


def test_the_mean_of_networks_is_that_of_their_probabilities():
    rng, dataset = np.random.default_rng(0), squares(n=3)
    config = Config(data=Data(size=(16, 24)))
    each = {name: rng.integers(0, 256, (3, 16, 24, 1), np.uint8) for name in "abc"}
    part = Part(dataset, config, np.arange(3), {name: list(map(pack, images)) for name, images in each.items()})
    rules = [Rule(0.5), Rule(0.4, fill=True)]
    found = part.scores(("a", "c"), rules)
    mean = (each["a"].astype(float) + each["c"]) / 510
    expected = [
        scores.jaccard(dataset, config, index, image.astype(np.float32), rules) for index, image in enumerate(mean)
    ]
    assert np.array_equal(found, np.transpose(expected))
    assert np.array_equal(part.scores(("a", "c"), rules[::-1]), found[::-1])  # what is known is not mixed up
    assert not np.array_equal(part.scores(("a",), rules), found)


def test_an_image_of_several_runs_counts_once():
    rng, dataset = np.random.default_rng(0), squares(n=6)
    config = Config(data=Data(size=(16, 24)), empty="nan")
    parts = [
        Part(dataset, config, np.array(rows), {"a": [pack(rng.integers(0, 256, (16, 24, 1), np.uint8)) for _ in rows]})
        for rows in ([4, 1, 2], [2, 0])
    ]
    pool = Pool(parts)
    (found,) = pool.scores(("a",), [PLAIN])
    (first,), (second,) = (part.scores(("a",), [PLAIN]) for part in parts)
    assert pool.images.tolist() == [0, 1, 2, 4]
    assert pool.groups == ["g0", "g0", "g1", "g2"]
    assert found == pytest.approx([second[1], first[1], (first[2] + second[0]) / 2, first[0]])
    assert [mask.tolist() for mask in pool.masks] == dataset.masks[[0, 1, 2, 4]].tolist()
