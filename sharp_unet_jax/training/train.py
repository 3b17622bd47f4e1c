"""A run: its epochs, and the decisions between them (early stopping, learning rate, best weights).

A run is a pure function of config, data set, split, seed and pretrained weights: on a CPU, or on a GPU with
`deterministic=true`, the same ones give the same bits.
"""

import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from sharp_unet_jax import decision, metrics, stopping
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import crops, tiles
from sharp_unet_jax.data.folds import Split
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.data.resize import restore
from sharp_unet_jax.training import decisions, distributed, schedule
from sharp_unet_jax.training.canvas import Canvas
from sharp_unet_jax.training.epochs import Params, Program, State


class DivergedError(Exception):
    """A loss that became NaN or infinite."""

    def __init__(self, epoch: int, loss: str):
        super().__init__(f"{loss} became NaN or infinite in epoch {epoch}")
        self.epoch = epoch


class Progress(NamedTuple):
    """A run between two epochs. The order of the images and their augmentation depend only on seed and epoch."""

    state: State  # on the devices; the next epoch overwrites it
    best: dict[str, Any]  # params, stats and counts of the best epoch, see `Result`
    rows: list[dict[str, float]]  # one per epoch
    best_epoch: int  # from 1; 0 before the first epoch
    learning_rate: float  # of the next epoch, before its schedule and its warm-up

    def over(self, config: Config) -> bool:
        """Return True if the run has no further epoch."""
        epochs = len(self.rows)
        return epochs >= config.epochs or stopping.by_patience(epochs, self.best_epoch, config.patience)


class Epoch(NamedTuple):
    """A finished epoch of a run."""

    row: dict[str, float]  # its number, last learning rate, losses and overlaps: a line of metrics.jsonl
    train_seconds: float
    eval_seconds: float
    progress: Progress


class Result(NamedTuple):
    """A finished run."""

    rows: list[dict[str, float]]  # one per epoch
    best_epoch: int  # from 1
    params: dict[str, Any]  # after the best epoch
    stats: dict[str, Any]  # after the best epoch
    counts: np.ndarray  # after the best epoch: (n, classes, 3) of test images, or crops of them, see network.counts


def fit(
    program: Program, split: Split, config: Config, *, binary: bool, seed: int, start: Progress | None = None
) -> Generator[Epoch, None, Result]:
    """Train one run and yield every epoch when it ends.

    The result has the weights of the epoch that is best on `split.validation` by `config.monitor`. Training stops
    `config.patience` epochs after it. With schedule="plateau" the learning rate drops after every
    `config.plateau_patience` epochs without a better one. `decisions` has both rules, `schedule` the other schedules.

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
    if config.class_weights:
        program = program.weighting(class_weights(program.dataset, config, split.train))
    progress = start or Progress(program.init(seed), {}, [], 0, config.learning_rate)
    while not progress.over(config):
        start_time, epoch = time.perf_counter(), len(progress.rows) + 1
        order = order_of(program.dataset, config, split.train, seed, epoch)
        index, weight = batches(order, config.batch_size, program.batch_size)
        rates = schedule.rates(config, progress.learning_rate, epoch, len(index))
        state, totals = program.train(
            progress.state,
            index,
            weight,
            rates,
            epoch <= config.frozen_epochs,
            np.array([seed, epoch], np.uint32),
        )
        train_loss = float(np.sum(jax.device_get(totals), dtype=np.float64)) / len(order)
        trained = time.perf_counter()
        if not np.isfinite(train_loss):
            raise DivergedError(epoch, "the training loss")

        scores, counts = _scores(program, state.scored(), split, seed, config, binary)
        if not np.isfinite(scores["validation_loss"]):
            raise DivergedError(epoch, "the validation loss")
        row = {"epoch": epoch, "learning_rate": float(rates[-1]), "train_loss": train_loss} | scores
        progress = _after(progress, state, row, counts, config)
        yield Epoch(progress.rows[-1], trained - start_time, time.perf_counter() - trained, progress)
    best = jax.device_get(progress.best)
    return Result(progress.rows, progress.best_epoch, best["params"], best["stats"], best["counts"])


def class_weights(dataset: Dataset, config: Config, images: np.ndarray) -> np.ndarray:
    """Return the weight of each class in the losses of a run that trains on `images`, (classes,) float32.

    With "inverse" it is N / (K n): N pixels in all, n of them of the class, K classes with pixels. Their mean over
    pixels is 1. A class without pixels gets 0.
    """
    if config.class_weights != "inverse":
        return np.array(config.class_weights, np.float32)
    pixels = np.zeros(len(dataset.classes), np.int64)
    for index in images.tolist():
        pixels += np.bincount(dataset.masks[index].ravel(), minlength=256)[: len(pixels)]
    shares = pixels * np.count_nonzero(pixels) / pixels.sum()
    return np.divide(1, shares, out=np.zeros(len(pixels)), where=pixels > 0).astype(np.float32)


def images_of_an_epoch(dataset: Dataset, config: Config, train: np.ndarray) -> int:
    """Return the number of images, or crops, that an epoch on the images `train` has."""
    return crops.count(config.data, dataset.sizes[train]) if config.data.fit == "crop" else len(train)


def scored_in_an_epoch(dataset: Dataset, config: Config, test: np.ndarray) -> int:
    """Return the number of images, or crops, that an epoch is scored on, of the images `test`."""
    return images_of_an_epoch(dataset, config, test) if config.data.validate == "crops" else len(test)


def order_of(dataset: Dataset, config: Config, images: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return what an epoch sees of `images` in its order: (n,) images or (n, 4) crops."""
    if config.data.fit != "crop":
        return shuffled(images, seed, epoch)
    return crops.draw(images, dataset.sizes, dataset.points, config.data, seed=seed, epoch=epoch)


def _scores(
    program: Program, state: State, split: Split, seed: int, config: Config, binary: bool
) -> tuple[dict[str, float], np.ndarray]:
    """Return an epoch's losses and overlaps on validation and test images, and the counts of the test images."""

    def measure(images: np.ndarray) -> tuple[np.ndarray, ...]:
        if config.data.fit != "crop":
            return evaluate(program, state, images)
        if config.data.validate == "crops":  # epoch 0: the same crops after every epoch, and none that are trained on
            return evaluate(program, state, order_of(program.dataset, config, images, seed, 0))
        return evaluate_whole(program, state.params, state.stats, images)

    on_test = measure(split.test)
    on_validation = on_test if split.validation is split.test else measure(split.validation)
    row = _summary("validation", on_validation, config, binary)
    if config.monitor == "soft_jaccard":
        row["validation_soft_jaccard"] = metrics.soft_jaccard(on_validation[2], config.batch_size)
    return row | _summary("test", on_test, config, binary), on_test[1]


def _after(progress: Progress, state: State, row: dict[str, float], counts: np.ndarray, config: Config) -> Progress:
    """Return the progress after an epoch that measured `row`, with the best weights and the next learning rate."""
    rows, best = [*progress.rows, row], progress.best
    decided = decisions.decide(rows, config)
    if decided.best_epoch == len(rows):
        scored = state.scored()
        best = distributed.copied({"params": scored.params, "stats": scored.stats}) | {"counts": counts}
    return Progress(state, best, rows, *decided)


def evaluate(program: Program, state: State, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return loss (n,) float32 and counts (n, classes, 3) int32 of the images, or crops, `indices`, in their order.

    If the config monitors the soft Jaccard, also soft counts (n, 3) float32, see `step.eval_step`.
    """
    index, weight = batches(indices, program.eval_batch_size, program.eval_batch_size)
    return tuple(each[weight > 0] for each in jax.device_get(program.evaluate(state, index)))


def evaluate_whole(program: Program, params: Params, stats: Params, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return what `evaluate` returns, of whole images that are predicted by tiles; a loss is the mean over its tiles.

    `params` and `stats` are on the devices, and `indices` (n,) are images.
    """
    measured: list[tuple[np.ndarray, ...]] = []
    for sheet, rows, losses in _sheets(program, params, stats, indices, program.canvas_counts):
        image = np.searchsorted(sheet.tops, sheet.tiles[:, 3], side="right") - 1
        loss = np.bincount(image, losses) / np.bincount(image)
        by_image = (np.add.reduceat(each, sheet.tops, axis=0, dtype=each.dtype) for each in rows)
        measured.append((loss.astype(np.float32), *by_image))
    return tuple(np.concatenate(parts) for parts in zip(*measured, strict=True))


def predict(program: Program, result: Result, indices: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the probabilities (H, W, num_classes) float32 of the images `indices`, in their order.

    They have the resolution of training; with fit="crop" they are of whole images.
    """
    params, stats = distributed.put((result.params, result.stats), program.replicated)
    if program.definition.config.data.fit != "crop":
        index, weight = batches(indices, program.eval_batch_size, program.eval_batch_size)
        for probabilities, of_images in zip(program.predict(params, stats, index), weight > 0, strict=True):
            yield from probabilities[of_images]
        return
    for sheet, joined, _ in _sheets(program, params, stats, indices, program.canvas_probabilities):
        for top, (height, width) in zip(sheet.tops, program.dataset.sizes[sheet.images].tolist(), strict=True):
            yield joined[top : top + height, :width]


def scored_by_epoch(config: Config) -> bool:
    """Say whether the scores of an epoch are those that are reported; else the reported weights are scored again."""
    return config.data.score == "trained" and (config.data.fit != "crop" or config.data.validate == "images")


def count(dataset: Dataset, config: Config, index: int, probabilities: np.ndarray) -> np.ndarray:
    """Return the counts (classes, 3) by which an image is reported, from its probabilities as `predict` yields them."""
    masks = dataset.masks if dataset.native is None else dataset.native
    truth = masks[index]
    whole = restore(probabilities, truth.shape, config.data.fit)
    return metrics.count(decision.labels(whole, config.threshold), truth, len(dataset.classes))


def _sheets(
    program: Program, params: Params, stats: Params, indices: np.ndarray, read: Callable[[Canvas], Any]
) -> Iterator[tuple[tiles.Sheet, Any, np.ndarray]]:
    """Yield sheets of the images `indices`, each with what `read` finds on its canvas and the loss of each tile, (t,).

    `params` and `stats` are on the devices, the results on the host.
    """
    definition, sizes = program.definition, program.dataset.sizes
    for sheet in tiles.sheets(indices, sizes, definition.size, definition.stride, program.canvas_size[0]):
        index, weight = batches(sheet.tiles, program.eval_batch_size, program.eval_batch_size)
        found, losses = program.join(params, stats, index, weight, read)
        yield sheet, found, losses[weight > 0]


def batches(indices: np.ndarray, size: int, padded: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide images (n,), or crops or tiles (n, 4), into S batches of `size`, each padded to `padded`.

    Returns index (S, padded, ...) int32, and weight (S, padded) float32: 1 for an image and 0 for padding.
    """
    steps = -(-len(indices) // size)
    index = np.zeros((steps, padded, *indices.shape[1:]), np.int32)
    weight = np.zeros((steps, padded), np.float32)
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
