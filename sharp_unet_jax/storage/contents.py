"""The fields and columns of a sweep's files, for `storage.reading`. `storage.layout` says what each file is."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pyarrow as pa
from msgspec import Meta

from sharp_unet_jax import metrics

Share = Annotated[float, Meta(ge=0, le=1)]
Score = Share | None  # null: empty="nan" left nothing to score
Count = Annotated[int, Meta(ge=0)]
Number = Annotated[int, Meta(ge=1)]
Size = Annotated[list[Number], Meta(min_length=2, max_length=2)]  # height, width
Pair = Annotated[list[float], Meta(min_length=2, max_length=2)]
Window = Annotated[list[float], Meta(min_length=2)]  # low, high, or such a pair per channel
Name = Annotated[str, Meta(pattern=r"^[^./\\][^/\\]*$")]  # names a folder


class DataSettings(TypedDict):
    """The field `data` of config.json."""

    size: Size
    fit: Literal["stretch", "letterbox", "crop"]
    score: Literal["trained", "native"]
    scale: Annotated[float, Meta(gt=0)]
    spacing: Annotated[float, Meta(ge=0)]  # millimetres per pixel; 0 where files keep theirs
    validate: Literal["images", "crops"]
    mask_filter: Literal["nearest", "antialiased", "any"]


class Settings(TypedDict):
    """The fields of config.json that its readers need besides `config.Config`."""

    data: DataSettings
    augment: dict[str, float]
    models: Annotated[list[Name], Meta(min_length=1)]  # each once
    weights: str
    frozen_epochs: Count
    encoder_learning_rate_factor: float
    protocol: Literal["paper", "nested"]
    split: str
    folds: Number
    repeats: Number
    grouped: bool
    inner_validation: Share
    threshold: Share
    empty: metrics.Empty
    loss: str | dict[str, float]
    class_weights: list[float] | Literal["inverse"]
    optimizer: str
    schedule: str
    warmup: float
    weight_decay: float
    clip: float
    ema: float
    batch_size: Number
    epochs: Number
    monitor: Literal["loss", "jaccard", "soft_jaccard"]
    patience: Number
    precision: str
    seed: int


class Cell(TypedDict):
    """A fold of a repeat: ids of images. Images in neither list are trained on."""

    repeat: Count
    fold: Count
    validation: list[str]
    test: list[str]


class Folds(TypedDict):
    """folds.json."""

    dataset: str
    sha256: str  # see `data.digest`
    images: Number
    groups: Number
    group_of: dict[str, str]  # by image id, in the data set's order
    classes: Annotated[list[str], Meta(min_length=2)]  # background first
    window: Window | None
    clipped: Pair | None  # see `data.grey_range.largest_shares`; None without a window
    folds: list[Cell]


class Images(TypedDict):
    """Numbers of images of a run."""

    train: Count
    validation: Count
    test: Count


class Scoring(TypedDict):
    """Numbers behind the scores of a finished run, see `metrics.Score`."""

    images: Count
    dropped: Count


class Kernel(TypedDict):
    """The kernel of a network's sharp blocks."""

    name: str
    padding: str
    sum: float
    scale: float


class EpochScores(TypedDict):
    """Scores of an epoch of a record."""

    epoch: Number
    jaccard: Score
    dice: Score


class Record(TypedDict):
    """record.json of any run."""

    status: Literal["finished", "failed"]
    run: str
    dataset: str
    model: Name
    repeat: Count
    fold: Count
    protocol: str
    images: Images
    network: str
    encoder: str
    skip: str
    kernel: Kernel | None
    channels: Number
    config: dict[str, Any]  # the settings that the run depends on, see `description.flat`
    folds_sha256: str  # see `description.digest`
    sha256: dict[str, str]  # digests of the files beside the record
    record_sha256: str  # digest of all other fields


class Timing(TypedDict):
    """Devices of a run, and how long it took."""

    device: str
    devices: Number
    jax: str
    first_epoch_seconds: float
    train_images_per_second: float  # in the median epoch
    train_seconds: float
    eval_seconds: float
    predict_seconds: NotRequired[float]  # of test images, once more after the last epoch; not always done or recorded


class Finished(Record):
    """record.json of a finished run."""

    jaccard: Score
    dice: Score
    sensitivity: Score
    precision: Score
    specificity: Score
    scoring: Scoring
    best_epoch: Number
    epochs: Number
    capped: bool  # it ended at `epochs` and not by patience, see `stopping.capped`
    best_on_test: EpochScores
    last: EpochScores
    weights_sha256: str | None  # null for packed sweeps whose weights nobody recorded
    parameters: Count
    timing: Timing


class Prepared(TypedDict):
    """data.json."""

    prepared: str  # a folder


class Environment(TypedDict):
    """environment.json. A text reads "A; B" where runs were trained with both."""

    commands: list[str]
    version: str
    commit: str
    python: str
    system: str
    devices: str
    packages: dict[str, str]


Epoch = dict[str, float | None]
"""A line of metrics.jsonl: the number `epoch`, and values by name, null for NaN."""

_COUNTS = ("intersection", "union", "truth", "predicted")
PER_IMAGE: dict[str, pa.DataType] = {
    **dict.fromkeys(("run", "image_id", "class"), pa.string()),
    **dict.fromkeys(_COUNTS, pa.int64()),
    **dict.fromkeys(("jaccard", "dice", "sensitivity", "precision", "specificity"), pa.float64()),
}
"""Columns of per_image.parquet; `metrics.OVERLAPS` may have got more."""


class RuleFields(TypedDict):
    """A `decision.Rule`."""

    threshold: Share
    fill: bool
    smallest: Count
    largest: bool


class Gain(TypedDict):
    """The mean Jaccard of images by a choice, and how much higher it is than without: shares, not points.

    Without it, a network has the threshold of the config, and several networks are the best of them with its own rule.
    """

    jaccard: float | None
    gain: float | None
    low: float | None  # 95 % interval of the gain; None where there are too few images, groups or runs
    high: float | None
    images: Count
    groups: Count
    runs: Count  # that predicted the images; an interval of test images is over these


class ChosenFold(TypedDict):
    """The choice on the inner validation images of one fold."""

    networks: Annotated[list[Name], Meta(min_length=1)]
    rule: RuleFields


class Chosen(TypedDict):
    """The networks whose mean predicts, and the rule of their masks."""

    networks: Annotated[list[Name], Meta(min_length=1)]  # one, where a mean with others gains nothing
    rule: RuleFields  # of the mean of all runs, chosen on the inner validation images of all folds
    validation: Gain  # of that choice, on the images that it was taken on
    folds: dict[str, ChosenFold]  # by "repeatR-foldF"
    test: Gain  # of the choices of the folds, on the test images of each


class Choice(TypedDict):
    """choice.json."""

    weights_sha256: dict[str, str]  # of the runs that it was taken with, by name
    models: dict[Name, Chosen]  # each network on its own
    ensemble: Chosen | None  # of all networks; None for one, or where they have no fold in common
