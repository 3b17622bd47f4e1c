"""A run: its epochs, and the decisions between them (early stopping, learning rate, best weights).

A run is a pure function of config, data set, split, seed and pretrained weights: on a CPU, or on a GPU with
`deterministic=true`, the same ones give the same bits.
"""

import time
from collections.abc import Generator
from typing import Any, NamedTuple

import jax
import numpy as np

from sharp_unet_jax import metrics
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.folds import Split
from sharp_unet_jax.training import decisions, distributed
from sharp_unet_jax.training.epochs import Program, State


class DivergedError(Exception):
    """A loss that became NaN or infinite."""

    def __init__(self, epoch: int, loss: str):
        super().__init__(f"{loss} became NaN or infinite in epoch {epoch}")
        self.epoch = epoch


class Progress(NamedTuple):
    """A run between two epochs. The order of the images and their augmentation depend on seed and epoch alone."""

    state: State  # on the devices; the next epoch overwrites it
    best: dict[str, Any]  # params and stats of the best epoch, and its counts (n_test, classes, 3), see network.counts
    rows: list[dict[str, float]]  # one an epoch
    best_epoch: int  # from 1; 0 before the first epoch
    learning_rate: float  # of the next epoch

    def over(self, config: Config) -> bool:
        """Return True if the run has no further epoch."""
        return len(self.rows) in (config.epochs, self.best_epoch + config.patience)


class Epoch(NamedTuple):
    """A finished epoch of a run."""

    row: dict[str, float]  # its number, learning rate, losses and overlaps: a line of metrics.jsonl
    train_seconds: float
    eval_seconds: float
    progress: Progress


class Result(NamedTuple):
    """A finished run."""

    rows: list[dict[str, float]]  # one an epoch
    best_epoch: int  # from 1
    params: dict[str, Any]  # after the best epoch
    stats: dict[str, Any]  # after the best epoch
    counts: np.ndarray  # after the best epoch: (n_test, classes, 3), see network.counts


def fit(
    program: Program, split: Split, config: Config, *, binary: bool, seed: int, start: Progress | None = None
) -> Generator[Epoch, None, Result]:
    """Train one run and yield every epoch when it ends.

    The result has the weights of the epoch that is best on `split.validation` by `config.monitor`. Training stops
    `config.patience` epochs after it. The learning rate drops after every `config.plateau_patience` epochs without a
    better one. `decisions` has both rules.

    Args:
        program: compiled for the data set.
        split: indices of the images to train on, validate on and test on.
        config: of the sweep.
        binary: score class 1 only, see `metrics.score`.
        seed: below 2**32; it draws the fresh weights and the order of the images.
        start: the progress to continue from; by default the run starts from `program.init(seed)`.

    Raises:
        DivergedError: if the training loss or the validation loss is NaN or infinite.
    """
    progress = start or Progress(program.init(seed), {}, [], 0, config.learning_rate)
    while not progress.over(config):
        start_time, epoch = time.perf_counter(), len(progress.rows) + 1
        index, weight = batches(shuffled(split.train, seed, epoch), config.batch_size, program.batch_size)
        state, totals = program.train(
            progress.state,
            index,
            weight,
            progress.learning_rate,
            epoch <= config.frozen_epochs,
            np.array([seed, epoch], np.uint32),
        )
        train_loss = float(np.sum(jax.device_get(totals), dtype=np.float64)) / len(split.train)
        trained = time.perf_counter()
        if not np.isfinite(train_loss):
            raise DivergedError(epoch, "the training loss")

        scores, counts = _scores(program, state, split, config, binary)
        if not np.isfinite(scores["validation_loss"]):
            raise DivergedError(epoch, "the validation loss")
        row = {"epoch": epoch, "learning_rate": progress.learning_rate, "train_loss": train_loss} | scores
        progress = _after(progress, state, row, counts, config)
        yield Epoch(progress.rows[-1], trained - start_time, time.perf_counter() - trained, progress)
    best = jax.device_get(progress.best)
    return Result(progress.rows, progress.best_epoch, best["params"], best["stats"], best["counts"])


def _scores(
    program: Program, state: State, split: Split, config: Config, binary: bool
) -> tuple[dict[str, float], np.ndarray]:
    """Return an epoch's losses and overlaps on validation and test images, and the counts of the test images."""
    on_test = evaluate(program, state, split.test)
    on_validation = on_test if split.validation is split.test else evaluate(program, state, split.validation)
    row = _summary("validation", on_validation, config, binary)
    if config.monitor == "soft_jaccard":
        row["validation_soft_jaccard"] = metrics.soft_jaccard(on_validation[2], config.batch_size)
    return row | _summary("test", on_test, config, binary), on_test[1]


def _after(progress: Progress, state: State, row: dict[str, float], counts: np.ndarray, config: Config) -> Progress:
    """Return the progress after an epoch that measured `row`, with the best weights and the next learning rate."""
    rows, best = [*progress.rows, row], progress.best
    decided = decisions.decide(rows, config)
    if decided.best_epoch == len(rows):
        best = distributed.copied({"params": state.params, "stats": state.stats}) | {"counts": counts}
    return Progress(state, best, rows, *decided)


def evaluate(program: Program, state: State, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return loss (n,) float32 and counts (n, classes, 3) int32 of the images `indices`, in their order.

    If the config monitors the soft Jaccard, also soft counts (n, 3) float32, see `step.eval_step`.
    """
    index, weight = batches(indices, program.eval_batch_size, program.eval_batch_size)
    return tuple(each[weight > 0] for each in jax.device_get(program.evaluate(state, index)))


def predict(program: Program, result: Result, indices: np.ndarray) -> np.ndarray:
    """Return probabilities (n, H, W, num_classes) of the images `indices` in 255ths, uint8, in their order."""
    index, weight = batches(indices, program.eval_batch_size, program.eval_batch_size)
    return program.predict(result.params, result.stats, index)[weight > 0]


def batches(indices: np.ndarray, size: int, padded: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide indices into S batches of `size`, each padded to `padded`.

    Returns index (S, padded) int32, and weight (S, padded) float32: 1 for an image and 0 for padding.
    """
    steps = -(-len(indices) // size)
    index, weight = np.zeros((steps, padded), np.int32), np.zeros((steps, padded), np.float32)
    row, column = np.divmod(np.arange(len(indices)), size)
    index[row, column], weight[row, column] = indices, 1
    return index, weight


def shuffled(indices: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return `indices` in an order that depends only on seed and epoch.

    NumPy keeps a bit generator's raw bits the same in all versions, but not its permutations.
    """
    bits = np.random.PCG64([seed, epoch]).random_raw(len(indices))
    return indices[np.argsort(bits, kind="stable")]


def _summary(part: str, measured: tuple[np.ndarray, ...], config: Config, binary: bool) -> dict[str, float]:
    """Return the columns of a part, such as "test": its mean loss, and every overlap of `metrics.OVERLAPS`.

    `measured` is what `evaluate` returns.
    """
    loss, counts = measured[:2]
    score = metrics.score(counts, empty=config.empty, binary=binary)
    row = {f"{part}_loss": float(np.mean(loss, dtype=np.float64))}
    return row | {f"{part}_{name}": value for name, value in score.means.items()}
