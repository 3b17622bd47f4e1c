"""A run: batches that cover everything, a step that ignores padding, and decisions as Keras takes them."""

import dataclasses
import functools
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from sharp_unet_jax import checkpoint, forward, losses, metrics, models, ops, programs, train
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.folds import Split
from tests.conftest import squares

CONFIG = Config(models=("unet",), batch_size=4, epochs=3)
ALL = np.arange(12)


@pytest.fixture
def program(tiny_models, dataset):
    return make(CONFIG, "sharp_unet", dataset)


def make(config, model, dataset, devices=1):
    devices = jax.devices()[:devices]
    return programs.build(config, model, dataset, programs.put(dataset, devices), devices)


def run(fitting):
    """Epochs and result of a `fit`."""
    epochs = []
    while True:
        try:
            epochs.append(next(fitting))
        except StopIteration as stop:
            return epochs, stop.value


@given(n=st.integers(1, 40), size=st.integers(1, 9), extra=st.integers(0, 3))
def test_batches_cover_every_index_once_in_order(n, size, extra):
    indices = np.arange(100, 100 + n)
    index, weight = train.batches(indices, size, size + extra)
    assert index.shape == weight.shape == (-(-n // size), size + extra)
    np.testing.assert_array_equal(index[weight > 0], indices)
    np.testing.assert_array_equal(weight.sum(axis=1), [size] * (n // size) + [n % size] * (n % size > 0))


@given(n=st.integers(1, 50), seed=st.integers(0, 2**32 - 1), epoch=st.integers(1, 200))
def test_shuffled_is_a_permutation(n, seed, epoch):
    indices = np.arange(n) * 3
    np.testing.assert_array_equal(np.sort(train.shuffled(indices, seed, epoch)), indices)


def test_shuffled_depends_on_seed_and_epoch_and_nothing_else():
    orders = [tuple(train.shuffled(ALL, seed, epoch).tolist()) for seed in (0, 1) for epoch in (1, 2)]
    assert len(set(orders)) == 4
    # Frozen: a change here changes every published run.
    assert orders[0] == (7, 10, 4, 11, 5, 1, 9, 8, 6, 2, 0, 3)


def test_a_step_is_adam_on_the_mean_loss_of_its_images(program, dataset, tiny_models):
    state = program.init(0)
    before = jax.device_get(state.params)
    index, weight = (array[0] for array in train.batches(ALL[:4], 4, 4))
    graph = nnx.graphdef(nnx.eval_shape(lambda: models.build("sharp_unet", rngs=nnx.Rngs(0))))

    def mean_loss(params):
        logits = nnx.merge(graph, params, state.stats)(jnp.asarray(dataset.images[:4], jnp.float32) / 255)
        return losses.get("cross_entropy")(logits, jnp.asarray(dataset.masks[:4])).mean()

    loss, gradients = jax.jit(jax.value_and_grad(mean_loss))(state.params)
    after, total = program.train_step(False, state, program.pairs, index, weight, np.float32(0.01))
    assert float(total) == pytest.approx(4 * float(loss), rel=1e-5)
    # The first step of Adam: both moments, corrected for their start at zero, are the gradient's own.
    expected = jax.tree.map(lambda p, g: p - 0.01 * g / (np.abs(g) + 1e-7), before, jax.device_get(gradients))
    chex.assert_trees_all_close(jax.device_get(after.params), expected, atol=2e-5)


def test_padding_changes_nothing(tiny_models, dataset):
    index = np.array([3, 5, 7])
    results = []
    for size in (3, 8):
        program = make(dataclasses.replace(CONFIG, batch_size=size), "unet", dataset)
        batch = [array[0] for array in train.batches(index, size, size)]
        results.append(program.train_step(False, program.init(1), program.pairs, *batch, np.float32(1e-3)))
    chex.assert_trees_all_close(
        *(jax.device_get((state.params, total)) for state, total in results), rtol=1e-4, atol=1e-6
    )


@pytest.mark.slow
def test_padding_leaves_no_trace_in_batch_statistics(normed, dataset):
    """Nor does it matter how many devices share the batch: its statistics are of the whole."""
    index = np.array([3, 5, 7])
    results = []
    for size, devices in ((3, 1), (8, 1), (6, 3)):
        program = make(dataclasses.replace(CONFIG, batch_size=size), normed, dataset, devices)
        batch = [program.place(array[0]) for array in train.batches(index, size, program.batch_size)]
        state = program.train_step(False, program.init(1), program.pairs, *batch, np.float32(1e-3))[0]
        results.append(jax.device_get((state.params, state.stats)))
    for other in results[1:]:
        chex.assert_trees_all_close(other, results[0], rtol=1e-3, atol=1e-5)
    assert np.abs(results[0][1]["encoder"]["bn1"]["mean"]).min() > 0


def test_a_network_with_batch_normalisation_learns_and_predicts_as_it_was_scored(normed, dataset, tmp_path):
    config = dataclasses.replace(CONFIG, epochs=40, patience=40, plateau_patience=40, learning_rate=1e-2)
    program = make(config, normed, dataset)
    split = Split(ALL[:9], ALL[9:], ALL[9:])
    _, result = run(train.fit(program, split, config, binary=True, seed=0))
    assert result.rows[result.best_epoch - 1]["test_jaccard"] > 0.7
    checkpoint.save(tmp_path / "c", {"params": result.params, "stats": result.stats})
    network = models.build(normed, rngs=nnx.Rngs(5), weights=str(tmp_path / "c"))
    for index, counts in zip(split.test, result.counts, strict=True):  # an image alone, in another process's hands
        logits = network(jnp.asarray(dataset.images[index : index + 1], jnp.float32) / 255)
        np.testing.assert_array_equal(
            metrics.counts(logits, jnp.asarray(dataset.masks[index : index + 1]), 0.5)[0], counts
        )


def pretrained_for(name, seed=7):
    """Weights as from a file: the encoder's, all at random, and a normalisation."""
    network = models.build(name, rngs=nnx.Rngs(seed))
    for norm in (network.encoder.bn1, network.encoder.bn2):
        norm.mean[...] = jnp.full(norm.mean.shape, 0.3)
    network.mean[...], network.std[...] = jnp.full(3, 0.5), jnp.full(3, 0.25)
    kept = [(path, x) for path, x in nnx.to_flat_state(nnx.state(network)) if path[0] in ("encoder", "mean", "std")]
    return models.pretrained.Weights(jax.device_get(nnx.from_flat_state(kept)), "digest"), network


def test_every_run_starts_from_the_pretrained_weights(normed, dataset):
    weights, network = pretrained_for(normed)
    devices = jax.devices()[:1]
    program = programs.build(CONFIG, normed, dataset, programs.put(dataset, devices), devices, weights)
    batch = [array[0] for array in train.batches(ALL[:4], 4, 4)]
    for seed in (0, 1):
        state = program.init(seed)
        encoder = jax.device_get((state.params["encoder"], state.stats["encoder"]))
        expected = [nnx.to_pure_dict(nnx.state(network.encoder, kind)) for kind in (nnx.Param, nnx.BatchStat)]
        chex.assert_trees_all_equal(encoder, tuple(jax.device_get(expected)))
        np.testing.assert_array_equal(state.stats["mean"], [0.5, 0.5, 0.5])
        for _ in range(2):  # steps write over what they were given
            state, _ = program.train_step(False, state, program.pairs, *batch, np.float32(0.1))
        np.testing.assert_array_equal(state.stats["std"], [0.25, 0.25, 0.25])
    decoders = [jax.device_get(program.init(seed).params["decoder"]) for seed in (0, 1)]
    assert not np.array_equal(decoders[0]["head"]["kernel"], decoders[1]["head"]["kernel"])


def test_a_frozen_encoder_stays_as_it_is_and_then_takes_a_first_step_of_full_size(normed, dataset):
    config = dataclasses.replace(CONFIG, frozen_epochs=2, encoder_learning_rate_factor=0.5)
    program = make(config, normed, dataset)
    batch = [array[0] for array in train.batches(ALL[:4], 4, 4)]
    state = program.init(0)
    start = jax.device_get(state)
    for _ in range(3):
        state, _ = program.train_step(True, state, program.pairs, *batch, np.float32(0.01))
    frozen = jax.device_get(state)
    chex.assert_trees_all_equal(frozen.params["encoder"], start.params["encoder"])
    chex.assert_trees_all_equal(frozen.stats["encoder"], start.stats["encoder"])
    assert not np.array_equal(frozen.params["decoder"]["head"]["kernel"], start.params["decoder"]["head"]["kernel"])
    assert not np.array_equal(frozen.stats["decoder"]["blocks"][0]["bn1"]["mean"], np.zeros(6))
    state, _ = program.train_step(False, state, program.pairs, *batch, np.float32(0.01))
    step = jax.tree.map(np.subtract, jax.device_get(state.params["encoder"]), frozen.params["encoder"])
    # Adam's first step is as long as the learning rate; moments that had aged while frozen would make it thrice that.
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(step))
    assert largest == pytest.approx(0.005, rel=1e-3)


def test_the_encoder_is_frozen_for_as_many_epochs_as_asked(normed, dataset):
    config = dataclasses.replace(CONFIG, frozen_epochs=2, epochs=3)
    program = make(config, normed, dataset)
    used = []

    def spy(state, index, weight, learning_rate, frozen, draw):
        used.append(frozen)
        return program.train(state, index, weight, learning_rate, frozen, draw)

    spied = dataclasses.replace(program, train=spy)
    run(train.fit(spied, Split(ALL[:4], ALL[8:], ALL[8:]), config, binary=True, seed=0))
    assert used == [True, True, False]


def test_evaluation_gives_each_image_its_own_numbers(program):
    state = program.init(0)
    together, counts = train.evaluate(program, state, ALL)
    alone = [train.evaluate(program, state, ALL[index : index + 1]) for index in ALL]
    np.testing.assert_allclose(together, np.concatenate([loss for loss, _ in alone]), rtol=1e-6)
    np.testing.assert_array_equal(counts, np.concatenate([count for _, count in alone]))


@pytest.mark.parametrize(
    ("platform", "devices", "batch", "size", "images"),
    [
        ("cpu", 1, 16, (192, 256), 8),
        ("cpu", 1, 4, (192, 256), 4),
        ("cpu", 3, 16, (192, 256), 18),
        ("cpu", 2, 1, (2048, 2048), 2),
        ("gpu", 1, 16, (192, 256), 16),
        ("gpu", 3, 16, (2048, 2048), 18),
    ],
)
def test_how_many_images_are_evaluated_at_once(platform, devices, batch, size, images):
    devices = [types.SimpleNamespace(platform=platform)] * devices
    assert forward.eval_batch_size(dataclasses.replace(CONFIG, batch_size=batch), size, devices) == images


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("devices", [1, 3])
def test_evaluation_of_fewer_images_than_a_batch_gives_the_same(program, dataset, monkeypatch, devices, loop):
    monkeypatch.setattr(forward, "_CPU_PIXELS", 1)
    devices = jax.devices()[:devices]
    small = programs.build(CONFIG, "sharp_unet", dataset, programs.put(dataset, devices), devices, loop=loop)
    assert small.eval_batch_size == len(devices)
    assert program.eval_batch_size == 4
    state, order = small.init(0), ALL[::-1][:11]
    loss, counts = train.evaluate(small, state, order)
    whole, whole_counts = train.evaluate(program, program.init(0), order)
    np.testing.assert_allclose(loss, whole, rtol=1e-6)
    np.testing.assert_array_equal(counts, whole_counts)


def test_one_compilation_serves_folds_of_different_sizes(program):
    for split in (Split(ALL[:7], ALL[7:], ALL[7:]), Split(ALL[:8], ALL[8:10], ALL[10:])):
        run(train.fit(program, split, CONFIG, binary=True, seed=3))
    assert program.train_step._cache_size() == 1
    assert program.eval_step._cache_size() == 1


@pytest.mark.parametrize(
    ("classes", "channels", "precision"), [(2, 3, "float32"), (3, 1, "float32"), (2, 3, "bfloat16")]
)
def test_a_network_learns(tiny_models, classes, channels, precision):
    dataset = squares(classes=classes, channels=channels)
    changes = {"epochs": 60, "patience": 60, "plateau_patience": 60, "learning_rate": 1e-2, "precision": precision}
    config = dataclasses.replace(CONFIG, **changes)
    program = make(config, "sharp_unet", dataset)
    split = Split(ALL[:9], ALL[9:], ALL[9:])
    epochs, result = run(train.fit(program, split, config, binary=classes == 2, seed=0))
    assert result.rows == [epoch.row for epoch in epochs]
    frequency = np.bincount(dataset.masks.ravel()) / dataset.masks.size
    constant = -(frequency * np.log(frequency)).sum()  # the best that an answer without looking can reach
    assert result.rows[-1]["train_loss"] < 0.75 * constant
    assert max(row["test_jaccard"] for row in result.rows) > 0.8
    assert result.counts.shape == (3, classes, 3)


def test_the_same_seed_gives_the_same_bits(program):
    split = Split(ALL[:8], ALL[8:10], ALL[10:])
    (_, one), (_, two), (_, other) = (run(train.fit(program, split, CONFIG, binary=True, seed=s)) for s in (5, 5, 6))
    chex.assert_trees_all_equal(one.params, two.params)
    assert one.rows == two.rows
    assert one.rows != other.rows


@pytest.mark.parametrize("devices", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_an_epoch_in_one_call_is_the_same_as_step_by_step(normed, dataset, devices):
    """As on a GPU, and folds of different sizes share its one compilation."""
    config = dataclasses.replace(CONFIG, frozen_epochs=1)
    pairs = programs.put(dataset, jax.devices()[:devices])
    arguments = (config, normed, dataset, pairs, jax.devices()[:devices])
    stepwise, looped = (programs.build(*arguments, loop=loop) for loop in (False, True))
    for split in (Split(ALL[:7], ALL[7:9], ALL[9:]), Split(ALL[:9], ALL[9:10], ALL[10:])):
        one, other = (run(train.fit(program, split, config, binary=True, seed=0))[1] for program in (stepwise, looped))
        chex.assert_trees_all_close(one.params, other.params, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(one.counts, other.counts)
        for ours, theirs in zip(one.rows, other.rows, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4)


def test_an_epoch_in_one_call_keeps_weights_in_bfloat16_beside_the_parameters(normed, dataset):
    """They are cast anew after every step, batch normalisation's stay as they are, and the gradients are the same."""
    config = dataclasses.replace(CONFIG, precision="bfloat16")
    pairs, devices = programs.put(dataset, jax.devices()[:1]), jax.devices()[:1]
    index, weight = train.batches(ALL, 4, 4)
    outcomes = []
    for loop in False, True:
        program = programs.build(config, normed, dataset, pairs, devices, loop=loop)
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
def test_what_a_loop_has_in_bfloat16(model, dataset, monkeypatch):
    """Kernels and biases of convolutions, and no others: batch normalisation and sharp kernels are in float32."""
    monkeypatch.setattr(forward, "jit", lambda f, config, platform, **options: jax.jit(f, **options))  # to be traced
    config, devices = dataclasses.replace(CONFIG, precision="bfloat16"), jax.devices()[:1]
    program = programs.build(config, model, dataset, programs.put(dataset, devices), devices, loop=True)
    index, weight = train.batches(ALL, 4, 4)
    state = program.init(0)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(state.params)]
    convolutions = [path for path in paths if "bn" not in path and "kernels" not in path]
    training = lambda state: program.train(state, index, weight, 0.01, False, np.zeros(2, np.uint32))  # noqa: E731
    for call in training, lambda state: program.evaluate(state, index):
        (loop,) = loops(jax.make_jaxpr(call)(state).jaxpr)
        assert sum(variable.aval.dtype == jnp.bfloat16 for variable in loop.invars) == len(convolutions)


def loops(jaxpr):
    """The while loops of a jaxpr that are in no other."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "while":
            yield equation
        else:
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    yield from loops(inner)


@pytest.mark.parametrize("model", ["sharp_unet", pytest.param("sharp_unet_resnet18", marks=pytest.mark.slow)])
def test_rematerialisation_changes_nothing_but_memory(tiny_models, model):
    dataset = squares(4, (32, 64))
    results, memory = [], []
    for remat in (False, True):
        program = make(dataclasses.replace(CONFIG, remat=remat), model, dataset)
        batch = [array[0] for array in train.batches(ALL[:4], 4, 4)]
        state, total = program.train_step(False, program.init(0), program.pairs, *batch, np.float32(1e-3))
        results.append(jax.device_get((state.stats, total, state.moments)))
        jaxpr = program.train_step.trace(False, program.init(0), program.pairs, *batch, np.float32(0)).jaxpr
        memory.append(str(jaxpr).count("checkpoint") + str(jaxpr).count("remat"))
    chex.assert_trees_all_close(*results, rtol=1e-3, atol=1e-5)
    assert memory[0] == 0 < memory[1]


def test_accumulated_gradients_are_those_of_the_whole_batch(tiny_models, dataset):
    """Without batch normalisation exactly; parts of nothing but padding included."""
    results = []
    for accumulate in (1, 2, 4):
        program = make(dataclasses.replace(CONFIG, batch_size=8, accumulate=accumulate), "sharp_unet", dataset)
        batch = [array[0] for array in train.batches(ALL[:3], 8, program.batch_size)]
        state, total = program.train_step(False, program.init(0), program.pairs, *batch, np.float32(1e-3))
        results.append(jax.device_get((state.moments, total)))
    for other in results[1:]:
        chex.assert_trees_all_close(other, results[0], rtol=1e-3, atol=1e-6)


def primitives(jaxpr, within=()):
    """Every primitive of a jaxpr, with the names of those it is nested in."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name, within
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from primitives(inner, (*within, equation.primitive.name))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_no_convolution_is_in_a_loop_on_the_cpu(tiny_models, dataset, accumulate):
    """There it takes XLA many times as long, even in a loop of one turn that is to be unrolled."""
    program = make(dataclasses.replace(CONFIG, accumulate=accumulate), "sharp_unet", dataset)
    batch = [array[0] for array in train.batches(ALL[:4], 4, 4)]
    arguments = (False, program.init(0), program.pairs, *batch, np.float32(0))
    found = list(primitives(program.train_step.trace(*arguments).jaxpr.jaxpr))
    convolutions = [within for name, within in found if name == "conv_general_dilated"]
    assert len(convolutions) > 10
    assert not [within for within in convolutions if {"scan", "while"} & set(within)]


def test_the_fast_path_trains_as_the_plain_one(tiny_models, dataset, monkeypatch):
    """Fifty steps with the operations of `ops`, and with what each of them is in ordinary lax."""

    def losses_of_fifty_steps():
        program = make(CONFIG, "sharp_unet", dataset)
        index, weight = train.batches(np.tile(ALL, 17)[:200], 4, 4)
        return np.asarray(program.train(program.init(0), index, weight, 1e-2, False, np.zeros(2, np.uint32))[1])

    fast = losses_of_fifty_steps()
    convolve = functools.partial(
        jax.lax.conv_general_dilated,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    add_bias = lambda x, bias: x + bias.reshape(1, 1, 1, -1)  # noqa: E731
    pool = {"window_dimensions": (1, 2, 2, 1), "window_strides": (1, 2, 2, 1), "padding": "VALID"}
    monkeypatch.setattr(ops, "conv3x3", lambda x, w, bias: add_bias(convolve(x, w), bias))
    monkeypatch.setattr(ops, "add_bias", add_bias)
    monkeypatch.setattr(ops, "relu", jax.nn.relu)
    monkeypatch.setattr(ops, "up_conv", lambda x, w: jax.lax.conv_transpose(x, w[::-1, ::-1], (2, 2), "VALID"))
    monkeypatch.setattr(ops, "max_pool", lambda x: jax.lax.reduce_window(x, -np.inf, jax.lax.max, **pool))
    monkeypatch.setattr(ops, "sharpen", lambda x, kernel, padding: ops.depthwise(x, ops.KERNELS[kernel], padding))
    plain = losses_of_fifty_steps()
    assert fast.shape == (50,)
    assert fast[-4:].mean() < 0.7 * fast[:4].mean()
    np.testing.assert_allclose(fast, plain, rtol=1e-3)


@pytest.mark.slow
def test_a_part_of_nothing_but_padding_leaves_the_statistics(normed, dataset):
    results = []
    for accumulate, size in ((1, 1), (4, 4)):
        program = make(dataclasses.replace(CONFIG, batch_size=size, accumulate=accumulate), normed, dataset)
        batch = [array[0] for array in train.batches(ALL[:1], size, program.batch_size)]
        state, _ = program.train_step(False, program.init(0), program.pairs, *batch, np.float32(1e-3))
        results.append(jax.device_get(state))
    chex.assert_trees_all_close(*results, rtol=1e-4, atol=1e-6)


def test_several_devices_give_the_result_of_one(tiny_models, dataset):
    split = Split(ALL[:7], ALL[7:9], ALL[9:])
    built = [make(CONFIG, "sharp_unet", dataset, devices) for devices in (1, 3)]
    one, three = (run(train.fit(program, split, CONFIG, binary=True, seed=0))[1] for program in built)
    chex.assert_trees_all_close(three.params, one.params, rtol=1e-3, atol=1e-4)
    for ours, theirs in zip(three.rows, one.rows, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert built[1].train_step._cache_size() == built[1].eval_step._cache_size() == 1


def test_ignored_pixels_are_neither_trained_on_nor_scored(tiny_models, dataset):
    """Letterbox padding: whatever truth would lie there, the run is the same."""
    masks = dataset.masks.copy()
    masks[:, :4] = metrics.IGNORE
    boxed = dataclasses.replace(dataset, masks=masks)
    split = Split(ALL[:8], ALL[8:], ALL[8:])
    _, result = run(train.fit(make(CONFIG, "unet", boxed), split, CONFIG, binary=True, seed=0))
    assert (result.counts[..., 1].sum(axis=-1) == 12 * 24).all()
    assert (result.counts[..., 2].sum(axis=-1) == 12 * 24).all()
    weight = np.ones(4, np.float32)
    steps = []
    for data in (boxed, dataset):
        program = make(CONFIG, "unet", data)
        steps.append(
            float(program.train_step(False, program.init(0), program.pairs, ALL[:4], weight, np.float32(0))[1])
        )
    assert steps[0] != steps[1]  # those pixels do count where they are labelled


def test_the_kept_weights_are_those_of_the_best_epoch(program):
    """Later steps write over the memory of earlier ones: the kept weights must not be among it."""
    config = dataclasses.replace(CONFIG, epochs=8, learning_rate=0.3, patience=8)
    split = Split(ALL[:8], ALL[8:], ALL[8:])
    _, result = run(train.fit(program, split, config, binary=True, seed=1))
    assert result.best_epoch < len(result.rows)
    state = program.init(0)._replace(params=result.params, stats=result.stats)
    loss, counts = train.evaluate(program, state, split.test)
    assert loss.mean() == pytest.approx(result.rows[result.best_epoch - 1]["test_loss"], rel=1e-6)
    np.testing.assert_array_equal(counts, result.counts)


def scripted(validation_losses):
    """A program whose validation loss follows a script, and whose parameters are the number of epochs taken."""
    script = iter(validation_losses)
    rates = []

    def epoch(state, index, weight, learning_rate, frozen, draw):
        rates.append(learning_rate)
        return state._replace(params=state.params + 1), np.ones(len(index))

    def evaluate(state, index):
        losses = np.full(index.shape, next(script), np.float32)
        return losses, np.tile(np.array([[1, 1, 1], [1, 2, 2]]), (*index.shape, 1, 1))

    init = lambda seed: programs.State(np.zeros(()), {}, ())  # noqa: E731
    return programs.Program(init, epoch, evaluate, None, None, None, 4, 4, None, None, None), rates


def fit_scripted(validation_losses, **changes):
    program, rates = scripted(validation_losses)
    test = np.array([3, 4])
    config = dataclasses.replace(CONFIG, **changes)
    return *run(train.fit(program, Split(np.arange(3), test, test), config, binary=True, seed=0)), rates


def test_stopping_keeps_the_weights_of_the_lowest_validation_loss():
    _, result, _ = fit_scripted([3, 1, 2, 2, 2, 0], epochs=10, patience=3, plateau_patience=9)
    assert (result.best_epoch, len(result.rows), int(result.params)) == (2, 5, 2)


def test_an_equal_loss_is_no_improvement():
    _, result, _ = fit_scripted([1, 1, 1, 0], epochs=10, patience=2, plateau_patience=9)
    assert (result.best_epoch, len(result.rows)) == (1, 3)


def test_a_run_ends_with_its_epochs():
    _, result, _ = fit_scripted([3, 2, 1], epochs=3)
    assert (result.best_epoch, len(result.rows)) == (3, 3)


def test_the_learning_rate_drops_on_a_plateau_and_waits_again():
    _, _, rates = fit_scripted([1, 2, 2, 2, 2, 2, 2], epochs=7, patience=9, plateau_patience=2, plateau_factor=0.1)
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5], rtol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_validation_loss_that_is_no_number_ends_the_run(bad):
    with pytest.raises(train.DivergedError, match="validation loss became NaN or infinite in epoch 2") as raised:
        fit_scripted([1, bad], epochs=5)
    assert raised.value.epoch == 2


def test_a_training_loss_that_is_no_number_ends_the_run(program):
    split = Split(ALL[:8], ALL[8:], ALL[8:])
    config = dataclasses.replace(CONFIG, learning_rate=1e30, epochs=9)
    with pytest.raises(train.DivergedError, match="the training loss became NaN or infinite in epoch"):
        run(train.fit(program, split, config, binary=True, seed=0))


def test_a_batch_larger_than_the_data_is_padded_no_further_than_to_all_of_it(tiny_models, dataset):
    large, whole = (make(dataclasses.replace(CONFIG, batch_size=size), "unet", dataset) for size in (300, 12))
    assert large.batch_size == whole.batch_size == 12
    split = Split(ALL[:8], ALL[8:], ALL[8:])
    ends = [
        run(train.fit(program, split, dataclasses.replace(CONFIG, batch_size=size), binary=True, seed=0))[1].rows
        for program, size in ((large, 300), (whole, 12))
    ]
    assert ends[0] == ends[1]
