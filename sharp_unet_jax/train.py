"""One run: its state, its two compiled steps, its epochs.

A run is a pure function of config, data set, split and seed. The data set lies on the device as uint8; a batch is a
gather by index inside the step, so nothing but indices travels while a run goes on.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sharp_unet_jax import losses, metrics, models
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.folds import Split
from sharp_unet_jax.data.resident import Dataset


class State(NamedTuple):
    """What a training step changes: nested dicts of arrays, by part of the network and its attributes."""

    params: dict[str, Any]
    stats: dict[str, Any]  # all that is no parameter: running statistics, normalisation of the inputs
    moments: dict[str, optax.OptState]  # Adam's, for each part of the network: an encoder that is frozen has none yet


class Pairs(NamedTuple):
    """A data set on the device(s): images (n, H, W, C) and masks (n, H, W), uint8."""

    images: jax.Array
    masks: jax.Array


@dataclass(frozen=True)
class Program:
    """The compiled parts of a model's runs: one for all folds and repeats."""

    init: Callable[[int], State]
    train_step: Callable[..., tuple[State, jax.Array]]
    frozen_step: Callable[..., tuple[State, jax.Array]]  # train_step, the encoder left as it is
    eval_step: Callable[..., tuple[jax.Array, jax.Array]]
    batch_size: int  # with the padding that makes it divide among the devices
    pairs: Pairs
    place: Callable[[np.ndarray], jax.Array]  # one array of a batch, sharded over the devices


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


def put(dataset: Dataset, devices: Sequence[jax.Device]) -> Pairs:
    """The whole data set on every one of `devices`."""
    return Pairs(*jax.device_put((dataset.images, dataset.masks), _sharding(devices, PartitionSpec())))


def network(config: Config, model: str, dataset: Dataset, rngs: nnx.Rngs) -> models.Segmenter:
    """`model` as the config has it, for the images and classes of `dataset`, with fresh weights."""
    return models.build(
        model,
        num_classes=dataset.num_outputs,
        in_channels=dataset.images.shape[-1],
        rngs=rngs,
        skip_kernel=config.skip_kernel,
        skip_padding=config.skip_padding,
        dtype=jnp.dtype(config.precision),
    )


def pretrained(config: Config, model: str, dataset: Dataset) -> models.pretrained.Weights | None:
    """The weights that runs of `model` start from, where the config names any; InputError if they do not fit."""
    if not config.weights:
        return None
    return models.load_weights(
        model, config.weights, nnx.eval_shape(lambda: network(config, model, dataset, nnx.Rngs(0)))
    )


def program(
    config: Config,
    name: str,
    dataset: Dataset,
    pairs: Pairs,
    devices: Sequence[jax.Device],
    weights: models.pretrained.Weights | None = None,
) -> Program:
    """The steps of the model `name` on `pairs`, the `dataset` that was put on `devices`; these share every batch.

    Runs start from `weights` where given, and fresh where these say nothing.
    """
    replicated, sharded = (_sharding(devices, spec) for spec in (PartitionSpec(), PartitionSpec("batch")))
    loss, optimizer = losses.get(config.loss), optax.scale_by_adam(eps=1e-7)  # Keras's epsilon

    graph = nnx.graphdef(nnx.eval_shape(lambda: network(config, name, dataset, nnx.Rngs(0))))

    def fresh(key: jax.Array) -> State:
        params, stats = _arrays(network(config, name, dataset, nnx.Rngs(key)))
        return State(params, stats, {part: optimizer.init(params[part]) for part in params})

    compiled_fresh = jax.jit(fresh, out_shardings=replicated)

    def init(seed: int) -> State:
        state = compiled_fresh(
            jax.random.key(seed, impl="rbg")
        )  # the default generator compiles for four times as long
        if weights is None:
            return state
        model = nnx.merge(graph, state.params, state.stats)
        # A copy: steps write over what they are given, and the next run starts from the same weights.
        nnx.update(model, jax.tree.map(jnp.copy, jax.device_put(weights.state, replicated)))
        params, stats = _arrays(model)
        return state._replace(params=params, stats=stats)

    def gather(pairs: Pairs, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        return pairs.images[index].astype(jnp.float32) / 255, pairs.masks[index]

    def train_step(
        frozen: bool, state: State, pairs: Pairs, index: jax.Array, weight: jax.Array, learning_rate: jax.Array
    ) -> tuple[State, jax.Array]:
        """One step of Adam on the images `index` (B,); `weight` (B,) is 0 for padding. Also the sum of their losses."""
        images, masks = gather(pairs, index)

        def objective(trained: dict[str, Any]) -> tuple[jax.Array, tuple[dict[str, Any], jax.Array]]:
            model = nnx.merge(graph, {**state.params, **trained}, state.stats, copy=True)
            total = jnp.sum(loss(model(images, weight, freeze_encoder=frozen), masks) * weight)
            return total / jnp.sum(weight), (_arrays(model)[1], total)

        trained = {part: state.params[part] for part in state.params if not (frozen and part == "encoder")}
        (_, (stats, total)), gradients = jax.value_and_grad(objective, has_aux=True)(trained)
        moments = dict(state.moments)
        for part, gradient in gradients.items():
            rate = learning_rate * (config.encoder_learning_rate_factor if part == "encoder" else 1)
            updates, moments[part] = optimizer.update(gradient, state.moments[part])
            trained[part] = jax.tree.map(lambda p, u, rate=rate: p - rate * u, trained[part], updates)
        return State({**state.params, **trained}, stats, moments), total

    def eval_step(state: State, pairs: Pairs, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Loss (B,) and counts (B, C, 3) of the images `index` (B,)."""
        images, masks = gather(pairs, index)
        logits = nnx.merge(graph, state.params, state.stats)(images)
        return loss(logits, masks), metrics.counts(logits, masks, config.threshold)

    return Program(
        init=init,
        train_step=jax.jit(partial(train_step, False), donate_argnums=0),
        frozen_step=jax.jit(partial(train_step, True), donate_argnums=0),
        eval_step=jax.jit(eval_step),
        batch_size=-(-config.batch_size // len(devices)) * len(devices),
        pairs=pairs,
        place=lambda array: jax.device_put(array, sharded),
    )


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
        totals = []
        step = program.frozen_step if epoch <= config.frozen_epochs else program.train_step
        for index, weight in batches(shuffled(split.train, seed, epoch), config.batch_size, program.batch_size):
            batch = program.place(index), program.place(weight)
            state, total = step(state, program.pairs, *batch, np.float32(learning_rate))
            totals.append(total)
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
            # A copy: what device_get gives may be the device's own memory, which the next step writes to.
            best = jax.tree.map(np.array, jax.device_get((state.params, state.stats))), counts
        if epoch - best_epoch >= config.patience:
            break
        if waited >= config.plateau_patience:
            learning_rate, waited = learning_rate * config.plateau_factor, 0
    (params, stats), counts = best
    return Result(rows, best_epoch, params, stats, counts)


def evaluate(program: Program, state: State, indices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Loss (n,) float32 and counts (n, C, 3) int32 of the images `indices`, in their order."""
    outputs = [
        program.eval_step(state, program.pairs, program.place(index))
        for index, _ in batches(indices, size, program.batch_size)
    ]
    lengths = [min(size, len(indices) - start) for start in range(0, len(indices), size)]
    loss, counts = zip(*jax.device_get(outputs), strict=True)
    cut = lambda parts: np.concatenate([part[:n] for part, n in zip(parts, lengths, strict=True)])  # noqa: E731
    return cut(loss), cut(counts)


def batches(indices: np.ndarray, size: int, padded: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Consecutive batches of `size` indices: (padded,) int32, and weights (padded,) float32 that are 0 for padding.

    All have one shape, so that a step compiles once for all folds.
    """
    for start in range(0, len(indices), size):
        part = indices[start : start + size]
        index, weight = np.zeros(padded, np.int32), np.zeros(padded, np.float32)
        index[: len(part)], weight[: len(part)] = part, 1
        yield index, weight


def shuffled(indices: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """`indices` in an order that depends on seed and epoch alone.

    NumPy promises the raw bits of a bit generator to stay the same, and not its permutations.
    """
    bits = np.random.PCG64([seed, epoch]).random_raw(len(indices))
    return indices[np.argsort(bits, kind="stable")]


def _arrays(network: models.Segmenter) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and all else that a network holds."""
    params, rest = (nnx.state(network, kind) for kind in (nnx.Param, nnx.Not(nnx.Param)))
    return nnx.to_pure_dict(params), nnx.to_pure_dict(rest)


def _sharding(devices: Sequence[jax.Device], spec: PartitionSpec) -> NamedSharding:
    return NamedSharding(Mesh(np.asarray(devices), ("batch",)), spec)


def _summary(part: str, loss: np.ndarray, counts: np.ndarray, config: Config, binary: bool) -> dict[str, float]:
    score = metrics.score(counts, empty=config.empty, binary=binary)
    mean = float(np.mean(loss, dtype=np.float64))
    return {f"{part}_loss": mean, f"{part}_jaccard": score.jaccard, f"{part}_dice": score.dice}
