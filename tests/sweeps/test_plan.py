"""Which runs a config asks for, and which configs cannot run."""

import dataclasses

import jax
import pytest
from flax import nnx

from sharp_unet_jax import models
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.sweeps import plan
from tests.tiny_sweep import CONFIG


def test_shards_share_the_runs(dataset):
    config = dataclasses.replace(CONFIG, repeats=3)
    shards = [plan.runs(config, (i, 5)) for i in range(5)]
    assert sorted(run for shard in shards for run in shard) == sorted(plan.runs(config))
    assert {len(shard) for shard in shards} == {2, 3}


def test_twins_start_alike_and_runs_differ(dataset):
    seeds = {plan.seed(CONFIG, run) for run in plan.runs(dataclasses.replace(CONFIG, repeats=3))}
    assert len(seeds) == 6
    assert plan.seed(CONFIG, Run(0, 1, "unet")) == plan.seed(CONFIG, Run(0, 1, "sharp_unet"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ("unet", "sharpunet")}, "did you mean 'sharp_unet'"),
        ({"models": ()}, "at least one"),
        ({"precision": "fp32"}, "precision: 'fp32' is not one of float32, tf32, bfloat16"),
        ({"data": Data(fit="leterbox")}, "data.fit: 'leterbox' is not one of stretch, letterbox"),
        ({"folds": 2.5}, "folds: 2.5 is not"),
        ({"models": "unet"}, "models: 'unet' is not"),
        *(({"loss": {"dice": weight}}, "loss: every weight") for weight in (float("nan"), 0, -1.0)),
        ({"checkpoint_minutes": float("nan")}, "checkpoint_minutes: must be at least 0 and finite, got nan"),
        ({"checkpoint_minutes": float("inf")}, "checkpoint_minutes: must be at least 0 and finite, got inf"),
        ({"data": Data(resident_gb=float("nan"))}, "data.resident_gb: must be at least 0 and finite"),
        ({"data": Data(resident_gb=float("inf"))}, "data.resident_gb: must be at least 0 and finite"),
        ({"data": Data(resident_gb=-1.0)}, "data.resident_gb: must be at least 0 and finite"),
        ({"plateau_factor": 1.5}, "plateau_factor"),
        ({"models": ("unet", "unet")}, "each once"),
        ({"loss": "dise"}, "dice"),
        ({"skip_kernel": "laplace"}, "did you mean 'laplacian'"),
        ({"folds": 1}, "folds: must be at least 2"),
        ({"epochs": 0}, "epochs: must be at least 1"),
        ({"threshold": 1.0}, "threshold"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"data": Data(size=(0, 64))}, "data.size"),
        ({"max_runs": 0}, "max_runs"),
        ({"frozen_epochs": -1}, "frozen_epochs: must be at least 0"),
        ({"encoder_learning_rate_factor": 0.0}, "encoder_learning_rate_factor: must be above 0"),
        ({"devices_per_run": 3}, "3 asked for, 2 here"),
    ],
)
def test_a_config_that_cannot_run_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        plan.check(dataclasses.replace(CONFIG, **changes), devices=2)


@pytest.mark.parametrize(
    ("model", "size", "least"),
    [("sharp_unet", 16, 17), ("sharp_unet_resnet18", 32, 33), ("sharp_ternausnet16", 17, 33)],
)
def test_a_size_at_which_a_kernel_cannot_reflect_is_refused(model, size, least):
    def config(size):
        data = Data(size=(size, 64))
        return Config(models=(model,), data=data, skip_kernel="laplacian_of_gaussian", skip_padding="reflect")

    with pytest.raises(InputError, match=rf"data.size: at {size}x64 the coarsest sharp block of {model} sees 2 pixels"):
        plan.check(config(size), devices=1)
    plan.check(config(least), devices=1)

    def logits(x):
        kernel = {"skip_kernel": "laplacian_of_gaussian", "skip_padding": "reflect"}
        return models.build(model, rngs=nnx.Rngs(0), **kernel)(x)

    jax.eval_shape(logits, jax.ShapeDtypeStruct((1, least, 64, 3), "float32"))
    with pytest.raises(ValueError, match="needs an image larger"):
        jax.eval_shape(logits, jax.ShapeDtypeStruct((1, size, 64, 3), "float32"))


def test_too_few_groups_for_the_folds(dataset):
    with pytest.raises(InputError, match="squares: 6 groups cannot fill 7 folds"):
        plan.split(dataclasses.replace(CONFIG, grouped=True, folds=7), dataset)
