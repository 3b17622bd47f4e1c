"""Programs: start, evaluation, an epoch in one call or step by step, on one device or several."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sharp_unet_jax import models
from sharp_unet_jax.data.folds import Split
from sharp_unet_jax.training import compile, epochs, train
from sharp_unet_jax.weights.pretrained import Weights
from tests.training.fits import ALL, CONFIG, make, run


def pretrained_for(name, seed=7):
    """Return weights as from a file, an encoder's and a normalisation, and the network that has them."""
    network = models.build(name, rngs=nnx.Rngs(seed))
    for norm in (network.encoder.bn1, network.encoder.bn2):
        norm.mean[...] = jnp.full(norm.mean.shape, 0.3)
    network.mean[...], network.std[...] = jnp.full(3, 0.5), jnp.full(3, 0.25)
    kept = [(path, x) for path, x in nnx.to_flat_state(nnx.state(network)) if path[0] in ("encoder", "mean", "std")]
    return Weights(jax.device_get(nnx.from_flat_state(kept)), "digest"), network


def test_every_run_starts_from_the_pretrained_weights(normed, dataset):
    weights, network = pretrained_for(normed)
    devices = jax.devices()[:1]
    program = epochs.build(CONFIG, normed, dataset, epochs.put(dataset, devices), devices, weights)
    batch = [array[0] for array in train.batches(ALL[:4], 4, 4)]
    for seed in (0, 1):
        state = program.init(seed)
        encoder = jax.device_get((state.params["encoder"], state.stats["encoder"]))
        expected = [nnx.to_pure_dict(nnx.state(network.encoder, kind)) for kind in (nnx.Param, nnx.BatchStat)]
        chex.assert_trees_all_equal(encoder, tuple(jax.device_get(expected)))
        np.testing.assert_array_equal(state.stats["mean"], [0.5, 0.5, 0.5])
        for _ in range(2):  # steps overwrite their state
            state, _ = program.train_step(False, state, program.pairs, *batch, np.float32(0.1))
        np.testing.assert_array_equal(state.stats["std"], [0.25, 0.25, 0.25])
    decoders = [jax.device_get(program.init(seed).params["decoder"]) for seed in (0, 1)]
    assert not np.array_equal(decoders[0]["head"]["kernel"], decoders[1]["head"]["kernel"])


def test_evaluation_gives_each_image_its_own_numbers(program):
    state = program.init(0)
    together, counts = train.evaluate(program, state, ALL)
    alone = [train.evaluate(program, state, ALL[index : index + 1]) for index in ALL]
    np.testing.assert_allclose(together, np.concatenate([loss for loss, _ in alone]), rtol=1e-6)
    np.testing.assert_array_equal(counts, np.concatenate([count for _, count in alone]))


@pytest.mark.parametrize("loop", [False, True])
def test_soft_counts_come_in_the_order_of_the_images_only_if_they_are_monitored(program, dataset, loop):
    config, devices = dataclasses.replace(CONFIG, monitor="soft_jaccard"), jax.devices()[:2]
    pairs = epochs.put(dataset, devices)
    softly = epochs.build(config, "sharp_unet", dataset, pairs, devices, loop=loop)
    state, order = softly.init(0), ALL[::-1][:11]
    loss, counts, soft = train.evaluate(softly, state, order)
    expected = train.evaluate(program, program.init(0), order)
    assert len(expected) == 2
    np.testing.assert_allclose(loss, expected[0], rtol=1e-6)
    np.testing.assert_array_equal(counts, expected[1])
    np.testing.assert_array_equal(soft[:, 1], (dataset.masks[order] == 1).sum(axis=(1, 2)))
    assert ((soft[:, 0] > 0) & (soft[:, 0] < soft[:, 1:].min(axis=1))).all()


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("devices", [1, 3])
def test_evaluation_of_fewer_images_than_a_batch_gives_the_same(program, dataset, monkeypatch, devices, loop):
    monkeypatch.setattr(compile, "_CPU_PIXELS", 1)
    devices = jax.devices()[:devices]
    small = epochs.build(CONFIG, "sharp_unet", dataset, epochs.put(dataset, devices), devices, loop=loop)
    assert small.eval_batch_size == len(devices)
    assert program.eval_batch_size == 4
    state, order = small.init(0), ALL[::-1][:11]
    loss, counts = train.evaluate(small, state, order)
    expected_loss, expected_counts = train.evaluate(program, program.init(0), order)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    np.testing.assert_array_equal(counts, expected_counts)


def test_one_compilation_serves_folds_of_different_sizes(program):
    for split in (Split(ALL[:7], ALL[7:], ALL[7:]), Split(ALL[:8], ALL[8:10], ALL[10:])):
        run(train.fit(program, split, CONFIG, binary=True, seed=3))
    assert program.train_step._cache_size() == 1
    assert program.eval_step._cache_size() == 1


@pytest.mark.parametrize("devices", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_an_epoch_in_one_call_is_the_same_as_step_by_step(normed, dataset, devices):
    """One call is what a GPU does. Folds of different sizes share its compilation."""
    config = dataclasses.replace(CONFIG, frozen_epochs=1)
    pairs = epochs.put(dataset, jax.devices()[:devices])
    arguments = (config, normed, dataset, pairs, jax.devices()[:devices])
    stepwise, looped = (epochs.build(*arguments, loop=loop) for loop in (False, True))
    for split in (Split(ALL[:7], ALL[7:9], ALL[9:]), Split(ALL[:9], ALL[9:10], ALL[10:])):
        one, other = (run(train.fit(program, split, config, binary=True, seed=0))[1] for program in (stepwise, looped))
        chex.assert_trees_all_close(one.params, other.params, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(one.counts, other.counts)
        for ours, theirs in zip(one.rows, other.rows, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.slow
def test_an_epoch_in_one_call_keeps_weights_in_bfloat16_beside_the_parameters(normed, dataset):
    """Every step casts them again, except those of batch normalisation. The gradients are the same."""
    config = dataclasses.replace(CONFIG, precision="bfloat16")
    pairs, devices = epochs.put(dataset, jax.devices()[:1]), jax.devices()[:1]
    index, weight = train.batches(ALL, 4, 4)
    outcomes = []
    for loop in False, True:
        program = epochs.build(config, normed, dataset, pairs, devices, loop=loop)
        state, losses = program.init(0), []
        for epoch in range(3):
            draw = np.array([0, epoch], np.uint32)
            state, totals = program.train(state, index, weight, 0.01, epoch == 0, draw)  # frozen, then not
            losses.append(totals)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state.params))
        outcomes.append((np.concatenate(losses), jax.device_get(state.params), program.evaluate(state, index)))
    (one, stepwise, evaluated), (other, looped, evaluated_too) = outcomes
    np.testing.assert_allclose(one, other, rtol=1e-3)
    assert one[-1] < 0.8 * one[0]
    chex.assert_trees_all_close(stepwise["decoder"], looped["decoder"], atol=1e-3)
    chex.assert_trees_all_close(evaluated, evaluated_too, rtol=1e-3)


@pytest.mark.usefixtures("tiny_models", "normed")
@pytest.mark.parametrize("model", ["sharp_unet", "sharp_unet+learnable", "sharp_normed"])
def test_the_parameters_that_a_loop_has_in_bfloat16(model, dataset, monkeypatch):
    """Only kernels and biases of convolutions are bfloat16: batch normalisation and sharp kernels stay in float32."""
    monkeypatch.setattr(
        compile, "jit", lambda f, config, platform, **options: jax.jit(f, **options)
    )  # without options, it can be traced in make_jaxpr
    config, devices = dataclasses.replace(CONFIG, precision="bfloat16"), jax.devices()[:1]
    program = epochs.build(config, model, dataset, epochs.put(dataset, devices), devices, loop=True)
    index, weight = train.batches(ALL, 4, 4)
    state = program.init(0)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(state.params)]
    convolutions = [path for path in paths if "bn" not in path and "kernels" not in path]
    training = lambda state: program.train(state, index, weight, 0.01, False, np.zeros(2, np.uint32))  # noqa: E731
    for call in training, lambda state: program.evaluate(state, index):
        (loop,) = loops(jax.make_jaxpr(call)(state).jaxpr)
        assert sum(variable.aval.dtype == jnp.bfloat16 for variable in loop.invars) == len(convolutions)


def loops(jaxpr):
    """Yield the outermost while loops of a jaxpr."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "while":
            yield equation
        else:
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    yield from loops(inner)


def test_several_devices_give_the_result_of_one(tiny_models, dataset):
    split = Split(ALL[:7], ALL[7:9], ALL[9:])
    programs = [make(CONFIG, "sharp_unet", dataset, devices) for devices in (1, 3)]
    one, three = (run(train.fit(program, split, CONFIG, binary=True, seed=0))[1] for program in programs)
    chex.assert_trees_all_close(three.params, one.params, rtol=1e-3, atol=1e-4)
    for ours, theirs in zip(three.rows, one.rows, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert programs[1].train_step._cache_size() == programs[1].eval_step._cache_size() == 1


def test_a_batch_larger_than_the_data_is_padded_no_further_than_to_all_of_it(tiny_models, dataset):
    large, exact = (make(dataclasses.replace(CONFIG, batch_size=size), "unet", dataset) for size in (300, 12))
    assert large.batch_size == exact.batch_size == 12
    split = Split(ALL[:8], ALL[8:], ALL[8:])
    rows = [
        run(train.fit(program, split, dataclasses.replace(CONFIG, batch_size=size), binary=True, seed=0))[1].rows
        for program, size in ((large, 300), (exact, 12))
    ]
    assert rows[0] == rows[1]
