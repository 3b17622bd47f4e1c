"""The steps of an epoch in a loop on the device: one call, and on a GPU one CUDA graph."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sharp_unet_jax.training import step
from sharp_unet_jax.training.step import Definition, Pairs, Params, State


def train_loop(
    definition: Definition,
    frozen: bool,
    state: State,
    pairs: Pairs,
    index: jax.Array,
    weight: jax.Array,
    learning_rate: jax.Array,
    draw: jax.Array | None,
    steps: jax.Array,
) -> tuple[State, jax.Array]:
    """Take training steps in a loop on the device.

    Args:
        definition: as in `step.train_step`.
        frozen: as in `step.train_step`. Static.
        state: as in `step.train_step`; donated.
        pairs: the data set.
        index: (S, B) int32.
        weight: (S, B) float32.
        learning_rate: (S,) float32.
        draw: (2,) uint32, or None.
        steps: () int32, how many of the S rows to use.

    Returns:
        The state after the last step, and the sum of each step's losses, (S,) float32, 0 for unused rows.
    """

    def body(k: jax.Array, carry: Any) -> Any:
        state, casts, totals = carry
        used = _with_casts(definition, state.params, casts)
        batch = index[k], weight[k], learning_rate[k]
        state, total = step.train_step(definition, frozen, state, pairs, *batch, draw, used)
        return state, _casts(definition, state.params), totals.at[k].set(total)

    # The loop carries the low-precision copies of the weights: the optimizer's kernels write them. A step that cast its
    # weights would begin with one kernel for each of them.
    carry = state, _casts(definition, state.params), jnp.zeros(len(index))
    state, _, totals = lax.fori_loop(0, steps, body, carry)
    return state, totals


def eval_loop(
    definition: Definition, state: State, pairs: Pairs, index: jax.Array, steps: jax.Array
) -> tuple[jax.Array, ...]:
    """Evaluate in a loop on the device: what `step.eval_step` returns, of each batch, 0 for unused rows.

    `index` (S, B) int32 are the batches, and `steps` () int32 says how many of its rows to use.
    """
    # Weights are cast here, because XLA does not move casts out of a loop.
    state = state._replace(params=jax.tree.map(lambda p, dtype: p.astype(dtype), state.params, definition.dtypes))

    def body(k: jax.Array, outputs: Any) -> Any:
        new = step.eval_step(definition, state, pairs, index[k])
        return jax.tree.map(lambda rows, row: rows.at[k].set(row), outputs, new)

    shapes = jax.eval_shape(functools.partial(step.eval_step, definition), state, pairs, index[0])
    return lax.fori_loop(0, steps, body, jax.tree.map(lambda x: jnp.zeros((len(index), *x.shape), x.dtype), shapes))


def _casts(definition: Definition, params: Params) -> list[jax.Array]:
    """Return copies of the parameters that the network uses in another dtype."""
    pairs = zip(*map(jax.tree.leaves, (params, definition.dtypes)), strict=True)
    return [p.astype(dtype) for p, dtype in pairs if p.dtype != dtype]


def _with_casts(definition: Definition, params: Params, casts: list[jax.Array]) -> Params:
    """Return `params` with the copies that `_casts` made in their places."""
    left = iter(casts)
    return jax.tree.map(lambda p, dtype: p if p.dtype == dtype else next(left), params, definition.dtypes)
