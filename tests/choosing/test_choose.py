"""The choice of a sweep, with predictions that are made up: what it finds, and what it never looks at."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from sharp_unet_jax.choosing import choose, images
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import records
from sharp_unet_jax.storage import contents
from sharp_unet_jax.storage.atomic import to_json
from sharp_unet_jax.storage.reading import parse_json
from tests.choosing.sources import right, source
from tests.conftest import squares
from tests.report import synthetic

BEST = {"threshold": 0.5, "fill": False, "smallest": 0, "largest": True}
PLAIN = BEST | {"largest": False}


def test_the_largest_piece_alone_is_found_where_it_helps(tmp_path):
    of = source(tmp_path, squares(n=36))
    chosen = choose.choose(of)["models"]["unet"]
    assert chosen["rule"] == BEST
    assert [each["rule"] for each in chosen["folds"].values()] == [BEST] * 3
    for part in ("validation", "test"):
        assert chosen[part]["jaccard"] == 1
        assert chosen[part]["low"] > 0
    plain = of.sweep.runs["jaccard"].to_numpy(float)
    assert chosen["test"]["gain"] == pytest.approx(1 - plain.mean())
    assert (chosen["test"]["images"], chosen["test"]["groups"], chosen["test"]["runs"]) == (36, 18, 3)
    validated = {image for cell in of.sweep.folds["folds"] for image in cell["validation"]}
    assert (
        chosen["validation"]["images"]
        == len(validated)
        < sum(len(cell["validation"]) for cell in of.sweep.folds["folds"])
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_nothing_is_chosen_where_nothing_helps(tmp_path, classes):
    predict = right if classes == 2 else lambda run, masks: (200 * (masks[..., None] == np.arange(3))).astype(np.uint8)
    choice = choose.choose(source(tmp_path, squares(n=18, classes=classes), predict))
    chosen = choice["models"]["unet"]
    assert chosen["rule"] == PLAIN
    assert all(each["rule"] == PLAIN for each in chosen["folds"].values())
    assert chosen["validation"]["gain"] == chosen["test"]["gain"] == 0
    assert choice["ensemble"] is None


def flaky(run, masks):
    """Return probabilities of which one half is wrong: the upper one by one network, the lower one by the other."""
    found = np.where(masks[..., None] > 0, 200, 60).astype(np.uint8)
    half = slice(0, 8) if run.model == "unet" else slice(8, 16)
    found[:, half] = np.where(found[:, half] > 127, 115, 130)
    return found


def test_a_mean_of_networks_is_found_where_it_helps(tmp_path):
    of = source(tmp_path, predict=flaky, models=("unet", "sharp_unet"))
    choice = choose.choose(of)
    several = choice["ensemble"]
    assert several["networks"] == ["unet", "sharp_unet"]
    assert several["validation"]["jaccard"] == several["test"]["jaccard"] == 1
    best = max(choice["models"].values(), key=lambda each: each["test"]["jaccard"])
    assert 0 < several["test"]["gain"] <= 1 - best["test"]["jaccard"] + 1e-9
    assert set(choice["weights_sha256"]) == set(of.sweep.finished)
    checked = parse_json(to_json(choice).encode(), contents.Choice, tmp_path / "choice.json", remedy="")
    assert checked["ensemble"]["networks"] == several["networks"]


def test_of_equal_networks_the_first_stays_alone_with_its_own_rule(tmp_path):
    choice = choose.choose(source(tmp_path, models=("unet", "sharp_unet")))
    assert choice["ensemble"]["networks"] == ["unet"]
    assert choice["ensemble"]["rule"] == choice["models"]["unet"]["rule"] == BEST
    assert choice["ensemble"]["test"]["gain"] == 0


def noisy(run, masks):
    """Return probabilities that suit a lower threshold, another one in each fold."""
    found = []
    for mask in masks:
        rng = np.random.default_rng([run.fold, int(mask.astype(int).ravel() @ np.arange(mask.size))])
        middle = 40 + (60 + 25 * run.fold) * (mask[..., None] > 0)
        found.append(np.clip(rng.normal(middle, 20), 0, 255).astype(np.uint8))
    return np.stack(found)


def without_test(choice):
    """Return the bytes of a choice without the gains on test images."""
    each = [chosen for chosen in (*choice["models"].values(), choice["ensemble"]) if chosen]
    return to_json({**choice, "models": None, "ensemble": [chosen | {"test": None} for chosen in each]})


def poisoned(dataset, rows):
    """Return the data set with other masks of the images `rows`."""
    masks = np.array(dataset.masks)
    masks[rows] = 1 - masks[rows]
    return dataclasses.replace(dataset, masks=masks)


def test_no_test_mask_has_a_part_in_the_choice(tmp_path):
    """One fold is finished: its test images are no validation images of another one."""
    of = source(tmp_path, predict=noisy, models=("unet", "sharp_unet"))
    for folder in tmp_path.glob("runs/*/repeat0-fold[12]"):
        shutil.rmtree(folder)
    of = dataclasses.replace(of, sweep=records.load(tmp_path))
    run = next(iter(of.sweep.planned.values()))
    honest = choose.choose(of)
    other = choose.choose(dataclasses.replace(of, dataset=poisoned(of.dataset, of.test(run))))
    assert without_test(honest) == without_test(other)
    assert honest["models"]["unet"]["test"] != other["models"]["unet"]["test"]
    decided = dataclasses.replace(of, dataset=poisoned(of.dataset, of.validation(run)))
    assert without_test(honest) != without_test(choose.choose(decided))
    assert honest["models"]["unet"]["rule"] != PLAIN


@pytest.mark.parametrize("fold", range(3))
def test_no_fold_looks_at_its_test_masks(tmp_path, fold):
    of = source(tmp_path, predict=noisy)
    run = next(run for run in of.sweep.planned.values() if run.fold == fold)
    other = dataclasses.replace(of, dataset=poisoned(of.dataset, of.test(run)))
    honest, found = (choose.choose(each)["models"]["unet"]["folds"] for each in (of, other))
    assert honest[f"repeat0-fold{fold}"] == found[f"repeat0-fold{fold}"]
    assert honest[f"repeat0-fold{fold}"]["rule"] != PLAIN


def test_a_network_that_stays_alone_in_a_fold_has_the_rule_of_this_fold(tmp_path):
    choice = choose.choose(source(tmp_path, predict=noisy, models=("unet", "sharp_unet")))  # two alike
    assert choice["ensemble"]["folds"] == choice["models"]["unet"]["folds"]
    assert len({each["rule"]["threshold"] for each in choice["ensemble"]["folds"].values()}) > 1


def test_test_probabilities_that_were_not_kept_are_predicted(tmp_path):
    of = source(tmp_path, predict=noisy)
    kept = choose.choose(of)
    for path in tmp_path.glob("runs/*/*/predictions.npz"):
        path.unlink()
    assert to_json(choose.choose(of)) == to_json(kept)


def test_unfinished_runs_are_left_out(tmp_path):
    of = source(tmp_path, models=("unet", "sharp_unet"))
    shutil.rmtree(tmp_path / "runs/sharp_unet/repeat0-fold1")
    (tmp_path / "runs/unet/repeat0-fold2/record.json").unlink()
    choice = choose.choose(dataclasses.replace(of, sweep=records.load(tmp_path)))
    assert len(choice["weights_sha256"]) == 4
    assert set(choice["models"]["unet"]["folds"]) == {"repeat0-fold0", "repeat0-fold1"}
    assert choice["models"]["unet"]["test"]["runs"] == 2
    assert choice["models"]["unet"]["test"]["low"] is None  # two runs have no interval
    assert choice["models"]["unet"]["rule"] == BEST
    assert set(choice["ensemble"]["folds"]) == {"repeat0-fold0"}
    shutil.rmtree(tmp_path / "runs/unet/repeat0-fold0")
    apart = choose.choose(dataclasses.replace(of, sweep=records.load(tmp_path)))
    assert apart["ensemble"] is None  # no fold has both
    assert set(apart["models"]) == {"unet", "sharp_unet"}


def test_images_of_empty_masks_that_are_left_out(tmp_path):
    dataset = squares(n=18)
    dataset.masks[::3] = 0
    choice = choose.choose(source(tmp_path, dataset, right, empty="nan"))
    assert choice["models"]["unet"]["rule"] == PLAIN
    assert choice["models"]["unet"]["test"]["jaccard"] == 1


def test_what_cannot_be_chosen_on_is_refused(tmp_path):
    of = source(tmp_path / "w", protocol="paper", inner_validation=0.2)
    with pytest.raises(InputError, match="protocol=paper, whose validation images are the test images"):
        choose.check(of.sweep, of.config)
    nested = source(tmp_path / "n")
    choose.check(nested.sweep, nested.config)
    for path in (tmp_path / "n").glob("runs/*/*/record.json"):
        path.unlink()
    with pytest.raises(InputError, match="no finished run yet"):
        choose.check(records.load(tmp_path / "n"), nested.config)


def test_the_data_set_is_that_of_the_sweep(tmp_path):
    of = source(tmp_path)
    found = images.dataset(of.sweep)
    assert found.sha256 == of.dataset.sha256
    assert (found.ids, found.groups, found.classes) == (of.dataset.ids, of.dataset.groups, of.dataset.classes)
    masks = np.load(tmp_path / "prepared/masks.npy")
    masks[0] = 1 - masks[0]
    np.save(tmp_path / "prepared/masks.npy", masks)
    with pytest.raises(InputError, match="not where they were for the sweep, or have changed"):
        images.dataset(records.load(tmp_path))
    shutil.rmtree(tmp_path / "prepared")
    with pytest.raises(InputError, match="give the sweep's command again"):
        images.dataset(records.load(tmp_path))


def test_masks_at_the_files_resolution_are_part_of_the_data_set(tmp_path):
    dataset = synthetic.with_native(n=12)
    of = source(tmp_path, dataset, right)
    found = images.dataset(of.sweep)
    assert found.native is not None
    assert found.sha256 == dataset.sha256
    assert json.loads((tmp_path / "folds.json").read_text())["sha256"] == found.sha256
