"""The training step, the evaluation step and the prediction step: pure functions of a definition and arrays.

`epochs` compiles them. B is the number of images in a batch, padding included. A part of a network is an attribute of
`models.segmenter.Segmenter` that holds parameters: "encoder", "decoder", and "skip" if its kernels are learned.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax

from sharp_unet_jax import losses, models
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import augment, crops
from sharp_unet_jax.data.resize import Size
from sharp_unet_jax.training import network, optimizer
from sharp_unet_jax.training.optimizer import Average

Params = dict[str, Any]  # nested dicts of arrays, by part of the network and its attributes


class State(NamedTuple):
    """Arrays that a training step changes."""

    params: Params  # float32
    stats: Params  # the other arrays: running statistics, mean and standard deviation of the inputs
    moments: dict[str, optax.OptState]  # the optimizer's, by part
    average: Average | None = None  # of params and stats after every step, if the config wants it

    def scored(self) -> "State":
        """Return the state with the weights that are scored and kept: the average, if there is one."""
        return self if self.average is None else self._replace(params=self.average.params, stats=self.average.stats)


class Pairs(NamedTuple):
    """A data set, or a batch of one, on the devices."""

    images: jax.Array  # (n, H, W, C) uint8; of a data set for crops (pixels x C,)
    masks: jax.Array  # (n, H, W) uint8; of a data set for crops (pixels,)
    places: jax.Array | None = None  # of a data set for crops, see `crops.take`
    class_weights: jax.Array | None = None  # (classes,) float32, see `losses.get`


@dataclass(frozen=True)
class Definition:
    """Everything that a step depends on except arrays. All runs of a model share one."""

    graph: nnx.GraphDef[models.Segmenter]
    dtypes: Params  # of each parameter in the network's arithmetic, see `network.dtypes`
    optimizer: optax.GradientTransformation
    config: Config
    resident: bool  # steps get the whole data set and gather their batch from it; else they get the batch
    loop: bool  # steps run in a loop on the device
    size: Size  # of a batch's images, crops or tiles
    window: Size  # of what a training step reads: crops have room around them, for augmentation
    stride: int  # of the network: tiles begin at multiples of it


def define(config: Config, segmenter: models.Segmenter, size: Size, *, resident: bool, loop: bool) -> Definition:
    """Return the definition of a network's steps on `size`; `segmenter` may be abstract (`nnx.eval_shape`)."""
    is_crop = config.data.fit == "crop"
    return Definition(
        graph=nnx.graphdef(segmenter),
        dtypes=network.dtypes(segmenter),
        optimizer=optimizer.build(config),
        config=config,
        resident=resident,
        loop=loop,
        size=size,
        window=augment.window(config.augment, size) if is_crop else size,
        stride=segmenter.stride,
    )


def train_step(
    definition: Definition,
    frozen: bool,
    state: State,
    pairs: Pairs,
    index: jax.Array,
    weight: jax.Array,
    learning_rate: jax.Array,
    draw: jax.Array | None = None,
    used: Params | None = None,
) -> tuple[State, jax.Array]:
    """Take one step of the optimizer on the mean loss of a batch.

    Args:
        definition: network, optimizer and config.
        frozen: leave the encoder's parameters, moments and running statistics as they are. Static.
        state: the state before the step. The compiled step reuses its memory for the state after it.
        pairs: the data set, n images; with `resident=False` the batch, B images.
        index: (B,) int32, the batch's images in the data set; with fit="crop" (B, 4), see `data.crops`.
        weight: (B,) float32, 1 for an image and 0 for padding, which comes last.
        learning_rate: () float32.
        draw: (2,) uint32, the run's seed and the epoch, to augment with; None if the config does not augment.
        used: `state.params` in `definition.dtypes`, from a caller that keeps such copies.

    Returns:
        The state after the step, and the sum of the images' losses, () float32.
    """
    batch = gather(definition, pairs, index, definition.window)
    chex.assert_shape(weight, index.shape[:1])
    chex.assert_type(weight, jnp.float32)
    count = jnp.sum(weight)
    if draw is not None:
        number = index[:, -1] if definition.config.data.fit == "crop" else index
        settings, size = definition.config.augment, definition.size
        images, masks = augment.batch(settings, batch.images, batch.masks, number, draw, size)
        batch = batch._replace(images=images, masks=masks)
    stats, gradients, total = accumulate(definition, frozen, state, used or state.params, batch, weight, count)
    params, moments = update(definition, state, gradients, learning_rate)
    average = state.average and optimizer.averaged(definition.config.ema, state.average, params, stats)
    return State(params, stats, moments, average), total


def eval_step(definition: Definition, state: State, pairs: Pairs, index: jax.Array) -> tuple[jax.Array, ...]:
    """Return the loss (B,) float32 and the counts (B, classes, 3) int32 of a batch, see `network.counts`.

    If the config monitors the soft Jaccard, also the soft counts (B, 3) float32, see `network.soft_counts`. The
    arguments are those of `train_step`. The state is read, never donated.
    """
    batch = gather(definition, pairs, index, definition.size)
    logits = nnx.merge(definition.graph, state.params, state.stats)(network.scaled(batch.images))
    counts = network.counts(logits, batch.masks, definition.config.threshold)
    soft = (network.soft_counts(logits, batch.masks),) if definition.config.monitor == "soft_jaccard" else ()
    return image_losses(definition, logits, batch.masks, batch.class_weights), counts, *soft


def predict_step(definition: Definition, params: Params, stats: Params, pairs: Pairs, index: jax.Array) -> jax.Array:
    """Return the probabilities (B, H, W, num_classes) float32 of a batch.

    `params` and `stats` are those of a state; the other arguments are those of `train_step`.
    """
    images = gather(definition, pairs, index, definition.size).images
    return network.probabilities(nnx.merge(definition.graph, params, stats)(network.scaled(images)))


def tile_step(
    definition: Definition, params: Params, stats: Params, pairs: Pairs, index: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return probabilities (B, h, w, num_classes) float32, masks (B, h, w) uint8 and losses (B,) of a batch of tiles.

    `params` and `stats` are those of a state; `index` (B, 4) int32 is of `data.tiles.Sheet`.
    """
    batch = gather(definition, pairs, index, definition.size)
    logits = nnx.merge(definition.graph, params, stats)(network.scaled(batch.images))
    losses_of_tiles = image_losses(definition, logits, batch.masks, batch.class_weights)
    return network.probabilities(logits), batch.masks, losses_of_tiles


def gather(definition: Definition, pairs: Pairs, index: jax.Array, size: Size) -> Pairs:
    """Return the batch: the images `index` of a resident data set, or `pairs` themselves.

    Args:
        definition: says whether the data set is resident, and the size of crops.
        pairs: as in `train_step`.
        index: as in `train_step`.
        size: height and width of the batch's images. Crops have what lies around them, too, if it is larger.

    Raises AssertionError for wrong ranks, shapes or dtypes: many would broadcast, and train on other numbers.
    """
    is_crop = definition.config.data.fit == "crop"
    chex.assert_rank([index, pairs.images], [2 if is_crop else 1, 1 if is_crop and definition.resident else 4])
    if not definition.resident:
        batch = pairs
    elif is_crop:
        assert pairs.places is not None  # `epochs.put` sees to it
        images, masks = crops.take(pairs.images, pairs.masks, pairs.places, index, definition.size, size)
        batch = pairs._replace(images=images, masks=masks, places=None)
    else:
        batch = pairs._replace(images=pairs.images[index], masks=pairs.masks[index])
    chex.assert_shape(batch.images, (len(index), *size, None))
    chex.assert_shape(batch.masks, batch.images.shape[:3])
    chex.assert_type([index, batch.images, batch.masks], [jnp.int32, jnp.uint8, jnp.uint8])
    return batch


def image_losses(
    definition: Definition, logits: jax.Array, masks: jax.Array, class_weights: jax.Array | None
) -> jax.Array:
    """Return the loss of each image, (b,) float32.

    Raises AssertionError for a loss that returns another shape or dtype: a mean would broadcast and count padding.
    """
    chex.assert_shape(logits, (*masks.shape, None))
    values = losses.get(definition.config.loss, class_weights)(logits, masks)
    chex.assert_shape(values, masks.shape[:1])
    chex.assert_type(values, jnp.float32)
    return values


def objective(
    trained: Params,
    stats: Params,
    images: jax.Array,
    masks: jax.Array,
    weight: jax.Array,
    *,
    definition: Definition,
    frozen: bool,
    used: Params,
    count: jax.Array,
    class_weights: jax.Array | None,
) -> tuple[jax.Array, tuple[Params, jax.Array]]:
    """Return what b images add to the mean loss of their batch: the function that is differentiated.

    Args:
        trained: the parts of `used` to differentiate by.
        stats: the network's other arrays.
        images: (b, H, W, C) uint8.
        masks: (b, H, W) uint8.
        weight: (b,) float32, 0 for padding.
        definition: as in `train_step`.
        frozen: as in `train_step`.
        used: all parameters, in the dtypes of the network or in float32.
        count: () float32, the batch's images without padding.
        class_weights: as in `losses.get`.

    Returns:
        The share of the mean loss, () float32; then the new `stats` and the sum of the losses, () float32.
    """
    # copy=True: the variables are new, so batch normalisation may write its statistics inside of a gradient.
    model = nnx.merge(definition.graph, {**used, **trained}, stats, copy=True)
    outputs = model.outputs(network.scaled(images), weight, freeze_encoder=frozen)
    shares = network.head_shares(definition.config.deep_supervision, len(outputs))
    of_heads = [image_losses(definition, each, masks, class_weights) for each in outputs]
    values = [share * each for share, each in zip(shares, of_heads, strict=True)]
    total = jnp.sum(functools.reduce(jnp.add, values) * weight)
    return total / count, (network.arrays(model)[1], total)


def accumulate(
    definition: Definition,
    frozen: bool,
    state: State,
    used: Params,
    batch: Pairs,
    weight: jax.Array,
    count: jax.Array,
) -> tuple[Params, Params, jax.Array]:
    """Return statistics, gradients and summed loss of a batch, from `config.accumulate` micro-batches in turn.

    Args:
        definition: as in `train_step`.
        frozen: as in `train_step`.
        state: as in `train_step`.
        used: all parameters, in the dtypes of the network or in float32.
        batch: B images and masks, and the weights of their classes.
        weight: (B,) float32.
        count: () float32, the sum of `weight`.

    Returns:
        The new `stats`; the gradients of the trained parts, float32; the sum of the losses, () float32.
    """
    trained = {part: used[part] for part in _trained(state.params, frozen)}
    share = functools.partial(
        objective,
        definition=definition,
        frozen=frozen,
        used=used,
        count=count,
        class_weights=batch.class_weights,
    )
    differentiate = jax.value_and_grad(share, has_aux=True)

    def add(carry: Any, micro_batch: Iterable[jax.Array]) -> tuple[Any, None]:
        stats, gradients, total = carry
        (_, (stats, more)), new = differentiate(trained, stats, *micro_batch)
        return (stats, jax.tree.map(jnp.add, gradients, new), total + more), None

    # Micro-batch i gets the images i, i + n, i + 2n, ...: padding, which comes last, spreads over all of them.
    n = definition.config.accumulate
    parts = [each.reshape(-1, n, *each.shape[1:]).swapaxes(0, 1) for each in (batch.images, batch.masks, weight)]
    zeros = jax.tree.map(jnp.zeros_like, _trained(state.params, frozen))
    carry: Any = state.stats, zeros, jnp.zeros(())
    if definition.loop and n > 1:
        carry, _ = lax.scan(add, carry, parts)
    else:
        for micro_batch in zip(*parts, strict=True):
            carry, _ = add(carry, micro_batch)
    return carry


def update(
    definition: Definition, state: State, gradients: Params, learning_rate: jax.Array
) -> tuple[Params, dict[str, optax.OptState]]:
    """Return parameters and moments after the optimizer's update of the parts that have gradients.

    Args:
        definition: its config gives the largest norm and the encoder's factor of the learning rate.
        state: parameters and moments before the update.
        gradients: by part, float32.
        learning_rate: () float32.
    """
    chex.assert_trees_all_equal_shapes_and_dtypes(gradients, {part: state.params[part] for part in gradients})
    params, moments = dict(state.params), dict(state.moments)
    if definition.config.clip:
        gradients, _ = optax.clip_by_global_norm(definition.config.clip).update(gradients, optax.EmptyState())
    for part, gradient in gradients.items():
        rate = learning_rate * (definition.config.encoder_learning_rate_factor if part == "encoder" else 1)
        updates, moments[part] = definition.optimizer.update(gradient, state.moments[part], state.params[part])
        params[part] = jax.tree.map(lambda p, u, rate=rate: p - rate * u, state.params[part], updates)
    return params, moments


def _trained(params: Params, frozen: bool) -> Params:
    """Return the parts that a step trains."""
    return {part: params[part] for part in params if not (frozen and part == "encoder")}
