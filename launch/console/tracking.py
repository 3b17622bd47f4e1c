"""Logs of a sweep's epochs for TensorBoard or Weights & Biases, written as they end and never read back.

TensorBoard's event files are in the workdir's runs/<model>/repeat<R>-fold<F>/tensorboard/. Those of Weights & Biases
are in its wandb/; WANDB_MODE says whether they are sent anywhere, and "offline" keeps them there.
"""

import contextlib
import dataclasses
import importlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from flax import nnx
from tensorboardX import SummaryWriter

from launch.preview.outlines import outlined
from sharp_unet_jax import decision
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import neighbours, stream
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError, install
from sharp_unet_jax.storage.layout import Run, run_folder
from sharp_unet_jax.sweeps import plan
from sharp_unet_jax.sweeps.events import Ended, EpochEnded, Event, Started, Warned
from sharp_unet_jax.training import compile, epochs, network, train

PICTURES = 4  # validation images, or crops of them, that are drawn for a run


class Tracker(Protocol):
    """A log of one run's epochs."""

    def log(self, row: dict[str, float], picture: np.ndarray | None) -> None:
        """Log an epoch's row of metrics.jsonl, and a picture (h, w, 3) uint8 if it is the best so far."""
        ...

    def close(self) -> None:
        """End the log: the run is over."""
        ...


class TensorBoard:
    """Event files in the run's folder."""

    def __init__(self, folder: Path, first_epoch: int):
        # A run that goes on repeats the epochs after its last saved state: their old rows are purged.
        self.writer = SummaryWriter(str(folder), purge_step=first_epoch)

    def log(self, row: dict[str, float], picture: np.ndarray | None) -> None:
        """See Tracker."""
        epoch = int(row["epoch"])
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(name.replace("_", "/", 1), value, epoch)
        if picture is not None:
            self.writer.add_image("validation/images", picture, epoch, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        """See Tracker."""
        self.writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases for each run, grouped by workdir."""

    def __init__(self, folder: Path, run: Run, config: Config):
        import wandb

        self.wandb = wandb
        self.run = wandb.init(
            project="sharp_unet_jax",
            group=folder.name,
            name=run.name,
            dir=folder,
            config=dataclasses.asdict(config) | run._asdict(),
            reinit="create_new",  # device groups train runs side by side
        )

    def log(self, row: dict[str, float], picture: np.ndarray | None) -> None:
        """See Tracker."""
        pictures = {} if picture is None else {"validation_images": self.wandb.Image(picture)}
        self.run.log({**row, **pictures}, step=int(row["epoch"]))

    def close(self) -> None:
        """See Tracker."""
        self.run.finish()


# By name: a function of the workdir, a run, its config and the first epoch to be logged.
TRACKERS: dict[str, Callable[[Path, Run, Config, int], Tracker]] = {
    "tensorboard": lambda folder, run, _, epoch: TensorBoard(run_folder(folder, run) / "tensorboard", epoch),
    "wandb": lambda folder, run, config, _: WeightsAndBiases(folder, run, config),
}


def check(name: str) -> None:
    """Refuse TRACKERS[name] before any training if the package that it needs is not installed. Raises InputError."""
    if name == "wandb":
        try:
            importlib.import_module("wandb")
        except ImportError as error:
            raise InputError(f"--track=wandb needs wandb: {install('wandb')}") from error


def follow(events: Iterable[Event], name: str, config: Config, data: Dataset, folder: Path) -> Iterator[Event]:
    """Yield a sweep's `events`, and log its runs with TRACKERS[name].

    Where that fails, by a network that is down for instance, an event says so and the runs go on without a log.
    """
    splits = plan.split(config, data)
    on: dict[str, Tracker] = {}
    predictors: dict[str, Callable[[Any, np.ndarray], np.ndarray]] = {}

    def log(event: Event) -> None:
        if isinstance(event, EpochEnded):
            run, progress = event.run, event.epoch.progress
            if run.name not in on:
                on[run.name] = TRACKERS[name](folder, run, config, len(progress.rows))
            picture = None
            if progress.best_epoch == len(progress.rows):
                if run.model not in predictors:
                    predictors[run.model] = _predictor(config, run.model, data)
                images, masks = _drawn(config, data, run, splits[run.repeat, run.fold].validation)
                drawn = neighbours.own(images, config.data.context)
                picture = _picture(drawn, masks, predictors[run.model](progress.best, images))
            on[run.name].log(event.epoch.row, picture)
        elif isinstance(event, Started | Ended) and event.run.name in on:  # a run that is tried again starts anew
            on.pop(event.run.name).close()

    logging = True
    try:
        for event in events:
            try:
                if logging:
                    log(event)
            except Exception as error:  # of any library: nothing of the sweep depends on its log
                logging = False
                reason = " ".join(str(error).split()) or type(error).__name__
                yield Warned(f"--track={name} failed ({reason}); the runs go on without a log")
            yield event
    finally:
        for tracker in on.values():
            with contextlib.nullcontext() if logging else contextlib.suppress(Exception):
                tracker.close()


def _drawn(config: Config, data: Dataset, run: Run, validation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first validation images (n, H, W, C) and masks (n, H, W), or the first crops of such images."""
    if config.data.fit == "crop":
        validation = train.order_of(data, config, validation, plan.seed(config, run), 0)
    return stream.read(data, validation[:PICTURES], config.data.size, config.data.size)


def _predictor(config: Config, model: str, data: Dataset) -> Callable[[Any, np.ndarray], np.ndarray]:
    """Return a function of a run's best weights and images (n, H, W, C) uint8 to masks (n, H, W) uint8.

    The best weights are safe to read: the next epoch's steps overwrite the training state, not these.
    """
    graph = nnx.graphdef(nnx.eval_shape(lambda: epochs.build_network(config, model, data, nnx.Rngs(0))))

    def masks(params: Any, stats: Any, images: jax.Array) -> jax.Array:
        logits = nnx.merge(graph, params, stats)(network.scaled(images))
        return decision.labels(network.probabilities(logits), config.threshold)

    compiled = compile.jit(masks, config, jax.default_backend())

    def predict(best: Any, images: np.ndarray) -> np.ndarray:
        best = jax.device_get({"params": best["params"], "stats": best["stats"]})
        return np.asarray(compiled(best["params"], best["stats"], images))

    return predict


def _picture(images: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Draw the validation images in a row with their truth, and below with their predictions."""
    rows = (
        np.concatenate([outlined(*pair) for pair in zip(images, masks, strict=True)], axis=1)
        for masks in (truth, predicted)
    )
    return np.concatenate(list(rows))
