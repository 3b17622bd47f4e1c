"""Epochs of a model's runs: the compiled steps of `step`, called one by one, or in a loop of `loops`.

The data set lies on every device as uint8 and a step gathers its batch by index: only indices travel during a run. A
data set too large for this is read from the disk, batch by batch.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from sharp_unet_jax import models
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import crops, stream, tiles
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.data.resize import Size
from sharp_unet_jax.ragged import Ragged
from sharp_unet_jax.training import canvas, compile, distributed, loops, network, optimizer, step
from sharp_unet_jax.training.canvas import Canvas
from sharp_unet_jax.training.step import Definition, Pairs, Params, State
from sharp_unet_jax.weights import pretrained as pretrained_weights
from sharp_unet_jax.weights.pretrained import Weights


@dataclass(frozen=True)
class Program:
    """The compiled parts of a model's runs, shared by all folds and repeats.

    Methods get batches as `train.batches` makes them: index (S, B) int32 and weight (S, B) float32 on the host, for S
    steps of B images; or of B crops or tiles, with an index of (S, B, 4).
    """

    definition: Definition
    dataset: Dataset
    pairs: Pairs | None  # the data set on the devices; None: batches are read from `dataset`
    devices: Sequence[jax.Device]  # they share every batch
    weights: Weights | None  # pretrained weights that runs start from
    class_weights: jax.Array | None  # of the losses, see `losses.get`; on the devices
    batch_size: int  # B of a training step: padded so that devices and micro-batches divide it
    eval_batch_size: int  # B of evaluation and prediction
    canvas_size: Size  # of the canvas on which the tiles of whole images are joined, one for all of a data set
    fresh: Callable[..., State]  # (seed)
    train_step: Callable[..., tuple[State, jax.Array]]  # `step.train_step` and so on, without the definition
    eval_step: Callable[..., tuple[jax.Array, ...]]
    predict_step: Callable[..., jax.Array]
    train_loop: Callable[..., tuple[State, jax.Array]]  # `loops.train_loop` and so on, without the definition
    eval_loop: Callable[..., tuple[jax.Array, ...]]
    tile_step: Callable[..., tuple[jax.Array, jax.Array, jax.Array]]
    blank: Callable[[], Canvas]  # `canvas.blank`, of the size of `canvas_size`
    paste: Callable[..., Canvas]  # `canvas.paste`
    canvas_probabilities: Callable[[Canvas], jax.Array]  # `canvas.probabilities`
    canvas_counts: Callable[[Canvas], tuple[jax.Array, ...]]  # `canvas_counts`

    @functools.cached_property
    def replicated(self) -> NamedSharding:
        """The sharding of the state and the data set: every device has the whole array."""
        return distributed.sharding(self.devices, PartitionSpec())

    @functools.cached_property
    def sharded(self) -> NamedSharding:
        """The sharding of a batch (B, ...): devices share its first axis."""
        return distributed.sharding(self.devices, PartitionSpec("batch"))

    def weighting(self, class_weights: np.ndarray) -> "Program":
        """Return the program with other class weights, (classes,) float32; nothing is compiled again."""
        placed = distributed.put(class_weights, self.replicated)
        pairs = self.pairs and self.pairs._replace(class_weights=placed)
        return dataclasses.replace(self, class_weights=placed, pairs=pairs)

    def init(self, seed: int) -> State:
        """Return the state that a run starts from; `seed` (below 2**32) draws the weights that are not pretrained."""
        state = self.fresh(np.uint32(seed))
        if self.weights is None:
            return state
        model = nnx.merge(self.definition.graph, state.params, state.stats)
        # A copy: the run overwrites its state, and the next run starts from the weights too.
        nnx.update(model, distributed.copied(distributed.put(self.weights.state, self.replicated)))
        params, stats = network.arrays(model)
        return state._replace(params=params, stats=stats)

    def train(
        self,
        state: State,
        index: np.ndarray,
        weight: np.ndarray,
        learning_rate: np.ndarray | float,
        frozen: bool,
        draw: np.ndarray,
    ) -> tuple[State, jax.Array]:
        """Train an epoch; return the state after it and the sum of each step's losses, (S,) float32.

        `learning_rate` is that of each step (S,), or one for all of them. `frozen` leaves the encoder as it is. `draw`
        (2,) uint32 is the run's seed and the epoch, for augmentation.
        """
        drawn = draw if self.definition.config.augment else None
        rates = np.broadcast_to(np.asarray(learning_rate, np.float32), (len(index),))
        if self.definition.loop:
            rows = self._rows(index), self._rows(weight), self._rows(rates)
            state, totals = self.train_loop(frozen, state, self.pairs, *rows, drawn, np.int32(len(index)))
            return state, totals[: len(index)]
        by_step = []
        for pairs, rate, *batch in zip(self._pairs(index, self.definition.window), rates, index, weight, strict=True):
            state, total = self.train_step(frozen, state, pairs, *map(self.place, batch), rate, drawn)
            by_step.append(total)
        return state, jnp.stack(by_step)

    def evaluate(self, state: State, index: np.ndarray) -> tuple[jax.Array, ...]:
        """Return what `step.eval_step` returns, of each batch: loss (S, B), counts (S, B, classes, 3), and so on."""
        if self.definition.loop:
            measured = self.eval_loop(state, self.pairs, self._rows(index), np.int32(len(index)))
            return tuple(each[: len(index)] for each in measured)
        batches = zip(self._pairs(index, self.definition.size), index, strict=True)
        outputs = [self.eval_step(state, pairs, self.place(batch)) for pairs, batch in batches]
        return tuple(map(jnp.stack, zip(*outputs, strict=True)))

    def predict(self, params: Params, stats: Params, index: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the probabilities (B, H, W, num_classes) float32 of each batch; `params`, `stats` on the devices."""
        for pairs, batch in zip(self._pairs(index, self.definition.size), index, strict=True):
            yield jax.device_get(self.predict_step(params, stats, pairs, self.place(batch)))

    def join(
        self, params: Params, stats: Params, index: np.ndarray, weight: np.ndarray, read: Callable[[Canvas], Any]
    ) -> tuple[Any, np.ndarray]:
        """Join the tiles of a sheet on a canvas; return what `read` finds on it and the loss (S, B) of each tile.

        `params` and `stats` are on the devices, the results on the host. The canvas ends here: it may be of gigabytes,
        and there should be one.
        """
        sheet, losses = self.blank(), []
        for pairs, *batch in zip(self._pairs(index, self.definition.size), index, weight, strict=True):
            probabilities, masks, loss = self.tile_step(params, stats, pairs, self.place(batch[0]))
            sheet = self.paste(sheet, probabilities, masks, *distributed.put(tuple(batch), self.replicated))
            losses.append(loss)
        return jax.device_get(read(sheet)), np.stack(jax.device_get(losses))

    def place(self, array: np.ndarray) -> jax.Array:
        """Return a batch's array (B, ...) on the devices, which share it."""
        return distributed.put(array, self.sharded)

    def _pairs(self, index: np.ndarray, window: Size) -> Iterable[Pairs]:
        """Return the pairs of each step: the data set, or its batch, with images or parts of them of size `window`."""
        if self.pairs:
            return [self.pairs] * len(index)
        read = stream.batches(self.dataset, index, self.sharded, self.definition.size, window)
        return (Pairs(*batch, class_weights=self.class_weights) for batch in read)

    def _rows(self, array: np.ndarray) -> jax.Array:
        """Return (S, B, ...), or (S,), on the devices; S padded to the longest epoch's: one shape, one compilation."""
        longest = longest_epoch(self.definition.config, self.dataset)
        steps = -(-longest // min(self.definition.config.batch_size, self.eval_batch_size))
        axes = (None, "batch")[: array.ndim]
        by_step = distributed.sharding(self.devices, PartitionSpec(*axes))
        return distributed.put(np.pad(array, ((0, steps - len(array)), *[(0, 0)] * (array.ndim - 1))), by_step)


def put(dataset: Dataset, devices: Sequence[jax.Device]) -> Pairs:
    """Put the whole data set on every one of `devices`."""
    arrays: tuple[np.ndarray, ...]
    if isinstance(dataset.images, Ragged) and isinstance(dataset.masks, Ragged):
        places = np.column_stack([dataset.images.starts, dataset.sizes]).astype(np.int32)
        arrays = dataset.images.flat.reshape(-1), dataset.masks.flat, places
    else:
        arrays = np.asarray(dataset.images), np.asarray(dataset.masks)
    return Pairs(*distributed.put(arrays, distributed.sharding(devices, PartitionSpec())))


def fits(config: Config, dataset: Dataset) -> bool:
    """Say whether the whole data set may lie on a device: by `data.resident_gb`, and for crops by 32-bit positions."""
    of_crops = isinstance(dataset.images, Ragged)
    return dataset.gigabytes <= config.data.resident_gb and not (of_crops and dataset.images.nbytes >= 2**31)


def trained_size(config: Config, dataset: Dataset) -> Size:
    """Return the height and width of the images that the network sees."""
    if isinstance(dataset.images, Ragged):
        return config.data.size
    return dataset.images.shape[1], dataset.images.shape[2]


def longest_epoch(config: Config, dataset: Dataset) -> int:
    """Return the most images, or crops, that an epoch of any fold may have."""
    return crops.count(config.data, dataset.sizes) if config.data.fit == "crop" else len(dataset.ids)


def build_network(config: Config, model: str, dataset: Dataset, rngs: nnx.Rngs) -> models.Segmenter:
    """Build `model` as the config has it, for the images and classes of `dataset`, with fresh weights."""
    return network.build(config, model, num_classes=dataset.num_classes, channels=dataset.channels, rngs=rngs)


def pretrained(config: Config, model: str, dataset: Dataset) -> Weights | None:
    """Return the weights that runs of `model` start from, None if the config names none.

    Raises InputError if they do not fit the network.
    """
    if not config.weights:
        return None
    return pretrained_weights.for_model(
        model, config.weights, nnx.eval_shape(lambda: build_network(config, model, dataset, nnx.Rngs(0)))
    )


def build(
    config: Config,
    model: str,
    dataset: Dataset,
    pairs: Pairs | None,
    devices: Sequence[jax.Device],
    weights: Weights | None = None,
    *,
    loop: bool | None = None,
) -> Program:
    """Return the program of `model`; each of its parts compiles when it is first called.

    Args:
        config: of the sweep.
        model: a name in `models.MODELS`.
        dataset: gives the shapes of images and the number of classes; without `pairs` also the batches.
        pairs: the data set as `put` left it on `devices`; None reads batches from `dataset`.
        devices: they share every batch.
        weights: pretrained weights that runs start from. Arrays that they lack are drawn from the run's seed.
        loop: run the steps of an epoch in a loop on the device: one call, and on a GPU one CUDA graph. The default is
            False on a CPU, where convolutions in a loop are many times slower, and True elsewhere. Needs `pairs`.
    """
    resident, platform = pairs is not None, devices[0].platform
    loop = resident and (platform != "cpu" if loop is None else loop)
    abstract = nnx.eval_shape(lambda: build_network(config, model, dataset, nnx.Rngs(0)))
    definition = step.define(config, abstract, trained_size(config, dataset), resident=resident, loop=loop)
    replicated = distributed.sharding(devices, PartitionSpec())

    def jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        return compile.jit(function, config=config, platform=platform, out_shardings=replicated, **options)

    def bound(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        return jit(functools.partial(function, definition), **options)

    batch_size, eval_batch_size = batch_sizes(config, dataset, devices)
    sheet = tiles.canvas(dataset.sizes, definition.size, definition.stride, eval_batch_size)
    program = Program(
        definition=definition,
        dataset=dataset,
        pairs=pairs,
        devices=devices,
        weights=weights,
        class_weights=None,
        batch_size=batch_size,
        eval_batch_size=eval_batch_size,
        canvas_size=sheet,
        fresh=jax.jit(functools.partial(fresh, definition, model, dataset), out_shardings=replicated),
        train_step=bound(step.train_step, static_argnums=0, donate_argnums=1),
        eval_step=bound(step.eval_step),
        predict_step=bound(step.predict_step),
        train_loop=bound(loops.train_loop, static_argnums=0, donate_argnums=1),
        eval_loop=bound(loops.eval_loop),
        tile_step=bound(step.tile_step),
        blank=jit(functools.partial(canvas.blank, sheet, dataset.num_classes)),
        paste=jit(canvas.paste, donate_argnums=0),
        canvas_probabilities=jit(canvas.probabilities),
        canvas_counts=bound(canvas_counts),
    )
    return program.weighting(np.ones(len(dataset.classes), np.float32)) if config.class_weights else program


def batch_sizes(config: Config, dataset: Dataset, devices: Sequence[jax.Device]) -> tuple[int, int]:
    """Return the images in a training step and in an evaluation step, padding included.

    Neither is larger than an epoch, except for padding to a multiple of the devices (and of the micro-batches).
    """

    def padded(size: int, divisor: int) -> int:
        return -(-size // divisor) * divisor

    longest, number = longest_epoch(config, dataset), len(devices)
    evaluated = compile.eval_batch_size(config, trained_size(config, dataset), devices)
    return padded(min(config.batch_size, longest), number * config.accumulate), min(evaluated, padded(longest, number))


def fresh(definition: Definition, model: str, dataset: Dataset, seed: jax.Array) -> State:
    """Return a state with weights drawn from `seed` () uint32."""
    key = jax.random.key(seed, impl="rbg")  # the default generator takes four times as long to compile
    params, stats = network.arrays(build_network(definition.config, model, dataset, nnx.Rngs(key)))
    moments = {part: definition.optimizer.init(params[part]) for part in params}
    average = optimizer.no_average(params, stats) if definition.config.ema else None
    return State(params, stats, moments, average)


def canvas_counts(definition: Definition, sheet: Canvas) -> tuple[jax.Array, ...]:
    """Return the counts of each row of a canvas, and if the config monitors the soft Jaccard its soft counts."""
    measured = (canvas.counts(sheet, definition.config.threshold),)
    return (*measured, canvas.soft_counts(sheet)) if definition.config.monitor == "soft_jaccard" else measured
