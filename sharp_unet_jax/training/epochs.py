"""The compiled parts of a model's runs: its state, a training step, an evaluation step, and epochs of them.

The data set lies on the device as uint8; a batch is a gather by index inside the step, so nothing but indices travels
while a run goes on. Of a data set that is too large for this, each step is given its batch.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from sharp_unet_jax import losses, models
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import augment, stream
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.training import compile, distributed, network
from sharp_unet_jax.weights import pretrained as pretrained_weights
from sharp_unet_jax.weights.pretrained import Weights


class State(NamedTuple):
    """What a training step changes: nested dicts of arrays, by part of the network and its attributes."""

    params: dict[str, Any]
    stats: dict[str, Any]  # all that is no parameter: running statistics, normalisation of the inputs
    moments: dict[str, optax.OptState]  # Adam's, for each part of the network: an encoder that is frozen has none yet


class Pairs(NamedTuple):
    """A data set, or a batch of one, on the device(s): images (n, H, W, C) and masks (n, H, W), uint8."""

    images: jax.Array
    masks: jax.Array


@dataclass(frozen=True)
class Program:
    """The compiled parts of a model's runs: one for all folds and repeats.

    Batches are index (S, B) int32 and weight (S, B) float32 on the host, S steps of B images, see `train.batches`.
    """

    init: Callable[[int], State]  # from a seed
    # (state, index, weight, learning_rate, frozen, draw): sums of losses (S,); draw (2,) uint32 is seed and epoch
    train: Callable[..., tuple[State, jax.Array]]
    evaluate: Callable[..., tuple[jax.Array, jax.Array]]  # (state, index): loss (S, B), counts (S, B, C, 3)
    predict: Callable[..., np.ndarray]  # (params, stats, index): probabilities (S, B, H, W, outputs) in 255ths, uint8
    # (frozen, state, pairs, index (B,), weight (B,), learning_rate, draw where the config augments)
    train_step: Callable[..., tuple[State, jax.Array]]
    eval_step: Callable[..., tuple[jax.Array, jax.Array]]  # (state, pairs, index (B,))
    batch_size: int  # B of a training step: with the padding that makes it divide among devices and micro-batches
    eval_batch_size: int  # B of the others
    pairs: Pairs | None
    replicated: NamedSharding  # of the state, over the devices
    place: Callable[[np.ndarray], jax.Array]  # an array (B,) of a batch, sharded over the devices


def put(dataset: Dataset, devices: Sequence[jax.Device]) -> Pairs:
    """The whole data set on every one of `devices`."""
    return Pairs(*distributed.put((dataset.images, dataset.masks), distributed.sharding(devices, PartitionSpec())))


def build_network(config: Config, model: str, dataset: Dataset, rngs: nnx.Rngs) -> models.Segmenter:
    """`model` as the config has it, for the images and classes of `dataset`, with fresh weights."""
    return network.build(config, model, num_classes=dataset.num_classes, channels=dataset.images.shape[-1], rngs=rngs)


def pretrained(config: Config, model: str, dataset: Dataset) -> Weights | None:
    """The weights that runs of `model` start from, where the config names any; InputError if they do not fit."""
    if not config.weights:
        return None
    return pretrained_weights.for_model(
        model, config.weights, nnx.eval_shape(lambda: build_network(config, model, dataset, nnx.Rngs(0)))
    )


def build(
    config: Config,
    name: str,
    dataset: Dataset,
    pairs: Pairs | None,
    devices: Sequence[jax.Device],
    weights: Weights | None = None,
    *,
    loop: bool | None = None,
) -> Program:
    """The compiled parts of the model `name` on `pairs`, the `dataset` that was put on `devices`; these share a batch.

    Without `pairs` batches are read from `dataset` as they are needed.

    Runs start from `weights` where given, and fresh where these say nothing. With `loop` an epoch is one call, its
    steps a loop on the device, on a GPU one CUDA graph: the default but on the CPU, whose convolutions inside a loop
    are many times slower.
    """
    on_cpu, resident = devices[0].platform == "cpu", pairs is not None
    loop = resident and (not on_cpu if loop is None else loop)
    replicated, sharded = (distributed.sharding(devices, spec) for spec in (PartitionSpec(), PartitionSpec("batch")))
    loss, optimizer = losses.get(config.loss), optax.scale_by_adam(eps=1e-7)  # Keras's epsilon
    micro_batches = config.accumulate
    divisor = len(devices) * micro_batches
    # A batch is padded to this: no larger than all there is.
    batch_size = -(-min(config.batch_size, len(dataset.ids)) // divisor) * divisor
    eval_batch_size = compile.eval_batch_size(config, dataset.images.shape[1:3], devices)
    eval_batch_size = min(eval_batch_size, -(-len(dataset.ids) // len(devices)) * len(devices))
    capacity = -(-len(dataset.ids) // min(config.batch_size, eval_batch_size))  # steps that no epoch exceeds

    abstract = nnx.eval_shape(lambda: build_network(config, name, dataset, nnx.Rngs(0)))
    graph, types = nnx.graphdef(abstract), network.types(abstract)

    def fresh(seed: jax.Array) -> State:
        key = jax.random.key(seed, impl="rbg")  # the default generator compiles for four times as long
        params, stats = network.arrays(build_network(config, name, dataset, nnx.Rngs(key)))
        return State(params, stats, {part: optimizer.init(params[part]) for part in params})

    compiled_fresh = jax.jit(fresh, out_shardings=replicated)

    def init(seed: int) -> State:
        state = compiled_fresh(np.uint32(seed))
        if weights is None:
            return state
        model = nnx.merge(graph, state.params, state.stats)
        nnx.update(
            model, distributed.copied(distributed.put(weights.state, replicated))
        )  # the next run starts from them too
        params, stats = network.arrays(model)
        return state._replace(params=params, stats=stats)

    def gather(pairs: Pairs, index: jax.Array) -> Pairs:
        return Pairs(pairs.images[index], pairs.masks[index]) if resident else pairs

    def train_step(
        frozen: bool,
        state: State,
        pairs: Pairs,
        index: jax.Array,
        weight: jax.Array,
        learning_rate: jax.Array,
        draw: jax.Array | None = None,
        used: dict[str, Any] | None = None,
    ) -> tuple[State, jax.Array]:
        """One step of Adam on the images `index` (B,); `weight` (B,) is 0 for padding. Also the sum of their losses.

        `used` are the parameters in the types that the network has them in, where the caller keeps them so.
        """
        used = used or state.params
        before = {part: state.params[part] for part in state.params if not (frozen and part == "encoder")}
        trained = {part: used[part] for part in before}
        count = jnp.sum(weight)
        batch = gather(pairs, index)
        if draw is not None:
            batch = Pairs(*augment.batch(config.augment, *batch, index, draw))

        def objective(
            trained: dict[str, Any], stats: dict[str, Any], images: jax.Array, masks: jax.Array, weight: jax.Array
        ) -> tuple[jax.Array, tuple[dict[str, Any], jax.Array]]:
            model = nnx.merge(graph, {**used, **trained}, stats, copy=True)
            total = jnp.sum(loss(model(network.scaled(images), weight, freeze_encoder=frozen), masks) * weight)
            return total / count, (network.arrays(model)[1], total)

        def accumulate(carry: Any, micro_batch: Any) -> tuple[Any, None]:
            stats, gradients, total = carry
            (_, (stats, more)), new = jax.value_and_grad(objective, has_aux=True)(trained, stats, *micro_batch)
            return (stats, jax.tree.map(jnp.add, gradients, new), total + more), None

        # Every micro-batch gets every n-th image: padding, which comes last, spreads over all of them.
        parts = [part.reshape(-1, micro_batches, *part.shape[1:]).swapaxes(0, 1) for part in (*batch, weight)]
        carry: Any = (state.stats, jax.tree.map(jnp.zeros_like, before), jnp.zeros(()))
        if loop and micro_batches > 1:
            carry, _ = lax.scan(accumulate, carry, parts)
        else:
            for micro_batch in zip(*parts, strict=True):
                carry, _ = accumulate(carry, micro_batch)
        stats, gradients, total = carry

        params, moments = dict(state.params), dict(state.moments)
        for part, gradient in gradients.items():
            rate = learning_rate * (config.encoder_learning_rate_factor if part == "encoder" else 1)
            updates, moments[part] = optimizer.update(gradient, state.moments[part])
            params[part] = jax.tree.map(lambda p, u, rate=rate: p - rate * u, before[part], updates)
        return State(params, stats, moments), total

    def eval_step(state: State, pairs: Pairs, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Loss (B,) and counts (B, C, 3) of the images `index` (B,)."""
        images, masks = gather(pairs, index)
        logits = nnx.merge(graph, state.params, state.stats)(network.scaled(images))
        return loss(logits, masks), network.counts(logits, masks, config.threshold)

    def predict_step(params: dict[str, Any], stats: dict[str, Any], pairs: Pairs, index: jax.Array) -> jax.Array:
        logits = nnx.merge(graph, params, stats)(network.scaled(gather(pairs, index).images))
        return jnp.round(255 * network.probabilities(logits)).astype(jnp.uint8)

    def train_loop(
        frozen: bool,
        state: State,
        pairs: Pairs,
        index: jax.Array,
        weight: jax.Array,
        rate: jax.Array,
        draw: jax.Array | None,
        steps: jax.Array,
    ) -> tuple[State, jax.Array]:
        def cast(params: dict[str, Any]) -> list[jax.Array]:
            return [p.astype(t) for p, t in zip(*map(jax.tree.leaves, (params, types)), strict=True) if p.dtype != t]

        def body(k: jax.Array, carry: Any) -> Any:
            state, low, totals = carry
            kept = iter(low)
            used = jax.tree.map(lambda p, t: p if p.dtype == t else next(kept), state.params, types)
            state, total = train_step(frozen, state, pairs, index[k], weight[k], rate, draw, used)
            return state, cast(state.params), totals.at[k].set(total)

        # What is cast goes from step to step: Adam's kernels write it, where a step would begin with a cast of each.
        state, _, totals = lax.fori_loop(0, steps, body, (state, cast(state.params), jnp.zeros(len(index))))
        return state, totals

    def eval_loop(state: State, pairs: Pairs, index: jax.Array, steps: jax.Array) -> tuple[jax.Array, jax.Array]:
        # Once: XLA leaves casts inside a loop.
        state = state._replace(params=jax.tree.map(lambda p, t: p.astype(t), state.params, types))

        def body(k: jax.Array, outputs: Any) -> Any:
            return jax.tree.map(lambda all_, one: all_.at[k].set(one), outputs, eval_step(state, pairs, index[k]))

        shapes = jax.eval_shape(eval_step, state, pairs, index[0])
        return lax.fori_loop(0, steps, body, jax.tree.map(lambda x: jnp.zeros((len(index), *x.shape), x.dtype), shapes))

    jit = functools.partial(compile.jit, config=config, platform=devices[0].platform, out_shardings=replicated)
    compiled_step, compiled_eval = jit(train_step, static_argnums=0, donate_argnums=1), jit(eval_step)
    compiled_predict = jit(predict_step)
    compiled_train_loop, compiled_eval_loop = jit(train_loop, static_argnums=0, donate_argnums=1), jit(eval_loop)
    by_step = distributed.sharding(devices, PartitionSpec(None, "batch"))

    def whole(array: np.ndarray) -> jax.Array:
        """(S, B) on the devices, S filled up to what all folds need: one shape, one compilation."""
        return distributed.put(np.pad(array, ((0, capacity - len(array)), (0, 0))), by_step)

    def train(
        state: State, index: np.ndarray, weight: np.ndarray, learning_rate: float, frozen: bool, draw: np.ndarray
    ) -> tuple[State, jax.Array]:
        rate, drawn = np.float32(learning_rate), draw if config.augment else None
        if loop:
            state, totals = compiled_train_loop(
                frozen, state, pairs, whole(index), whole(weight), rate, drawn, np.int32(len(index))
            )
            return state, totals[: len(index)]
        totals = []
        for given, *batch in zip(pairs_of(index), index, weight, strict=True):
            state, total = compiled_step(frozen, state, given, *map(place, batch), rate, drawn)
            totals.append(total)
        return state, jnp.stack(totals)

    def evaluate(state: State, index: np.ndarray) -> tuple[jax.Array, jax.Array]:
        if loop:
            loss, counts = compiled_eval_loop(state, pairs, whole(index), np.int32(len(index)))
            return loss[: len(index)], counts[: len(index)]
        steps = zip(pairs_of(index), index, strict=True)
        outputs = [compiled_eval(state, given, place(batch)) for given, batch in steps]
        loss, counts = zip(*outputs, strict=True)
        return jnp.stack(loss), jnp.stack(counts)

    def predict(params: dict[str, Any], stats: dict[str, Any], index: np.ndarray) -> np.ndarray:
        params, stats = distributed.put((params, stats), replicated)
        steps = zip(pairs_of(index), index, strict=True)
        return np.stack(
            [jax.device_get(compiled_predict(params, stats, given, place(batch))) for given, batch in steps]
        )

    def pairs_of(index: np.ndarray) -> Iterable[Pairs]:
        """What each step is given."""
        return [pairs] * len(index) if pairs else itertools.starmap(Pairs, stream.batches(dataset, index, sharded))

    def place(array: np.ndarray) -> jax.Array:
        return distributed.put(array, sharded)

    steps, sizes = (compiled_step, compiled_eval), (batch_size, eval_batch_size)
    return Program(init, train, evaluate, predict, *steps, *sizes, pairs, replicated, place)
