"""The runs of a config: shares of them, their seeds and their folds."""

import dataclasses

import numpy as np
import pytest

from sharp_unet_jax.data import folds
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.sweeps import plan, workdir
from tests.conftest import squares
from tests.tiny_sweep import CONFIG


def test_shards_share_the_runs():
    config = dataclasses.replace(CONFIG, repeats=3)
    shards = [plan.runs(config, (i, 5)) for i in range(5)]
    assert sorted(run for shard in shards for run in shard) == sorted(plan.runs(config))
    assert {len(shard) for shard in shards} == {2, 3}


def test_every_run_is_planned_whatever_max_runs_says():
    config = dataclasses.replace(CONFIG, repeats=3, max_runs=5)
    assert len(plan.runs(config)) == 5
    assert plan.every(config)[:5] == plan.runs(config)
    assert len(plan.every(config)) == 12


def test_twins_start_alike_and_runs_differ():
    seeds = {plan.seed(CONFIG, run) for run in plan.runs(dataclasses.replace(CONFIG, repeats=3))}
    assert len(seeds) == 6
    assert plan.seed(CONFIG, Run(0, 1, "unet")) == plan.seed(CONFIG, Run(0, 1, "sharp_unet"))


@pytest.mark.parametrize(("classes", "random_state"), [(2, 42), (4, 0)])
def test_the_split_of_the_papers_code(classes, random_state):
    dataset = squares(classes=classes)
    config = dataclasses.replace(CONFIG, split="authors", folds=1, repeats=3)
    splits = plan.split(config, dataset)
    assert list(splits) == [(0, 0), (1, 0), (2, 0)]
    for split in splits.values():
        np.testing.assert_array_equal(split.test, folds.authors(dataset.ids, random_state=random_state))
        assert split.validation is split.test
    assert len({plan.seed(config, run) for run in plan.every(config)}) == 3
    with pytest.raises(InputError, match="keep each group in one fold, or set grouped=false"):
        plan.split(dataclasses.replace(config, grouped=True), dataset)


def test_the_folds_of_a_workdir_give_the_same_sweep(tmp_path, dataset):
    config = dataclasses.replace(CONFIG, repeats=2, protocol="nested")
    splits = plan.split(config, dataset)
    workdir.begin(tmp_path, config, dataset, splits, {})
    given = dataclasses.replace(config, split=str(tmp_path / "folds.json"))
    workdir.check(tmp_path, given, dataset, plan.split(given, dataset), {})
    for run, split in plan.split(given, dataset).items():
        for part, expected in zip(split, splits[run], strict=True):
            np.testing.assert_array_equal(part, expected)
    (tmp_path / "own.csv").write_text("id,fold\n" + "".join(f"{name},{name > '005'}\n" for name in dataset.ids))
    other = dataclasses.replace(config, split=str(tmp_path / "own.csv"))
    with pytest.raises(InputError, match="other images in repeat 0, fold 0: another split or another version drew"):
        workdir.check(tmp_path, other, dataset, plan.split(other, dataset), {})


def test_too_few_groups_for_the_folds(dataset):
    with pytest.raises(InputError, match="squares: 6 groups cannot fill 7 folds"):
        plan.split(dataclasses.replace(CONFIG, grouped=True, folds=7), dataset)


def test_grouped_without_any_group_is_refused(dataset):
    alone = dataclasses.replace(dataset, groups=dataset.ids)
    with pytest.raises(
        InputError, match="squares: grouped=true, but each image is a group of its own: name the groups"
    ):
        plan.split(dataclasses.replace(CONFIG, grouped=True), alone)
    plan.split(CONFIG, alone)
