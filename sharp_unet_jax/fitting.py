"""One model trained on arrays: a run without cross-validation, by the same code as the runs of a sweep."""

import contextlib
import dataclasses
import difflib
import tempfile
import warnings
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.data import arrays, folds, resident
from sharp_unet_jax.data.arrays import Arrays
from sharp_unet_jax.data.resize import Size
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import trained
from sharp_unet_jax.storage.layout import Run, run_folder
from sharp_unet_jax.sweeps import check, sweep, workdir
from sharp_unet_jax.sweeps.events import Ended, EpochEnded, Warned

# Fields of a config that `fit` has arguments for, and those of several runs.
_SETTLED = {"data", "models", "protocol", "grouped", "inner_validation", "devices_per_run"}
_SEVERAL = {"folds", "repeats", "max_runs"}
SETTINGS = tuple(field.name for field in dataclasses.fields(Config) if field.name not in _SETTLED | _SEVERAL)


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
    window: tuple[float, float] | None = None,
    name: str = "arrays",
    folder: str | Path | None = None,
    on_epoch: Callable[[dict[str, float]], object] | None = None,
    devices: Sequence[jax.Device] | None = None,
    **settings: Any,
) -> trained.Trained:
    """Trains one model; it has the weights of the epoch with the lowest validation loss.

    That epoch is chosen on the validation images, so scores on them flatter: keep images aside to score it on, or
    cross-validate (`python -m launch.cv`). The same arguments on the same kind of CPU give the same weights.

    >>> import sharp_unet_jax
    >>> images = np.zeros((10, 16, 24, 3), np.uint8)
    >>> images[:, 4:12, 6:18] = 200
    >>> masks = images[..., 0] > 100
    >>> history = []
    >>> run = sharp_unet_jax.fit("sharp_unet", images, masks, epochs=2, batch_size=4, on_epoch=history.append)
    >>> [row["epoch"] for row in history]
    [1, 2]
    >>> (probabilities,) = run.predict([images[0]])
    >>> probabilities.shape, probabilities.dtype
    ((16, 24, 1), dtype('float32'))

    Args:
        model: a name in `models.MODELS`.
        images: (n, H, W, C) or, of grey, (n, H, W); or a list of images of differing sizes. uint8, or with a `window`
            any numbers.
        masks: (n, H, W), or a list: the class of each pixel, a whole number from 0 to len(classes) - 1, or 255 where
            nothing is to be learnt. False and True are 0 and 1.
        validation: the share of the images that is taken for it, at random by `seed`; or images and masks for it.
        groups: of every image, what must not be split between training and validation: its patient, its video.
        classes: their names, the background first.
        size: (height, width) in pixels to train at; by default the images' own. Images are resized to it for training
            and for prediction, and predictions come at each image's own size.
        letterbox: resizing keeps the aspect and pads, instead of stretching.
        window: what becomes 0 and 255 of images that are not uint8: (0, 1) for fractions, (-512, 512) for a lung in
            Hounsfield units. The model then predicts of such images too.
        name: of the data, for records and for the card of an exported model.
        folder: where to leave the run as a sweep leaves its runs, which `launch.predict`, `launch.export` and
            `launch.report` read; `load` reads `folder`/runs/`model`/repeat0-fold0. A call that was cut off goes on from
            there when it is made again, and several models may share a folder. Without it nothing is kept.
        on_epoch: is given a row when an epoch has ended: `epoch`, `learning_rate`, `train_loss`, `validation_loss`,
            `validation_jaccard`, `validation_dice`, the last three means over images.
        devices: that share every batch; by default the first.
        settings: fields of `config.Config`, of those in `SETTINGS`: `epochs` at most, `patience` in epochs,
            `batch_size` in images, `learning_rate`, `loss`, `weights`, `augment=Augment(flip=0.5)`, `seed`, ...

    Raises:
        InputError: one line, for arrays of another type or shape, labels beyond the classes, a setting that does not
            exist or cannot be, a `folder` of other runs, or a loss that became NaN.
    """
    for unknown in settings.keys() - set(SETTINGS):
        near = difflib.get_close_matches(unknown, SETTINGS, n=1, cutoff=0)[0]
        raise InputError(f"{unknown}: fit has no such setting; did you mean {near!r}? There are {', '.join(SETTINGS)}")
    # What NumPy counts is as good as what Python does.
    settings = {key: value.item() if isinstance(value, np.generic) else value for key, value in settings.items()}
    size = (size[0].item(), size[1].item()) if isinstance(size, np.ndarray) and size.shape == (2,) else size
    if window is not None and not (np.shape(window) == (2,) and window[0] < window[1]):
        raise InputError(f"window: give (low, high), not {window}")
    examples, held = arrays.examples(images, masks, "", groups, window), []
    share: Any = validation
    if isinstance(validation, (tuple, list)) and len(validation) == 2:
        held, share = arrays.examples(*validation, "validation ", None, window), Config.inner_validation
    if not isinstance(share, float) or not 0 < share < 1:
        given = share if isinstance(share, (int, float)) else f"a {type(validation).__name__}"
        raise InputError(f"validation: give a share between 0 and 1, or a pair (images, masks), not {given}")
    named = not isinstance(classes, str) and all(isinstance(each, str) for each in classes)
    if not named or not 2 <= len(classes) == len(set(classes)):
        raise InputError(f"classes: give names, at least two, each once, the background first; not {classes!r}")
    sizes = sorted({example["image"].shape[:2] for example in examples + held})
    if size is None and len(sizes) > 1:
        raise InputError(f"the images are of {len(sizes)} sizes, from {sizes[0]} to {sizes[-1]}: give size=(H, W)")
    devices = devices or jax.local_devices()[:1]
    config = Config(
        data=Data(builder="arrays", size=size or sizes[0], fit="letterbox" if letterbox else "stretch"),
        models=(model,),
        repeats=1,
        grouped=groups is not None,
        inner_validation=share,
        devices_per_run=len(devices),
        **{"predictions": folder is not None, **settings},
    )
    check.config(config, len(devices))
    dataset = resident.prepare(
        examples + held,
        name=name,
        classes=tuple(classes),
        size=config.data.size,
        fit=config.data.fit,
        window=window,
    )
    every = np.arange(len(dataset.ids))
    inner = every[len(examples) :] if held else folds.portion(dataset.groups, share, f"{config.seed}/fit")
    split = folds.Split(np.setdiff1d(every, inner), inner, inner)
    if not len(split.train):
        raise InputError(f"{len(every)} images in {len(set(dataset.groups))} groups: too few to train and validate on")
    with contextlib.ExitStack() as stack:
        where = Path(folder or stack.enter_context(tempfile.TemporaryDirectory())).expanduser()
        others = workdir.read_config(where).models if (where / "config.json").exists() else ()
        config = dataclasses.replace(config, folds=1, models=tuple(dict.fromkeys((*others, model))))
        return _made(config, dataset, where, Run(0, 0, model), split, devices, on_epoch)


def _made(
    config: Config,
    dataset: resident.Dataset,
    folder: Path,
    run: Run,
    split: folds.Split,
    devices: Sequence[jax.Device],
    on_epoch: Callable[[dict[str, float]], object] | None,
) -> trained.Trained:
    """Makes the one run in `folder`, unless it is there already, and reads it back."""
    events = sweep.train(config, dataset, folder, devices, only=run.name, splits={(0, 0): split})
    with contextlib.closing(events):
        for event in events:
            if isinstance(event, EpochEnded) and on_epoch:
                # Under this protocol the test images are those of the validation.
                on_epoch({key: value for key, value in event.epoch.row.items() if not key.startswith("test_")})
            elif isinstance(event, Warned):
                warnings.warn(event.text, stacklevel=3)
            elif isinstance(event, Ended) and event.record["status"] == "failed":
                raise InputError(f"{run.model}: {event.record['reason']}; try a lower learning_rate")
    workdir.collect(folder, config)
    return trained.load(run_folder(folder, run))
