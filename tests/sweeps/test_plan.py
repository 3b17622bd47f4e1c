"""The runs of a config: shares of them, their seeds and their folds."""

import dataclasses

import pytest

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.sweeps import plan
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


def test_too_few_groups_for_the_folds(dataset):
    with pytest.raises(InputError, match="squares: 6 groups cannot fill 7 folds"):
        plan.split(dataclasses.replace(CONFIG, grouped=True, folds=7), dataset)
