"""The step: Adam on the mean loss of a batch; padding, micro-batches and rematerialisation do not change it."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sharp_unet_jax import losses, models, ops
from sharp_unet_jax.models import layers, unet
from sharp_unet_jax.training import step, train
from tests.conftest import squares
from tests.training.fits import ALL, CONFIG, make


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
    # In Adam's first step, both moments with their bias corrected are those of the gradient itself.
    expected = jax.tree.map(lambda p, g: p - 0.01 * g / (np.abs(g) + 1e-7), before, jax.device_get(gradients))
    chex.assert_trees_all_close(jax.device_get(after.params), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.ones((4, 1), np.float32)}, r"shape \(4, 1\) but expected \(4,?\)"),
        ({"weight": np.ones(4, bool)}, "type bool but expected .*float32"),
        ({"index": np.zeros((4, 1), np.int32), "weight": np.ones((4, 1), np.float32)}, "rank 2 .* but expected 1"),
        ({"images": np.zeros((12, 16, 24, 3), np.float32)}, "type float32 but expected .*uint8"),
        ({"masks": np.zeros((12, 16, 24, 1), np.uint8)}, r"shape \(4, 16, 24, 1\) but expected \(4, 16, 24\)"),
    ],
)
def test_a_wrong_batch_is_refused_before_it_is_compiled(program, dataset, change, message):
    """JAX would broadcast or cast each of these, and train on other numbers."""
    batch = {"images": dataset.images, "masks": dataset.masks, "index": ALL[:4], "weight": np.ones(4, np.float32)}
    images, masks, index, weight = (batch | change).values()
    with pytest.raises(AssertionError, match=message):
        program.train_step(False, program.init(0), step.Pairs(images, masks), index, weight, np.float32(0.01))


def test_a_loss_that_is_a_mean_over_images_is_refused(tiny_models, dataset, monkeypatch):
    """Multiplied by the weights, it would count padding."""
    monkeypatch.setitem(losses.LOSSES, "mean", lambda logits, labels: losses.dice(logits, labels).mean())
    program = make(dataclasses.replace(CONFIG, loss="mean"), "unet", dataset)
    state, batch = program.init(0), (ALL[:4], np.ones(4, np.float32), np.float32(0.01))
    with pytest.raises(AssertionError, match=r"shape \(\) but expected \(4,?\)"):
        program.train_step(False, state, program.pairs, *batch)
    with pytest.raises(AssertionError, match=r"shape \(\) but expected \(4,?\)"):
        program.eval_step(state, program.pairs, batch[0])


class TwoHeads(nnx.Module):
    """The decoder of a U-Net with deep supervision: its head, and one that sees the image's finest map."""

    heads: tuple[str, ...] = ("early", "inner.head")

    def __init__(self, widths, *, num_classes, rngs):
        self.inner = unet.UNetDecoder(widths, num_classes=num_classes, rngs=rngs)
        self.early = layers.Conv(widths[0], num_classes, 1, rngs=rngs)

    def __call__(self, maps, skip, weight=None):
        return [self.early(maps[0]), self.inner(maps, skip, weight)]


@pytest.fixture
def two_heads(monkeypatch):
    def parts(*, num_classes, in_channels, rngs):
        encoder = unet.UNetEncoder(in_channels, (4, 6), rngs=rngs)
        return encoder, TwoHeads(encoder.widths, num_classes=num_classes, rngs=rngs)

    monkeypatch.setitem(models.MODELS, "two_heads", models.Network(parts, "two_heads", "plain", "unet"))
    return "two_heads"


@pytest.mark.parametrize(
    ("weights", "shares"), [((), (0.5, 0.5)), ((1.0, 3.0), (0.25, 0.75)), ((0.0, 2.0), (0.0, 1.0))]
)
def test_the_loss_of_several_heads_is_their_weighted_mean(two_heads, dataset, weights, shares):
    program = make(dataclasses.replace(CONFIG, deep_supervision=weights), two_heads, dataset)
    state = program.init(0)
    model = nnx.merge(program.definition.graph, *map(jax.device_get, (state.params, state.stats)))
    heads = model.outputs(jnp.asarray(dataset.images[:4], jnp.float32) / 255)
    expected = [losses.cross_entropy(logits, jnp.asarray(dataset.masks[:4])).sum() for logits in heads]
    assert abs(expected[0] - expected[1]) > 1e-3
    _, total = program.train_step(False, state, program.pairs, ALL[:4], np.ones(4, np.float32), np.float32(0.01))
    assert float(total) == pytest.approx(np.dot(shares, expected), rel=1e-5)


@pytest.mark.parametrize("head", ["mean", "last"])
def test_several_heads_are_evaluated_by_what_they_predict(two_heads, dataset, head):
    program = make(dataclasses.replace(CONFIG, prediction_head=head), two_heads, dataset)
    state = program.init(0)
    model = nnx.merge(program.definition.graph, *map(jax.device_get, (state.params, state.stats)))
    first, last = (jax.nn.sigmoid(each) for each in model.outputs(jnp.asarray(dataset.images[:4], jnp.float32) / 255))
    expected = last if head == "last" else (first + last) / 2
    found = program.predict(*map(jax.device_get, (state.params, state.stats)), ALL[None, :4])
    np.testing.assert_allclose(next(found), expected, atol=1e-6)
    loss = losses.cross_entropy(jnp.log(expected / (1 - expected)), jnp.asarray(dataset.masks[:4]))
    np.testing.assert_allclose(program.eval_step(state, program.pairs, ALL[:4])[0], loss, rtol=1e-4)


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
    """The statistics are of the whole batch, on one device or several."""
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
    change = jax.tree.map(np.subtract, jax.device_get(state.params["encoder"]), frozen.params["encoder"])
    # Adam's first step has the length of the learning rate; three steps of moments while frozen would triple it.
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(change))
    assert largest == pytest.approx(0.005, rel=1e-3)


@pytest.mark.parametrize("model", ["sharp_unet", pytest.param("sharp_unet_resnet18", marks=pytest.mark.slow)])
@pytest.mark.slow
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
    """They are equal without batch normalisation, also if a micro-batch is all padding."""
    results = []
    for accumulate in (1, 2, 4):
        program = make(dataclasses.replace(CONFIG, batch_size=8, accumulate=accumulate), "sharp_unet", dataset)
        batch = [array[0] for array in train.batches(ALL[:3], 8, program.batch_size)]
        state, total = program.train_step(False, program.init(0), program.pairs, *batch, np.float32(1e-3))
        results.append(jax.device_get((state.moments, total)))
    for other in results[1:]:
        chex.assert_trees_all_close(other, results[0], rtol=1e-3, atol=1e-6)


def primitives(jaxpr, within=()):
    """Yield every primitive of a jaxpr, and the names of the primitives around it."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name, within
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from primitives(inner, (*within, equation.primitive.name))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_no_convolution_is_in_a_loop_on_the_cpu(tiny_models, dataset, accumulate):
    """XLA's CPU compiler makes it many times slower there, even in a loop of one iteration with unroll=True."""
    program = make(dataclasses.replace(CONFIG, accumulate=accumulate), "sharp_unet", dataset)
    batch = [array[0] for array in train.batches(ALL[:4], 4, 4)]
    arguments = (False, program.init(0), program.pairs, *batch, np.float32(0))
    found = list(primitives(program.train_step.trace(*arguments).jaxpr.jaxpr))
    convolutions = [within for name, within in found if name == "conv_general_dilated"]
    assert len(convolutions) > 10
    assert not [within for within in convolutions if {"scan", "while"} & set(within)]


def test_the_fast_path_trains_as_the_plain_one(tiny_models, dataset, monkeypatch):
    """Compare fifty steps with the operations of `ops` to fifty with their equivalents in jax.lax."""

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
    depthwise = lambda x, kernel, padding: ops.depthwise(x, ops.KERNELS[kernel], padding)  # noqa: E731
    monkeypatch.setattr(
        ops, "sharp_skip", lambda below, x, *kernel: jnp.concatenate([below, depthwise(x, *kernel)], -1)
    )
    plain = losses_of_fifty_steps()
    assert fast.shape == (50,)
    assert fast[-4:].mean() < 0.7 * fast[:4].mean()
    np.testing.assert_allclose(fast, plain, rtol=1e-3)


@pytest.mark.slow
def test_a_micro_batch_of_padding_leaves_the_statistics(normed, dataset):
    results = []
    for accumulate, size in ((1, 1), (4, 4)):
        program = make(dataclasses.replace(CONFIG, batch_size=size, accumulate=accumulate), normed, dataset)
        batch = [array[0] for array in train.batches(ALL[:1], size, program.batch_size)]
        state, _ = program.train_step(False, program.init(0), program.pairs, *batch, np.float32(1e-3))
        results.append(jax.device_get(state))
    chex.assert_trees_all_close(*results, rtol=1e-4, atol=1e-6)
