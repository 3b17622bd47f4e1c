"""Configs that cannot run are refused, and the message names the field."""

import dataclasses
import typing

import jax
import pytest
from flax import nnx

from sharp_unet_jax import models
from sharp_unet_jax.config import Augment, Config, Data
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.sweeps import check
from tests.tiny_sweep import CONFIG

OF_CROPS = {"scale": 0.5, "spacing": 1.5, "crops": 10, "share": "area", "foreground": 0.5, "validate": "crops"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ("unet", "sharpunet")}, "did you mean 'sharp_unet'"),
        ({"models": ()}, "at least one"),
        ({"models": ("unet", "unet")}, "each once"),
        ({"models": "unet"}, "models: 'unet' is not"),
        ({"precision": "fp32"}, "precision: 'fp32' is not one of float32, tf32, bfloat16"),
        ({"data": Data(fit="leterbox")}, "data.fit: 'leterbox' is not one of stretch, letterbox"),
        ({"loss": "dise"}, "dice"),
        *(({"loss": {"dice": weight}}, "loss: every weight") for weight in (float("nan"), 0, -1.0)),
        ({"skip_kernel": "laplace"}, "did you mean 'laplacian'"),
        ({"folds": 1}, "folds: must be at least 2"),
        ({"folds": 0, "split": "own.csv"}, "folds: must be from 1 to 10000"),
        ({"folds": 2, "split": "authors"}, "folds: split=authors is one division of the images, so set folds=1; got 2"),
        ({"folds": 2.5}, "folds: 2.5 is not"),
        ({"epochs": 0}, "epochs: must be from 1 to 1000000"),
        ({"max_runs": 0}, "max_runs"),
        ({"frozen_epochs": -1}, "frozen_epochs: must be from 0 to 1000000"),
        ({"checkpoint_minutes": float("nan")}, "checkpoint_minutes: must be at least 0 and finite, got nan"),
        ({"checkpoint_minutes": float("inf")}, "checkpoint_minutes: must be at least 0 and finite, got inf"),
        ({"data": Data(resident_gb=float("nan"))}, "data.resident_gb: must be at least 0 and finite"),
        ({"data": Data(resident_gb=float("inf"))}, "data.resident_gb: must be at least 0 and finite"),
        ({"data": Data(resident_gb=-1.0)}, "data.resident_gb: must be at least 0 and finite"),
        ({"plateau_factor": 1.5}, "plateau_factor: must be between 0 and 1, got 1.5"),
        ({"monitor": "dice"}, "monitor: 'dice' is not one of loss, jaccard, soft_jaccard"),
        ({"min_delta": -1e-4}, "min_delta: must be at least 0"),
        ({"plateau_min_delta": float("nan")}, "plateau_min_delta: must be at least 0"),
        ({"min_learning_rate": -1e-8}, "min_learning_rate: must be at least 0"),
        ({"threshold": 1.0}, "threshold: must be between 0 and 1"),
        ({"learning_rate": 0.0}, "learning_rate: must be above 0 and at most 1e38, got 0.0"),
        ({"learning_rate": float("inf")}, "learning_rate: must be above 0"),
        ({"encoder_learning_rate_factor": 0.0}, "encoder_learning_rate_factor: must be above 0"),
        ({"optimizer": "lion"}, "optimizer: 'lion' is not one of adam, adamw, sgd"),
        ({"optimizer": "adamw"}, "optimizer: without weight_decay adamw is adam; set weight_decay"),
        ({"schedule": "step"}, "schedule: 'step' is not one of plateau, constant, cosine, poly"),
        ({"warmup": 2.0}, "warmup: must be less than epochs=2, got 2.0"),
        ({"warmup": -1.0}, "warmup: must be at least 0"),
        ({"weight_decay": float("nan")}, "weight_decay: must be from 0 to 1, got nan"),
        ({"clip": -1.0}, "clip: must be from 0 to 1e"),
        ({"ema": 1.0}, "ema: must be at least 0 and below 1, got 1.0"),
        ({"class_weights": "inverted"}, "class_weights: 'inverted' is not"),
        ({"class_weights": (1.0, -1.0)}, "class_weights: every weight must be a number from 0 to 1e38"),
        ({"class_weights": (0, 0)}, "class_weights: every weight must be a number from 0 to 1e38, and one above 0"),
        (
            {"class_weights": "inverse", "loss": {"dice": 1.0, "cross_entropy": 0.0}},
            "class_weights: are only for cross_entropy and distance_penalty, not dice",
        ),
        ({"augment": Augment(flip=1.5)}, "augment.flip: must be from 0 to 1, got 1.5"),
        ({"augment": Augment(noise=-0.1)}, "augment.noise: must be from 0 to 1, got -0.1"),
        ({"augment": Augment(rotate=float("inf"))}, "augment.rotate: must be from 0 to 180, got inf"),
        ({"data": Data(window=(1.0, 2.0, 3.0))}, r"data.window: must be low,high, or low,high,low,high,... for the"),
        ({"data": Data(window=(1, 1))}, "data.window: must be low,high"),
        ({"data": Data(window=(0, float("inf")))}, "data.window: must be low,high"),
        ({"data": Data(size=(0, 64))}, "data.size: height and width must be from 16 to 16384 pixels"),
        ({"data": Data(size=(64, 2**63))}, "data.size: height and width must be from 16 to 16384 pixels"),
        ({"data": Data(size=(15, 64), fit="crop")}, "data.size: height and width must be from 16 to 16384 pixels"),
        ({"data": Data(size=(64, 16385), fit="crop")}, "data.size: height and width must be from 16 to 16384 pixels"),
        *(
            ({"data": Data(**changes)}, f"data.{field}: is only for data.fit=crop; got {value} with data.fit=stretch")
            for field, value in OF_CROPS.items()
            for changes in ({field: value},)
        ),
        ({"data": Data(crops=9, fit="letterbox")}, "data.crops: is only for data.fit=crop; got 9 with .*=letterbox"),
        ({"data": Data(fit="crop", scale=0.5, spacing=0.7)}, "data.scale: the images' resolution is set by data.spac"),
        ({"data": Data(fit="crop", scale=0.0)}, "data.scale: must be from 0.015625 to 64, got 0.0"),
        ({"data": Data(fit="crop", scale=float("nan"))}, "data.scale: must be from 0.015625 to 64, got nan"),
        ({"data": Data(fit="crop", spacing=-1.0)}, "data.spacing: must be from 0 to 1000, got -1.0"),
        ({"data": Data(fit="crop", crops=-1)}, "data.crops: must be from 0 to 10000000, got -1"),
        ({"data": Data(fit="crop", foreground=1.1)}, "data.foreground: must be from 0 to 1, got 1.1"),
        ({"data": Data(fit="crop", share="pixels")}, "data.share: 'pixels' is not one of image, area"),
        ({"data": Data(fit="crop", validate="tiles")}, "data.validate: 'tiles' is not one of images, crops"),
        ({"data": Data(score="file")}, "data.score: 'file' is not one of trained, native"),
        ({"data": Data(data_dir="a\0b")}, "data.data_dir: 'a.*b' is not <class 'str'>"),
        ({"seed": -1}, "seed: must be from 0 to 4294967295, got -1"),
        ({"folds": 101, "repeats": 100}, "folds: folds x repeats must be at most 10000, got 10100"),
        ({"max_runs": 2**63}, "max_runs: must be from 1 to 1000000, or None"),
        ({"batch_size": 10**5000}, "batch_size: a number of thousands of digits is not <class 'int'>"),
        ({"learning_rate": 10**400}, "learning_rate: 1000.* is not <class 'float'>"),
        ({"loss": {"dice": 1e308}}, "loss: every weight must be a number from 0 to 1e38"),
        ({"deep_supervision": (0.0, 0.0)}, "deep_supervision: every weight must be a number from 0 to 1e38, and one"),
        ({"deep_supervision": (float("nan"), 1.0)}, "deep_supervision: every weight must be a number from 0"),
        ({"deep_supervision": (1.0,)}, "deep_supervision: is only for networks with several heads"),
        (
            {"deep_supervision": (0.0, 0.0, 0.0, 1.0), "models": ("unetpp_deep",)},
            "a head of weight 0 is not trained, and prediction_head=mean predicts with it",
        ),
        (
            {"deep_supervision": (1.0, 1.0, 1.0, 0.0), "models": ("unetpp_deep",), "prediction_head": "last"},
            "a head of weight 0 is not trained, and prediction_head=last predicts with it",
        ),
        ({"accumulate": 5}, "accumulate: batch_size=4 has no image for each of 5 parts"),
        ({"min_learning_rate": 0.01}, "min_learning_rate: must be at most learning_rate=0.001, got 0.01"),
        ({"loss": {"boundary": 1.0, "dice": 0.0}}, "loss: boundary alone has no minimum"),
        ({"prediction_head": "first"}, "prediction_head: 'first' is not one of mean, last"),
        ({"devices_per_run": 3}, "3 asked for, 2 here"),
        ({"models": ("unet",), "weights": "imagenet"}, "^weights: there are no ImageNet weights for unet"),
    ],
)
def test_a_config_that_cannot_run_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        check.config(dataclasses.replace(CONFIG, **changes), devices=2)


def test_each_head_of_a_network_needs_a_weight():
    """UNet++ with deep supervision has four heads; networks with one head take any weights."""
    both = dataclasses.replace(CONFIG, models=("unet", "sharp_unetpp_deep"))
    message = "^deep_supervision: sharp_unetpp_deep has 4 heads, so give as many weights; got 3$"
    with pytest.raises(InputError, match=message):
        check.config(dataclasses.replace(both, deep_supervision=(1.0, 1.0, 1.0)), devices=1)
    check.config(dataclasses.replace(both, deep_supervision=(1.0, 1.0, 1.0, 2.0)), devices=1)
    check.config(dataclasses.replace(both, deep_supervision=(0.0, 0.0, 0.0, 1.0), prediction_head="last"), devices=1)
    check.config(both, devices=1)


@pytest.mark.parametrize("split", ["authors", "own.csv"])
def test_a_given_split_may_have_one_fold(split):
    check.config(dataclasses.replace(CONFIG, folds=1, split=split), devices=1)


def test_crops_with_all_of_their_settings_are_accepted():
    assert set(OF_CROPS) == set(check.CROPS_ALONE)
    for without in ("scale", "spacing"):
        settings = {field: value for field, value in OF_CROPS.items() if field != without}
        data = Data(fit="crop", size=(100, 36), score="native", **settings)
        check.config(dataclasses.replace(CONFIG, data=data), devices=1)


def test_a_config_at_its_limits_is_accepted():
    augment = Augment(**dict.fromkeys((field.name for field in dataclasses.fields(Augment)), 1.0))
    least = {"frozen_epochs": 0, "checkpoint_minutes": 0.0, "patience": 1, "folds": 2, "max_runs": 1}
    check.config(dataclasses.replace(CONFIG, augment=augment, loss={"dice": 1.0, "jaccard": 0.0}, **least), devices=1)


def numbers(kind):
    """Return the names of all fields that hold a number of the type `kind`, as in "augment.blur"."""
    parts = {"": Config, "data.": Data, "augment.": Augment}
    hints = ((prefix, typing.get_type_hints(part)) for prefix, part in parts.items())
    return [prefix + name for prefix, fields in hints for name, hint in fields.items() if hint in (kind, kind | None)]


@pytest.mark.parametrize("field", [*numbers(int), *(name for name in numbers(float) if name.startswith("augment."))])
@pytest.mark.parametrize("value", [2**32, 2**63, 10**5000, 1e308], ids=["2**32", "2**63", "10**5000", "1e308"])
def test_every_whole_number_and_every_augmentation_has_an_upper_bound(field, value):
    part, _, name = field.rpartition(".")
    inner = {name: value} if not part else {part: dataclasses.replace(getattr(CONFIG, part), **{name: value})}
    with pytest.raises(InputError, match=f"^{field}: ") as refused:
        check.config(dataclasses.replace(CONFIG, **inner), devices=2)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("model", "size", "least"),
    [("sharp_unet", 16, 17)],  # tests/models/test_models.py has other networks
)
def test_a_size_at_which_a_kernel_cannot_reflect_is_refused(model, size, least):
    def config(size):
        data = Data(size=(size, 64))
        return Config(models=(model,), data=data, skip_kernel="laplacian_of_gaussian", skip_padding="reflect")

    with pytest.raises(InputError, match=rf"at {size}x64 pixels the coarsest sharp block of {model} sees 2 pixels"):
        check.config(config(size), devices=1)
    check.config(config(least), devices=1)

    def logits(x):
        kernel = {"skip_kernel": "laplacian_of_gaussian", "skip_padding": "reflect"}
        return models.build(model, rngs=nnx.Rngs(0), **kernel)(x)

    jax.eval_shape(logits, jax.ShapeDtypeStruct((1, least, 64, 3), "float32"))
    with pytest.raises(ValueError, match="needs an image larger"):
        jax.eval_shape(logits, jax.ShapeDtypeStruct((1, size, 64, 3), "float32"))


def test_class_weights_are_as_many_as_classes():
    for weights in ((), "inverse", (1.0, 2.0)):
        check.classes(dataclasses.replace(CONFIG, class_weights=weights), ("background", "tumour"))
    message = r"class_weights: give 2 numbers, for background, tumour; got \(1.0, 2.0, 3.0\)"
    with pytest.raises(InputError, match=message):
        check.classes(dataclasses.replace(CONFIG, class_weights=(1.0, 2.0, 3.0)), ("background", "tumour"))
    several = Data(builder="folder", classes=("background=0", "tumour=128", "tumour=255"))  # two values are one class
    check.config(dataclasses.replace(CONFIG, data=several, class_weights=(1.0, 2.0)), devices=1)
