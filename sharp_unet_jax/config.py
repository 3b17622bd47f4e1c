"""The settings of a sweep, each with its unit or rule.

Config, data and a run's name determine every bit of the run, on a CPU, or on a GPU with `deterministic`.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from sharp_unet_jax.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Data:
    """Source of images and masks, and the size at which they are trained on and scored."""

    builder: str = "phantom"  # a TFDS builder in datasets/, or "builder/its_config"
    size: tuple[int, int] = (64, 64)  # (height, width) in pixels
    # How images come to that size. stretch and letterbox resize them whole; letterbox keeps the aspect, and its padding
    # is not scored. crop trains on random crops of that size, and predicts whole images by overlapping tiles of it.
    fit: Literal["stretch", "letterbox", "crop"] = "stretch"
    # The label of a pixel of a resized mask: that of its nearest neighbour, or as in the paper's code the one with the
    # largest share of the pixel, or any above 0 that has a share: objects grow.
    mask_filter: Literal["nearest", "antialiased", "any"] = "nearest"
    manual_dir: str = ""  # folder of the files you downloaded; "" is TFDS's own default
    data_dir: str = ""  # folder of built data sets; "" is TFDS's own default
    context: int = 0  # neighbours of each slice of a volume, on either side, that are channels of it too (2.5-D)
    # A data set up to so many GB lies on every device, with fit=crop images of at most 2.1 GB; a larger one is read
    # batch by batch.
    resident_gb: float = 4.0
    # Resolution that reported scores are computed at: that of training, or that of the files.
    score: Literal["trained", "native"] = "trained"
    # Only for fit=crop, as the next five: images are enlarged or shrunk by this factor, 1 leaves them as they are
    scale: float = 1.0
    spacing: float = 0.0  # mm per pixel that all images are brought to, if their files say theirs; 0 leaves them
    crops: int = 0  # crops per epoch; 0: as many as have the pixels of the training images, at least one per image
    share: Literal["image", "area"] = "image"  # crops are shared out among images alike, or by the images' pixels
    foreground: float = 0.33  # share of the crops that are centred on a pixel of a random foreground class
    # What an epoch is scored on: whole images, or random crops of them that are the same every time and cost less.
    validate: Literal["images", "crops"] = "images"
    # Only for builder "folder", as all of the following: a folder of images, or with images/ and masks/, or nnU-Net's.
    images: str = ""
    masks: str = ""  # a folder of masks or of LabelMe files, a COCO file, or a pattern: "data/*/*_mask.png"
    table: str = ""  # a CSV with the columns image,mask and perhaps id,group, instead of the two folders
    groups: str = ""  # a CSV with the columns id,group; or "folders", the outermost one of each image
    image_prefix: str = ""  # start of image names that mask names lack
    image_suffix: str = ""  # end of image names that mask names lack, before ".png"
    mask_prefix: str = ""  # start of mask names that image names lack
    mask_suffix: str = ""  # end of mask names that image names lack, such as "_lesion"
    channel_files: tuple[str, ...] = ()  # endings of names, if each channel of an image is a file of its own
    class_files: tuple[str, ...] = ()  # folders or endings of masks, if each class is a file of its own; the first wins
    classes: tuple[str, ...] = ()  # names, background first, or name=#rrggbb, name=128; () finds them in the masks
    labels: Literal["classes", "any"] = "classes"  # any: every label above 0 is the one foreground
    # Value, colour "#rrggbb" or, in annotations, name of what is neither trained on nor scored.
    ignore: str = ""
    pages: Literal["", "channels", "slices"] = ""  # the pages of a TIF, if the file does not say
    axis: Literal["axial", "coronal", "sagittal"] = "axial"  # of the slices that a NIfTI volume is cut into
    # low,high that become 0 and 255, for several channels low,high,low,high; () finds it
    window: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of training images and their masks, see data.augment. 0, the default, changes nothing."""

    flip: float = 0.0  # probability of a flip left to right, and independently of a flip upside down
    turn: float = 0.0  # probability of a turn by 90, 180 or 270 degrees; by 180 if images are not square
    rotate: float = 0.0  # degrees, at most, in either direction
    zoom: float = 0.0  # 0.2 enlarges or shrinks by a factor from 1/1.2 to 1.2
    shift: float = 0.0  # share of height and of width, at most, in either direction
    elastic: float = 0.0  # pixels: standard deviation of the displacements of a 3 x 3 grid, interpolated in between
    brightness: float = 0.0  # share of the range of values, at most, added or subtracted
    contrast: float = 0.0  # 0.2: distances from each channel's mean are multiplied by 1/1.2 to 1.2
    gamma: float = 0.0  # 0.2: exponents from 1/1.2 to 1.2
    blur: float = 0.0  # pixels: standard deviation of a Gaussian, at most; half of the images stay sharp
    noise: float = 0.0  # share of the range of values: standard deviation, at most; half of the images get none

    def __bool__(self) -> bool:
        """Return True if anything is changed."""
        return any(getattr(self, each.name) for each in fields(self))


@dataclass(frozen=True, kw_only=True)
class Config:
    """A sweep: `models` x `repeats` x `folds` runs. Defaults are the paper's, if it states a value."""

    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)
    models: tuple[str, ...] = ("unet", "sharp_unet")  # names, which --help-config=models lists
    skip_kernel: str = "laplacian"  # kernel of the sharp models; --help-config=skip_kernel lists the names
    skip_padding: Literal["zero", "reflect"] = "zero"  # around feature maps in the sharp block

    weights: str = ""  # to start from: "imagenet", a file of weights, or a run's folder; "" trains from scratch
    frozen_epochs: int = 0  # epochs at the start that leave the encoder unchanged
    encoder_learning_rate_factor: float = 1.0  # the encoder's learning rate as a multiple of learning_rate

    protocol: Literal["paper", "nested"] = "paper"  # nested: no decision is taken on the fold that is reported
    # folds: drawn at random. authors: the one split of the paper's code, with folds=1; repeats differ only in seed. Or
    # a file of your own folds: a CSV id,fold, a JSON {id: fold}, the folds.json of a workdir, or nnU-Net's
    # splits_final.json.
    split: str = "folds"
    folds: int = 5  # parts that the images are divided into; each is the test set once
    repeats: int = 5  # times that the images are divided into folds
    grouped: bool = False  # never split a group (a video sequence, a patient, neighbouring slices) across folds
    inner_validation: float = 0.2  # nested: share of the training folds that decisions are taken on
    threshold: float = 0.5  # probability above which a pixel is foreground, with num_classes = 1
    empty: Literal["one", "zero", "nan"] = "one"  # score of a class in neither truth nor prediction; nan excludes it

    loss: str | Mapping[str, float] = "cross_entropy"  # a name in sharp_unet_jax.losses, or {name: weight, ...}
    # Weight of each class's pixels in cross_entropy and distance_penalty, background first; other losses have none.
    # inverse: in inverse proportion to the pixels that a class has in the training images; the mean over these is 1.
    class_weights: tuple[float, ...] | Literal["inverse"] = ()
    # Only for networks with several heads: each head's share of the loss, the last head's last; () is the same for all.
    deep_supervision: tuple[float, ...] = ()
    prediction_head: Literal["mean", "last"] = "mean"  # the same networks: mean probability of the heads, or the last's
    batch_size: int = 16  # images, or crops, per step, over all devices of the run; the paper does not say
    # sgd has Nesterov's momentum of 0.99, as nnU-Net has. adamw is adam with decoupled weight decay.
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-3  # at the start of the schedule, its highest; the paper's, for Adam
    # plateau drops the learning rate by the plateau_* settings and min_learning_rate, which no other schedule reads.
    # cosine and poly (power 0.9) lower it at every step, to 0 after `epochs`. A run stops by patience with all of them.
    schedule: Literal["plateau", "constant", "cosine", "poly"] = "plateau"
    warmup: float = 0.0  # epochs at the start in which the learning rate rises linearly; the schedule begins after them
    # L2 decay of the weights of convolutions: adam and sgd add this share of them to the gradient. With adamw it is
    # decoupled: this share, times the learning rate, is subtracted at every step. Biases and normalisation have none.
    weight_decay: float = 0.0
    clip: float = 0.0  # norm of all gradients together, at most: larger ones are scaled down to it; 0 scales none
    # Decay, at every step, of the average of weights and running statistics that is scored, kept and reported instead
    # of the last weights; 0 keeps none.
    ema: float = 0.0
    epochs: int = 150  # at most; the paper does not say
    # Score of the validation images that decides on the best epoch, on stopping and on the learning rate. jaccard is
    # the reported one; soft_jaccard is that of probabilities, see metrics.soft_jaccard.
    monitor: Literal["loss", "jaccard", "soft_jaccard"] = "loss"
    patience: int = 20  # epochs without a better one after which a run stops; the paper does not say
    min_delta: float = 0.0  # an epoch is better if its monitor beats the best one's by more than this
    plateau_patience: int = 10  # epochs without a better one after which the learning rate drops; the paper is silent
    plateau_min_delta: float = 0.0  # min_delta of the learning rate's own count of better epochs
    plateau_factor: float = 0.1  # the learning rate is multiplied by it when it drops; the paper does not say
    min_learning_rate: float = 0.0  # the learning rate never drops below it on a plateau
    # The network's arithmetic; parameters stay float32. tf32 is a GPU's TensorFloat-32, and float32 elsewhere.
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    accumulate: int = 1  # micro-batches of a batch, to save memory (not on a CPU); each has its own batch statistics
    remat: bool = False  # recompute blocks for their gradient, to save memory (not on a CPU)
    deterministic: bool = False  # on a GPU: the same bits every time, but slower; a CPU always gives the same bits
    seed: int = 0

    retries: int = 0  # times that a run is trained again at once, with the same seed, if its loss became NaN
    checkpoint_minutes: float = 10.0  # minutes between saved states, to continue a run from; 0: every epoch
    predictions: bool = True  # keep the probabilities of the test fold: a byte per class and pixel, as trained
    devices_per_run: int = 1  # devices that share each batch of a run
    max_runs: int | None = None  # end after so many runs, for a trial


PLACES = tuple(f"data.{name}" for name in ("manual_dir", "data_dir", "images", "masks", "table", "groups"))
"""Fields that name files and folders of one machine."""

# Fields that choose runs or name files and folders, and change no run: a sweep may continue with other values. A sweep
# whose split differs is refused by its folds.json. `epochs` is of another kind: with a larger number, the runs that the
# smaller one capped go on, see `stopping`.
MAY_CHANGE = (
    "models",
    "split",
    "repeats",
    "max_runs",
    "retries",
    "checkpoint_minutes",
    "predictions",
    "data.resident_gb",
    *PLACES,
)


def check_types(config: Any, prefix: str = "") -> None:
    """Raise InputError, which names the field, for a value that does not have its field's type: Python checks none."""
    for name, kind in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not _has_type(value, kind):
            expected = f"one of {', '.join(typing.get_args(kind))}" if typing.get_origin(kind) is Literal else str(kind)
            raise InputError(f"{prefix}{name}: {_text(value)} is not {expected.replace('collections.abc.', '')}")
        if is_dataclass(value):
            check_types(value, f"{prefix}{name}.")


def config_of(tree: Mapping[str, Any]) -> Config:
    """Return the config that `dataclasses.asdict` turned into `tree`, also by way of JSON.

    A field that is missing gets its default. Raises InputError for a field that this version does not have: without
    it, the config would be another one.
    """

    def build(kind: Any, values: Mapping[str, Any]) -> Any:
        if unknown := values.keys() - {each.name for each in fields(kind)}:
            raise InputError(f"it sets {', '.join(sorted(unknown))}")
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    parts = {"data": build(Data, tree["data"]), "augment": build(Augment, tree["augment"])}
    return build(Config, {**tree, **parts})


def _has_type(value: Any, kind: Any) -> bool:
    """Return True if `value` has the type `kind`, of those that fields have; an int passes as a float."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return value in args
    if origin in (types.UnionType, typing.Union):
        return any(_has_type(value, one) for one in args)
    if origin is tuple:
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis and isinstance(value, tuple) else list(args)
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_has_type, value, kinds))
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            _has_type(key, args[0]) and _has_type(value[key], args[1]) for key in value
        )
    if kind in (int, float) and isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 10**100
    if kind is str:
        return isinstance(value, str) and "\0" not in value  # no path may hold it
    return isinstance(value, kind)


def _text(value: Any) -> str:
    """Return how Python writes a value, cut to 200 letters; it refuses to write a number of more than 4300 digits."""
    try:
        return f"{value!r:.200}"
    except ValueError:
        return "a number of thousands of digits"
