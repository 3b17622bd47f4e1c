"""One run: its epochs, and what is decided between them.

A run is a pure function of config, data set, split and seed.
"""

import time
from collections.abc import Generator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sharp_unet_jax import metrics
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.folds import Split
from sharp_unet_jax.programs import Program, State


class DivergedError(Exception):
    """A loss that is not a number."""

    def __init__(self, epoch: int, what: str):
        super().__init__(f"{what} became NaN or infinite in epoch {epoch}")
        self.epoch = epoch


class Epoch(NamedTuple):
    """An epoch of a run as it ends: what it measured, and how long it took."""

    row: dict[str, float]
    train_seconds: float
    eval_seconds: float


class Result(NamedTuple):
    """A finished run."""

    rows: list[dict[str, float]]  # an epoch each
    best_epoch: int  # of the lowest validation loss
    params: dict[str, Any]  # of that epoch
    stats: dict[str, Any]
    counts: np.ndarray  # of that epoch: (n_test, C, 3), see metrics.counts


def fit(program: Program, split: Split, config: Config, *, binary: bool, seed: int) -> Generator[Epoch, None, Result]:
    """Trains one run, yielding every epoch as it ends; raises DivergedError.

    The weights kept are those of the lowest loss on `split.validation`. Training stops `config.patience` epochs after
    it, and the learning rate drops after every `config.plateau_patience` epochs without a lower one (Keras's
    EarlyStopping and ReduceLROnPlateau, both without a least improvement).
    """
    state = program.init(seed)
    learning_rate, lowest, best_epoch, waited = config.learning_rate, np.inf, 0, 0
    rows: list[dict[str, float]] = []
    for epoch in range(1, config.epochs + 1):
        start = time.perf_counter()
        index, weight = batches(shuffled(split.train, seed, epoch), config.batch_size, program.batch_size)
        state, totals = program.train(state, index, weight, learning_rate, epoch <= config.frozen_epochs)
        train_loss = float(np.sum(jax.device_get(totals), dtype=np.float64)) / len(split.train)
        trained = time.perf_counter()
        if not np.isfinite(train_loss):
            raise DivergedError(epoch, "the training loss")

        loss, counts = evaluate(program, state, split.test, config.batch_size)
        test = _summary("test", loss, counts, config, binary)
        if split.validation is not split.test:
            loss, inner = evaluate(program, state, split.validation, config.batch_size)
            validation = _summary("validation", loss, inner, config, binary)
        else:
            validation = {key.replace("test", "validation"): value for key, value in test.items()}
        if not np.isfinite(validation["validation_loss"]):
            raise DivergedError(epoch, "the validation loss")
        row = {"epoch": epoch, "learning_rate": learning_rate, "train_loss": train_loss, **validation, **test}
        rows.append(row)
        yield Epoch(row, trained - start, time.perf_counter() - trained)

        waited += 1
        if validation["validation_loss"] < lowest:
            lowest, best_epoch, waited = validation["validation_loss"], epoch, 0
            # A copy, on the device: the next step writes over what it is given.
            best = jax.tree.map(jnp.copy, (state.params, state.stats)), counts
        if epoch - best_epoch >= config.patience:
            break
        if waited >= config.plateau_patience:
            learning_rate, waited = learning_rate * config.plateau_factor, 0
    weights, counts = best
    params, stats = jax.device_get(weights)
    return Result(rows, best_epoch, params, stats, counts)


def evaluate(program: Program, state: State, indices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Loss (n,) float32 and counts (n, C, 3) int32 of the images `indices`, in their order."""
    index, weight = batches(indices, size, program.batch_size)
    loss, counts = jax.device_get(program.evaluate(state, index))
    return loss[weight > 0], counts[weight > 0]


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
    mean = float(np.mean(loss, dtype=np.float64))
    return {f"{part}_loss": mean, f"{part}_jaccard": score.jaccard, f"{part}_dice": score.dice}
