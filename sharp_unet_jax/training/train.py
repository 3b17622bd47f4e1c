"""One run: its epochs, and what is decided between them.

A run is a pure function of config, data set, split and seed.
"""

import time
from collections.abc import Generator
from typing import Any, NamedTuple

import jax
import numpy as np

from sharp_unet_jax import metrics
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.folds import Split
from sharp_unet_jax.training import distributed
from sharp_unet_jax.training.epochs import Program, State


class DivergedError(Exception):
    """A loss that is not a number."""

    def __init__(self, epoch: int, what: str):
        super().__init__(f"{what} became NaN or infinite in epoch {epoch}")
        self.epoch = epoch


class Progress(NamedTuple):
    """A run after an epoch: all that its next epoch depends on. The order of the data is a function of the epoch."""

    state: State  # on the device(s); the next epoch writes over it
    best: dict[str, Any]  # params and stats of the best epoch, and its counts (n_test, C, 3), see network.counts
    rows: list[dict[str, float]]  # an epoch each
    best_epoch: int  # of the lowest validation loss
    learning_rate: float
    waited: int  # epochs since the lowest loss or the last drop of the learning rate

    def over(self, config: Config) -> bool:
        """Whether there is no next epoch."""
        return len(self.rows) in (config.epochs, self.best_epoch + config.patience)


class Epoch(NamedTuple):
    """An epoch of a run as it ends: what it measured, how long it took, and what the run goes on from."""

    row: dict[str, float]
    train_seconds: float
    eval_seconds: float
    progress: Progress


class Result(NamedTuple):
    """A finished run."""

    rows: list[dict[str, float]]  # an epoch each
    best_epoch: int  # of the lowest validation loss
    params: dict[str, Any]  # of that epoch
    stats: dict[str, Any]
    counts: np.ndarray  # of that epoch: (n_test, C, 3), see network.counts


def fit(
    program: Program, split: Split, config: Config, *, binary: bool, seed: int, start: Progress | None = None
) -> Generator[Epoch, None, Result]:
    """Trains one run, from `start` where given, yielding every epoch as it ends; raises DivergedError.

    `binary` says that class 1 alone is scored, `seed` (below 2**32) is of the weights and of the order of the data.

    The weights kept are those of the lowest loss on `split.validation`. Training stops `config.patience` epochs after
    it, and the learning rate drops after every `config.plateau_patience` epochs without a lower one (Keras's
    EarlyStopping and ReduceLROnPlateau, both without a least improvement).
    """
    progress = start or Progress(program.init(seed), {}, [], 0, config.learning_rate, 0)
    while not progress.over(config):
        began, epoch = time.perf_counter(), len(progress.rows) + 1
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

        loss, counts = evaluate(program, state, split.test)
        test = _summary("test", loss, counts, config, binary)
        if split.validation is not split.test:
            loss, inner = evaluate(program, state, split.validation)
            validation = _summary("validation", loss, inner, config, binary)
        else:
            validation = {key.replace("test", "validation"): value for key, value in test.items()}
        if not np.isfinite(validation["validation_loss"]):
            raise DivergedError(epoch, "the validation loss")
        rates = {"epoch": epoch, "learning_rate": progress.learning_rate}
        progress = _after(progress, state, rates | {"train_loss": train_loss} | validation | test, counts, config)
        yield Epoch(progress.rows[-1], trained - began, time.perf_counter() - trained, progress)
    best = jax.device_get(progress.best)
    return Result(progress.rows, progress.best_epoch, best["params"], best["stats"], best["counts"])


def _after(progress: Progress, state: State, row: dict[str, float], counts: np.ndarray, config: Config) -> Progress:
    """The run after an epoch that gave `row`: the best weights, and the next epoch's learning rate."""
    rows = [*progress.rows, row]
    lowest = min((row["validation_loss"] for row in progress.rows), default=np.inf)
    if row["validation_loss"] < lowest:
        best = distributed.copied({"params": state.params, "stats": state.stats}) | {"counts": counts}
        return Progress(state, best, rows, len(rows), progress.learning_rate, 0)
    waited, rate = progress.waited + 1, progress.learning_rate
    if waited >= config.plateau_patience:
        waited, rate = 0, rate * config.plateau_factor
    return Progress(state, progress.best, rows, progress.best_epoch, rate, waited)


def evaluate(program: Program, state: State, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss (n,) float32 and counts (n, C, 3) int32 of the images `indices`, in their order."""
    index, weight = batches(indices, program.eval_batch_size, program.eval_batch_size)
    loss, counts = jax.device_get(program.evaluate(state, index))
    return loss[weight > 0], counts[weight > 0]


def predict(program: Program, result: Result, indices: np.ndarray) -> np.ndarray:
    """Probabilities (n, H, W, outputs) of the images `indices`, in 255ths, uint8: one output is the foreground's."""
    index, weight = batches(indices, program.eval_batch_size, program.eval_batch_size)
    return program.predict(result.params, result.stats, index)[weight > 0]


def batches(indices: np.ndarray, size: int, padded: int) -> tuple[np.ndarray, np.ndarray]:
    """Consecutive batches of `size` indices: (S, padded) int32, and weights (S, padded) float32, 0 for padding."""
    steps = -(-len(indices) // size)
    index, weight = np.zeros((steps, padded), np.int32), np.zeros((steps, padded), np.float32)
    row, column = np.divmod(np.arange(len(indices)), size)
    index[row, column], weight[row, column] = indices, 1
    return index, weight


def shuffled(indices: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """`indices` in an order that depends on seed and epoch alone.

    NumPy promises the raw bits of a bit generator to stay the same, and not its permutations.
    """
    bits = np.random.PCG64([seed, epoch]).random_raw(len(indices))
    return indices[np.argsort(bits, kind="stable")]


def _summary(part: str, loss: np.ndarray, counts: np.ndarray, config: Config, binary: bool) -> dict[str, float]:
    score = metrics.score(counts, empty=config.empty, binary=binary)
    row = {f"{part}_loss": float(np.mean(loss, dtype=np.float64))}
    return row | {f"{part}_{name}": value for name, value in score.means.items()}
