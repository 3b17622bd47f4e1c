"""What a sweep is: every field with its unit or rule. A config and a run's name determine a run's every bit."""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from sharp_unet_jax.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where images and masks come from, and the size they are trained and scored at."""

    builder: str = "phantom"  # a TFDS builder in datasets/, or "builder/its_config"
    size: tuple[int, int] = (64, 64)  # (height, width) in pixels
    fit: Literal["stretch", "letterbox"] = "stretch"  # letterbox keeps the aspect; its padding is never scored
    manual_dir: str = ""  # folder of the files you downloaded; "" is TFDS's own default
    data_dir: str = ""  # where built data sets are kept; "" is TFDS's own default
    resident_gb: float = 4.0  # a data set up to so many GB lies on every device; a larger one is read as it goes
    images: str = ""  # builder "folder" only: a folder of images, or one holding images/ and masks/
    masks: str = ""  # builder "folder" only: a folder of masks
    groups: str = ""  # builder "folder" only: a CSV with the columns id,group
    classes: tuple[str, ...] = ()  # builder "folder" only: class names, background first; () asks the masks


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How training images and their masks are changed at random, see data.augment. 0 is not at all: the default."""

    flip: float = 0.0  # probability of a flip left to right, and again of one upside down
    turn: float = 0.0  # probability of a turn by 90, 180 or 270 degrees; by 180 where images are not square
    rotate: float = 0.0  # degrees at most, either way
    zoom: float = 0.0  # 0.2: from 1/1.2 of the size to 1.2 times
    shift: float = 0.0  # share of height and of width at most, either way
    elastic: float = 0.0  # pixels: standard deviation of displacements on a grid of 3 x 3, smooth in between
    brightness: float = 0.0  # share of the range at most, added or taken
    contrast: float = 0.0  # 0.2: from 1/1.2 to 1.2 times the distance from each channel's mean
    gamma: float = 0.0  # 0.2: exponents from 1/1.2 to 1.2
    blur: float = 0.0  # pixels: standard deviation at most; half of the images stay sharp
    noise: float = 0.0  # share of the range: standard deviation at most; half of the images get none

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return any(getattr(self, each.name) for each in fields(self))


@dataclass(frozen=True, kw_only=True)
class Config:
    """A sweep: `models` x `repeats` x `folds` runs. The defaults are the paper's, where it states one."""

    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)
    models: tuple[str, ...] = ("unet", "sharp_unet")  # names in sharp_unet_jax.models
    skip_kernel: str = "laplacian"  # kernel of the sharp models, a name in ops.KERNELS
    skip_padding: Literal["zero", "reflect"] = "zero"

    weights: str = ""  # what runs start from: "imagenet", a file or a run, see models.pretrained; "" is from scratch
    frozen_epochs: int = 0  # epochs at the start in which the encoder stays as it is
    encoder_learning_rate_factor: float = 1.0  # what the learning rate is multiplied by for the encoder

    protocol: Literal["paper", "nested"] = "paper"  # nested: nothing is decided on the fold that is reported
    folds: int = 5
    repeats: int = 5  # times the folds are drawn anew
    grouped: bool = False  # folds keep groups (a video sequence, a patient, neighbouring slices) whole
    inner_validation: float = 0.2  # nested: share of the training folds that decisions are taken on
    threshold: float = 0.5  # probability above which a pixel is foreground (one-class models)
    empty: Literal["one", "zero", "nan"] = "one"  # score of an image with neither truth nor prediction; nan: left out

    loss: str | Mapping[str, float] = "cross_entropy"  # a name in sharp_unet_jax.losses, or {name: weight, ...}
    batch_size: int = 16  # images a step, over all devices of the run; the paper does not say
    learning_rate: float = 1e-3  # Adam
    epochs: int = 150  # at most; the paper does not say
    patience: int = 10  # epochs without a lower validation loss before a run stops; the paper does not say how many
    plateau_patience: int = 5  # epochs without one before the learning rate drops; the paper does not say
    plateau_factor: float = 0.1  # what it is multiplied by then; the paper does not say
    # Of the network's arithmetic; parameters stay float32. tf32: a GPU's TensorFloat-32, and float32 elsewhere.
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    accumulate: int = 1  # parts of a batch, worked on in turn to save memory (not on a CPU); batch statistics per part
    remat: bool = False  # blocks are computed again for their gradient, to save memory (not on a CPU)
    deterministic: bool = False  # on a GPU: the same bits every time, at some cost in speed; a CPU gives them anyway
    seed: int = 0

    retries: int = 0  # times that a run whose loss became NaN is made again at once, with the same seed
    checkpoint_minutes: float = 10.0  # between two saved states that a run cut off goes on from; 0: after every epoch
    predictions: bool = True  # keep the reported weights' probabilities on the test fold: H x W bytes an image
    devices_per_run: int = 1  # devices that share each batch of a run
    max_runs: int | None = None  # end after so many, for a trial


# Fields that say which runs there are or where files lie, and change no run: a sweep may go on with others.
MAY_CHANGE = (
    "models",
    "repeats",
    "max_runs",
    "retries",
    "checkpoint_minutes",
    "predictions",
    "data.resident_gb",
    "data.manual_dir",
    "data.data_dir",
    "data.images",
    "data.masks",
    "data.groups",
)


def check_types(config: Any, prefix: str = "") -> None:
    """Refuses a value that is not of its field's type, which Python lets pass: InputError names the field."""
    for name, kind in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not _is(value, kind):
            expected = f"one of {', '.join(typing.get_args(kind))}" if typing.get_origin(kind) is Literal else str(kind)
            raise InputError(f"{prefix}{name}: {value!r} is not {expected.replace('collections.abc.', '')}")
        if is_dataclass(value):
            check_types(value, f"{prefix}{name}.")


def config_of(tree: Mapping[str, Any]) -> Config:
    """The config that `dataclasses.asdict` and JSON made `tree` of; fields that were not there yet get defaults.

    InputError for a field that this version does not have: without it, it would be another config.
    """

    def made(kind: Any, values: Mapping[str, Any]) -> Any:
        if strange := values.keys() - {each.name for each in fields(kind)}:
            raise InputError(f"it sets {', '.join(sorted(strange))}")
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    parts = {"data": made(Data, tree["data"]), "augment": made(Augment, tree.get("augment", {}))}
    return made(Config, {**tree, **parts})


def _is(value: Any, kind: Any) -> bool:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return value in args
    if origin in (types.UnionType, typing.Union):
        return any(_is(value, one) for one in args)
    if origin is tuple:
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis and isinstance(value, tuple) else list(args)
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is, value, kinds))
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_is(key, args[0]) and _is(value[key], args[1]) for key in value)
    if kind in (int, float):
        return isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind)
