"""Train one model on arrays: a run without cross-validation, by the code that trains the runs of a sweep."""

import contextlib
import dataclasses
import difflib
import os
import tempfile
import warnings
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import chex
import jax
import numpy as np

from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.data import arrays, folds, pixels, prepared
from sharp_unet_jax.data.arrays import Arrays
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.data.resize import Fit, Size
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import display, loading
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.storage import atomic
from sharp_unet_jax.storage.layout import CONFIG, Run, run_folder
from sharp_unet_jax.sweeps import check, sweep, workdir
from sharp_unet_jax.sweeps.events import Ended, EpochEnded, Warned

# Fields of a config that `fit` has arguments for, and those of several runs.
_ARGUMENTS = {"data", "models", "protocol", "grouped", "inner_validation", "devices_per_run"}
_SEVERAL = {"split", "folds", "repeats", "max_runs"}
# Fields of config.data that apply to arrays. Those after `score` apply only with `crop`.
_OF_DATA = ("score", "scale", "crops", "share", "foreground", "validate")
SETTINGS = (
    *(field.name for field in dataclasses.fields(Config) if field.name not in _ARGUMENTS | _SEVERAL),
    *_OF_DATA,
)


def fit(
    model: str,
    images: Arrays,
    masks: Arrays,
    *,
    validation: float | tuple[Arrays, Arrays] = 0.2,
    groups: Sequence[Hashable] | None = None,
    classes: Sequence[str] = ("background", "foreground"),
    size: Size | None = None,
    letterbox: bool = False,
    crop: bool = False,
    window: Sequence[float] | Sequence[tuple[float, float]] | None = None,
    name: str = "arrays",
    folder: str | Path | None = None,
    on_epoch: Callable[[dict[str, float]], object] | None = None,
    devices: Sequence[jax.Device] | None = None,
    **settings: Any,
) -> Trained:
    """Train one model; return it with the weights of the epoch that is best on the validation images by `monitor`.

    Validation images choose that epoch, so scores on them flatter: score it on other images, or cross-validate
    (`python -m launch.cv`). The same arguments on the same kind of CPU give the same weights.

    >>> import sharp_unet_jax
    >>> images = np.zeros((10, 16, 24, 3), np.uint8)
    >>> images[:, 4:12, 6:18] = 200
    >>> masks = images[..., 0] > 100
    >>> run = sharp_unet_jax.fit("sharp_unet", images, masks, epochs=2, batch_size=4)
    >>> (probabilities,) = run.predict([images[0]])
    >>> probabilities.shape, probabilities.dtype
    ((16, 24, 1), dtype('float32'))

    Images of several sizes, at their own resolution, are trained on in crops:

    >>> crops = dict(crop=True, size=(16, 16), foreground=0.5)
    >>> pairs = [images[0], images[1, :, :20]], [masks[0], masks[1, :, :20]]
    >>> run = sharp_unet_jax.fit("sharp_unet", *pairs, validation=0.5, epochs=1, batch_size=4, **crops)
    >>> [one.shape for one in run.predict(pairs[0])]
    [(16, 24, 1), (16, 20, 1)]

    Args:
        model: a name in `models.MODELS`.
        images: (n, H, W, C) or grey (n, H, W), or a list of images of any sizes; uint8, or any dtype with a `window`.
        masks: (n, H, W) or a list: the class of each pixel, 0 to len(classes) - 1, bool for 0 and 1, 255 to ignore it.
        validation: share of the images, drawn at random by `seed`; or a pair (images, masks).
        groups: one value per image, such as its patient or video; a group is not split by `validation`.
        classes: names, background first.
        size: (height, width) in pixels that images are resized to, by default their own; or with `crop` the crops'.
            Predictions come at each image's own size.
        letterbox: resize without changing the aspect, and pad; by default images are stretched.
        crop: leave images at their own resolution, of any sizes, and train on random crops of `size`. Whole images are
            predicted and scored by overlapping tiles of that size.
        window: the values that become 0 and 255: (0, 1) for fractions, (-512, 512) for a lung in Hounsfield units,
            or such a pair for each channel. uint8 images stay as they are. The model predicts from such images too.
        name: of the data, for records and model cards.
        folder: where to keep the run, as a sweep does, for `launch.predict`, `launch.export`, `launch.report` and
            `load(folder)`. An interrupted call continues there when it is repeated; several models may share a
            folder, and `load(folder, model)` then reads one. By default nothing is kept.
        on_epoch: called with a row after every epoch: `epoch`, `learning_rate`, `train_loss`, `validation_loss` and,
            as `validation_jaccard`, the overlaps of `metrics.OVERLAPS`, means over images.
        devices: they share every batch; by default the first one.
        settings: fields of `config.Config` and `config.Data` in `SETTINGS`, such as `epochs`, `patience`, `batch_size`,
            `learning_rate`, `loss`, `optimizer`, `schedule`, `ema`, `weights`, `seed`, `augment=Augment(flip=0.5)`;
            with `crop` also `scale`, `crops`, `share`, `foreground` and `validate`.

    Raises:
        InputError: one line, for arrays, labels or settings that cannot be used, a `folder` of other runs, or a loss
            that became NaN.
    """
    settings = _settings(settings)
    of_data = {name: settings.pop(name) for name in _OF_DATA if name in settings}
    how = _fit(size, of_data, letterbox=letterbox, crop=crop)
    ends = _window(window)
    _check_classes(classes)
    devices = devices or jax.local_devices()[:1]
    config = Config(
        data=Data(builder="arrays", size=_given(size), fit=how, **of_data),
        models=(model,),
        repeats=1,
        grouped=groups is not None,
        inner_validation=_share(validation),
        devices_per_run=len(devices),
        **{"predictions": folder is not None, **settings},
    )
    check.config(config, len(devices))  # all that needs no image, before any is looked at
    check.classes(config, classes)
    check.files(config)
    path = Path(os.path.expanduser(folder)) if folder else None
    if path:
        atomic.check_writable(path)
    pairs, held = _pairs(images, masks, groups, validation, ends)
    if size is None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, size=_size(pairs + held)))
        check.config(config, len(devices))
    if path:
        check.folder(_of_run(config, path), path)
    dataset = _dataset(pairs + held, config, name, classes, ends)
    return _train(config, dataset, _split(dataset, config, len(held)), path, devices, on_epoch)


def _settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with Python's numbers for NumPy's; InputError for one that does not exist."""
    for unknown in settings.keys() - set(SETTINGS):
        near = difflib.get_close_matches(unknown, SETTINGS, n=1, cutoff=0)[0]
        raise InputError(f"{unknown}: fit has no such setting; did you mean {near!r}? There are {', '.join(SETTINGS)}")
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in settings.items()}


def _fit(size: Any, of_data: dict[str, Any], *, letterbox: bool, crop: bool) -> Fit:
    """Return how images come to the size of training. Raises InputError for arguments that contradict each other."""
    if not crop:
        if wrong := [name for name in of_data if name in check.CROPS_ALONE]:
            raise InputError(f"{wrong[0]}: is only for crop=True")
        return "letterbox" if letterbox else "stretch"
    if letterbox:
        raise InputError("letterbox: images are not resized with crop=True; give one of the two")
    if size is None:
        raise InputError(
            "size: with crop=True give size=(H, W) of the crops, such as (256, 256): it decides how much of an image "
            "the network sees at once, and the memory"
        )
    return "crop"


def _pairs(
    images: Arrays,
    masks: Arrays,
    groups: Sequence[Hashable] | None,
    validation: float | tuple[Arrays, Arrays],
    window: pixels.Window | None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return examples to train on, and examples to validate on: none where these are a share of the former.

    Raises InputError.
    """
    examples = arrays.examples(images, masks, "", groups, window)
    if isinstance(validation, float):
        return examples, []
    return examples, arrays.examples(*validation, "validation ", None, window)


def _share(validation: float | tuple[Arrays, Arrays]) -> float:
    """Return the share of the images that validates, the default where validation images are given.

    Raises InputError for what is neither.
    """
    if isinstance(validation, (tuple, list)) and len(validation) == 2:
        return Config.inner_validation
    if not isinstance(validation, float) or not 0 < validation < 1:
        value = validation if isinstance(validation, (int, float)) else f"a {type(validation).__name__}"
        raise InputError(f"validation: give a share between 0 and 1, or a pair (images, masks), not {value}")
    return validation


def _window(window: Any) -> pixels.Window | None:
    """Return (low, high), or such a pair for each channel, as one flat tuple; InputError for anything else."""
    if window is None:
        return None
    with contextlib.suppress(InputError, TypeError, ValueError):
        ends = np.asarray(window, float)
        if ends.ndim == 1 or ends.shape[1:] == (2,):
            given = tuple(ends.ravel().tolist())
            pixels.check_window("window", given)
            return given
    raise InputError(f"window: give (low, high), not {window}; or such a pair for each channel")


def _check_classes(classes: Sequence[str]) -> None:
    """Raise InputError for anything but names, at least two, each once."""
    names = not isinstance(classes, str) and all(isinstance(each, str) for each in classes)
    if not names or not 2 <= len(classes) == len(set(classes)):
        raise InputError(f"classes: give names, at least two, each once, the background first; not {classes!r}")


def _given(size: Any) -> Any:
    """Return the size that is given, with Python's numbers for NumPy's; without one, a size that suits all networks."""
    if size is None:
        return check.LARGEST, check.LARGEST
    return (size[0].item(), size[1].item()) if isinstance(size, np.ndarray) and size.shape == (2,) else size


def _size(examples: list[dict[str, Any]]) -> Size:
    """Return the size of all images; InputError if they differ."""
    sizes = sorted({example["image"].shape[:2] for example in examples})
    if len(sizes) > 1:
        raise InputError(f"the images are of {len(sizes)} sizes, from {sizes[0]} to {sizes[-1]}: give size=(H, W)")
    return sizes[0]


def _dataset(
    examples: list[dict[str, Any]],
    config: Config,
    name: str,
    classes: Sequence[str],
    window: pixels.Window | None,
) -> Dataset:
    """Return the examples at the size of training, in memory."""
    dataset = prepared.prepare(examples, name=name, classes=tuple(classes), data=config.data, window=window)
    if config.data.fit != "crop":
        shape = len(examples), *config.data.size
        chex.assert_shape([dataset.images, dataset.masks], [(*shape, None), shape])
        chex.assert_type([dataset.images, dataset.masks], np.uint8)
    return dataset


def _split(dataset: Dataset, config: Config, held: int) -> folds.Split:
    """Return the images to train and to validate on; the last `held` ones validate, or a share if there are none."""
    every = np.arange(len(dataset.ids))
    share = config.inner_validation
    inner = every[-held:] if held else folds.portion(dataset.groups, share, f"{config.seed}/fit")
    split = folds.Split(np.setdiff1d(every, inner), inner, inner)
    if not len(split.train):
        raise InputError(f"{len(every)} images in {len(set(dataset.groups))} groups: too few to train and validate on")
    return split


def _train(
    config: Config,
    dataset: Dataset,
    split: folds.Split,
    folder: Path | None,
    devices: Sequence[jax.Device],
    on_epoch: Callable[[dict[str, float]], object] | None,
) -> Trained:
    """Train the one run in `folder`, or in a temporary one, unless it is finished; return it as it was saved."""
    run = Run(0, 0, config.models[0])
    with contextlib.ExitStack() as stack:
        path = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = _of_run(config, path)
        events = sweep.train(config, dataset, path, devices, only=run.name, splits={(0, 0): split})
        for event in stack.enter_context(contextlib.closing(events)):
            if isinstance(event, EpochEnded) and on_epoch:
                # The validation images are the test images of this sweep too: their scores are in the row twice.
                on_epoch({key: value for key, value in event.epoch.row.items() if not key.startswith("test_")})
            elif isinstance(event, Warned):
                warnings.warn(event.text, stacklevel=3)
            elif isinstance(event, Ended) and event.record["status"] == "failed":
                raise InputError(f"{run.model}: {event.record['reason']}; try a lower learning_rate")
        workdir.collect(path, config)
        fitted, examples = loading.load_run(run_folder(path, run), plain=True), _examples(dataset, split.validation)
        return dataclasses.replace(fitted, examples=lambda: examples)


def _of_run(config: Config, folder: Path) -> Config:
    """Return the config as the workdir `folder` keeps it, with the models that were trained there before."""
    others = workdir.read_config(folder).models if (folder / CONFIG).exists() else ()
    return dataclasses.replace(config, folds=1, models=tuple(dict.fromkeys((*others, *config.models))))


def _examples(dataset: Dataset, validation: np.ndarray) -> display.Examples:
    """Return copies of the first validation images, as they are trained on: a view would keep all others."""
    first = validation[: display.EXAMPLES].tolist()
    return display.Examples(*([np.array(part[row]) for row in first] for part in (dataset.images, dataset.masks)))
