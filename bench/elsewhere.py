"""The program of an epoch and its arguments as shapes, for devices that are not on this machine."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from crops import dataset_of
from jax.sharding import PartitionSpec

from sharp_unet_jax.config import Config
from sharp_unet_jax.training import distributed, epochs

STEPS = 4  # rows of an epoch's batches


class Epoch(NamedTuple):
    """A program, and the arguments that it is compiled for."""

    program: epochs.Program
    train: tuple[Any, ...]  # arguments of `program.train_loop`, arrays as shapes
    evaluate: tuple[Any, ...]  # of `program.eval_loop`
    predict: tuple[Any, ...]  # of `program.predict_step`


def epoch(config: Config, model: str, devices: Sequence[jax.Device]) -> Epoch:
    """Return the program of `model` on noise, for `devices` that share every batch.

    Images have `config.data.size`; crops are cut from larger ones.
    """
    dataset = dataset_of(config.data.fit, config.data.size)
    crops = len(dataset.ids) if config.data.fit == "crop" else 0
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, crops=crops))
    everywhere, by_step, by_image = (
        distributed.sharding(devices, PartitionSpec(*axes)) for axes in ((), (None, "batch"), ("batch",))
    )

    def shaped(tree: Any, place: Any = everywhere) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree)

    pairs = shaped(epochs.put(dataset, jax.devices()[:1]))
    program = epochs.build(config, model, dataset, pairs, devices, loop=True)
    state = shaped(jax.eval_shape(lambda: epochs.fresh(program.definition, model, dataset, np.uint32(0))))
    place = (4,) if crops else ()  # a crop is four numbers, a whole image one
    index, scored = (np.zeros((STEPS, n, *place), np.int32) for n in (program.batch_size, program.eval_batch_size))
    rows = shaped((index, np.zeros(index.shape[:2], np.float32)), by_step)
    rates, steps = shaped((np.zeros(STEPS, np.float32), np.int32(0)))
    return Epoch(
        program,
        (False, state, pairs, *rows, rates, None, steps),
        (state, pairs, shaped(scored, by_step), steps),
        (state.params, state.stats, pairs, shaped(scored[0], by_image)),
    )
