"""The fields and columns of a sweep's files, for `storage.reading`. `storage.layout` says what each file is.

A field that is not required came with a later version, or belongs only to failed or finished records.
"""

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
    score: NotRequired[Literal["trained", "native"]]
    scale: NotRequired[Annotated[float, Meta(gt=0)]]
    spacing: NotRequired[Annotated[float, Meta(ge=0)]]  # millimetres per pixel; 0 where files keep theirs
    validate: NotRequired[Literal["images", "crops"]]
    mask_filter: NotRequired[Literal["nearest", "antialiased", "any"]]


class Settings(TypedDict):
    """The fields of config.json that its readers need besides `config.Config`."""

    data: DataSettings
    augment: NotRequired[dict[str, float]]
    models: Annotated[list[Name], Meta(min_length=1)]  # each once
    weights: NotRequired[str]
    frozen_epochs: NotRequired[Count]
    encoder_learning_rate_factor: NotRequired[float]
    protocol: Literal["paper", "nested"]
    split: NotRequired[str]
    folds: Number
    repeats: Number
    grouped: bool
    inner_validation: Share
    threshold: Share
    empty: metrics.Empty
    loss: str | dict[str, float]
    class_weights: NotRequired[list[float] | Literal["inverse"]]
    optimizer: NotRequired[str]
    schedule: NotRequired[str]
    warmup: NotRequired[float]
    weight_decay: NotRequired[float]
    clip: NotRequired[float]
    ema: NotRequired[float]
    batch_size: Number
    epochs: Number
    monitor: NotRequired[Literal["loss", "jaccard", "soft_jaccard"]]
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
    group_of: NotRequired[dict[str, str]]  # by image id, in the data set's order
    classes: Annotated[list[str], Meta(min_length=2)]  # background first
    window: NotRequired[Window | None]
    clipped: NotRequired[Pair | None]  # see `data.grey_range.largest_shares`; None without a window
    protocol: NotRequired[str]
    grouped: NotRequired[bool]
    folds: list[Cell]


class Images(TypedDict):
    """Numbers of images of a run."""

    train: Count
    validation: Count
    test: Count


class Scoring(TypedDict):
    """The rules that a run was scored by."""

    size: Size
    resolution: NotRequired[Literal["trained", "native"]]  # "trained" for records without it
    threshold: Share
    empty: metrics.Empty


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
    network: NotRequired[str]
    encoder: NotRequired[str]
    skip: NotRequired[str]
    kernel: NotRequired[Kernel | None]
    channels: NotRequired[Number]
    scoring: NotRequired[Scoring]
    config: NotRequired[dict[str, Any]]  # the settings that the run depends on, see `description.flat`
    folds_sha256: NotRequired[str]  # see `description.digest`
    sha256: NotRequired[dict[str, str]]  # digests of the files beside the record
    record_sha256: NotRequired[str]  # digest of all other fields


class Finished(Record):
    """record.json of a finished run."""

    jaccard: Score
    dice: Score
    sensitivity: NotRequired[Score]
    precision: NotRequired[Score]
    specificity: NotRequired[Score]
    best_epoch: Number
    epochs: Number
    capped: NotRequired[bool]  # see `run_files.capped`
    best_on_test: EpochScores
    last: EpochScores
    weights_sha256: NotRequired[str | None]  # null: not recorded
    parameters: NotRequired[Count]
    timing: NotRequired[dict[str, Any]]


class Prepared(TypedDict):
    """data.json."""

    prepared: str  # a folder


class Environment(TypedDict, total=False):
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
    **dict.fromkeys(("jaccard", "dice"), pa.float64()),
}
"""Columns of per_image.parquet; earlier versions wrote no other overlaps than these two."""


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
