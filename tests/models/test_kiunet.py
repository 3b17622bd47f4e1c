"""KiU-Net: parameters by its authors' count, resizing by hand, and the whole network against Keras."""

import dataclasses
import functools
import os

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sharp_unet_jax import losses, models, ops
from sharp_unet_jax.advice import memory
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.inference import explain
from sharp_unet_jax.models import kiunet
from sharp_unet_jax.training import train
from tests.inference.test_export import check_onnx, fresh_run
from tests.models.test_related import traced
from tests.training.fits import ALL, CONFIG, make

os.environ["KERAS_BACKEND"] = "jax"
import keras

layers = keras.layers

RNG = np.random.default_rng(0)
WIDTHS = (3, 4, 5, 6)
SIZE = (16, 24)
IMAGES = RNG.uniform(size=(2, *SIZE, 3)).astype(np.float32)
BUILT = 290_658  # by its authors, for one grey channel and two classes
UNUSED = 2 * (9 * 64 * 64 + 64 + 2 * 64)  # a fusion block of 64 channels: two convolutions with batch normalisation


@pytest.fixture
def narrow(monkeypatch):
    """Give both networks a few channels: the same code compiles in a fraction of the time."""
    for name in ("kiunet", "sharp_kiunet"):
        network = models.MODELS[name]._replace(parts=functools.partial(kiunet.parts, WIDTHS))
        monkeypatch.setitem(models.MODELS, name, network)


def shuffled(name, seed=3, **options):
    """Build a network whose biases, scales and running statistics are random; a third of the scales are negative.

    With a negative scale, max-pooling before and after batch normalisation are two things.
    """
    model, rng = models.build(name, rngs=nnx.Rngs(seed), **options), np.random.default_rng(seed)
    values = {"bias": (-0.3, 0.3), "scale": (-0.5, 1), "mean": (-0.3, 0.3), "var": (0.5, 2)}
    for _, module in nnx.iter_modules(model):
        for key, ends in values.items():
            if isinstance(module, models.layers.Conv | models.layers.BatchNorm) and hasattr(module, key):
                leaf = getattr(module, key)
                leaf[...] = jnp.asarray(rng.uniform(*ends, leaf.shape), jnp.float32)
    return model


@functools.partial(jax.jit, static_argnums=0)
def trained(graph, state, images, weight):
    """Return the logits of a training step, and the new statistics."""
    model = nnx.merge(graph, state, copy=True)
    return model(images, weight), nnx.state(model, nnx.BatchStat)


def size(model, kind):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, kind)))


@pytest.mark.parametrize("name", ["kiunet", "sharp_kiunet"])
def test_parameter_counts_are_those_that_the_authors_network_uses(name):
    grey = nnx.eval_shape(lambda: models.build(name, num_classes=2, in_channels=1, rngs=nnx.Rngs(0)))
    assert size(grey, nnx.Param) == BUILT - UNUSED == 216_546
    model = nnx.eval_shape(lambda: models.build(name, rngs=nnx.Rngs(0)))
    # Two more channels of the image in two convolutions, and a class less: 8 weights and a bias.
    assert size(model, nnx.Param) == 216_546 + 2 * 2 * 9 * 16 - 9 == 217_113
    # A mean and a variance a channel: the blocks of two branches, and two convolutions in each fusion block.
    assert size(model, nnx.BatchStat) == 2 * 2 * ((16 + 32 + 64 + 32 + 16 + 8) + (16 + 32 + 64 + 32 + 16))


@pytest.mark.parametrize("factor", [4, 16, 64])
def test_the_bilinear_reduction_averages_the_middle_of_each_square(factor):
    x = RNG.normal(size=(2, 2 * factor, 3 * factor, 3)).astype(np.float32)
    middle = np.asarray(kiunet.centres(jnp.asarray(x), factor, 2)).reshape(2, 2, 2, 3, 2, 3).mean((2, 4))
    first, second = x[:, factor // 2 - 1 :: factor], x[:, factor // 2 :: factor]
    rows = (first + second) / 2
    expected = (rows[:, :, factor // 2 - 1 :: factor] + rows[:, :, factor // 2 :: factor]) / 2
    np.testing.assert_allclose(middle, expected, rtol=1e-5, atol=1e-6)
    resized = jax.image.resize(jnp.asarray(x), expected.shape, "linear", antialias=False)
    np.testing.assert_allclose(expected, resized, rtol=1e-4, atol=1e-5)


def keras_kiunet(sharp):
    """Build KiU-Net in Keras. Layers have the paths of ours as names."""

    def convolved(x, path, width):
        return layers.Conv2D(width, 3, padding="same", name=f"{path}.conv")(x)

    def normalised(x, path):
        norm = layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{path}.norm")
        return layers.ReLU()(norm(x))

    def resized(x, factor):
        if factor > 1:
            return layers.UpSampling2D(round(factor), interpolation="bilinear")(x)
        if factor == 1 / 2:
            return layers.MaxPooling2D()(x)
        step = round(1 / factor)
        return layers.AveragePooling2D(2, step)(layers.Cropping2D(step // 2 - 1)(x))  # the middle four of a square

    def branch(x, path, width, factor):
        return normalised(resized(convolved(x, path, width), factor), path)

    def added(x, other, path, factor):
        return layers.Add()([x, resized(normalised(convolved(other, path, x.shape[-1]), path), factor)])

    def level(fine, coarse, path, width, scale, factor):
        fine, coarse = branch(fine, f"{path}.fine", width, scale), branch(coarse, f"{path}.coarse", width, 1 / scale)
        if factor == 1:
            return fine, coarse
        to_fine, to_coarse = (f"{path}.fusion.{which}" for which in ("to_fine", "to_coarse"))
        return added(fine, coarse, to_fine, factor), added(coarse, fine, to_coarse, 1 / factor)

    def filtered(x):
        if not sharp:
            return x
        kernel = np.tile(ops.KERNELS["laplacian"][:, :, None, None], (1, 1, x.shape[-1], 1))
        sharpen = layers.DepthwiseConv2D(3, padding="same", use_bias=False, trainable=False)
        x = sharpen(x)
        sharpen.set_weights([kernel])
        return x

    image = keras.Input((*SIZE, 3))
    last, *widths = WIDTHS
    first = level(image, image, "encoder.levels.0", widths[0], 2, 4)
    second = level(*first, "encoder.levels.1", widths[1], 2, 16)
    third = level(*second, "encoder.levels.2", widths[2], 2, 64)
    both = level(*third, "decoder.levels.0", widths[1], 1 / 2, 16)
    both = [layers.Add()([x, filtered(skip)]) for x, skip in zip(both, second, strict=True)]
    both = level(*both, "decoder.levels.1", widths[0], 1 / 2, 4)
    both = [layers.Add()([x, filtered(skip)]) for x, skip in zip(both, first, strict=True)]
    both = level(*both, "decoder.levels.2", last, 1 / 2, 1)
    return keras.Model(image, layers.Conv2D(1, 1, name="decoder.head")(layers.Add()(both)))


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", [pytest.param("kiunet", marks=pytest.mark.slow), "sharp_kiunet"])
@pytest.mark.slow
def test_logits_and_new_statistics_equal_those_of_keras(name):
    model, reference = shuffled(name), keras_kiunet("sharp" in name)
    modules = {".".join(map(str, path)): module for path, module in nnx.iter_modules(model)}
    named = [layer for layer in reference.layers if layer.name in modules]
    assert len(named) == 2 * (12 + 10) + 1  # convolution and batch normalisation in blocks and fusions, and the head
    for layer in named:
        keys = ("scale", "bias", "mean", "var") if layer.name.endswith("norm") else ("kernel", "bias")
        layer.set_weights([np.asarray(getattr(modules[layer.name], key)[...]) for key in keys])
    frozen, known = ([v.value for v in vs] for vs in (reference.non_trainable_variables, reference.trainable_variables))
    call = jax.jit(lambda x, training: reference.stateless_call(known, frozen, x, training=training), static_argnums=1)

    expected, _ = call(IMAGES, False)
    assert np.asarray(expected).std() > 0.01
    np.testing.assert_allclose(nnx.jit(lambda m, x: m(x))(model, IMAGES), expected, rtol=1e-4, atol=1e-5)

    expected, moved = call(IMAGES, True)
    logits, stats = trained(*nnx.split(model), IMAGES, jnp.ones(2))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    nnx.update(model, stats)
    for variable, value in zip(reference.non_trainable_variables, moved, strict=True):
        layer, _, key = variable.path.rpartition("/")
        if layer in modules:  # a fixed kernel is none of ours
            ours = getattr(modules[layer], {"moving_mean": "mean", "moving_variance": "var"}[key])[...]
            np.testing.assert_allclose(ours, value, rtol=1e-4, atol=1e-5, err_msg=variable.path)


@pytest.mark.usefixtures("narrow")
def test_twins_share_weights_and_differ_in_four_filters(monkeypatch):
    """Traced programs are compared as text: those that draw the weights, and those that use them."""
    builds = [lambda name=name: models.build(name, rngs=nnx.Rngs(3)) for name in ("kiunet", "sharp_kiunet")]
    drawn = [traced(lambda build=build: nnx.to_pure_dict(nnx.state(build()))) for build in builds]
    assert drawn[0] == drawn[1]
    twins = [nnx.eval_shape(build) for build in builds]
    assert twins[1].skip.levels == (1, 2, 3, 4)  # of the six maps; the deepest map of either branch is no skip
    calls = []

    def filtered(level, x, below, join):
        calls.append(level)
        return join(below, ops.sharpen(x))

    def program(model, skip=None):
        def logits(model, x):
            model.skip = skip or model.skip
            return model(x)

        return traced(logits, model, IMAGES)

    plain, sharp = map(program, twins)
    assert program(twins[0], filtered) == sharp != plain
    assert sorted(calls) == [1, 2, 3, 4]
    monkeypatch.setattr(ops, "sharpen", lambda x, *_: x)
    assert program(twins[1]) == plain


@pytest.mark.usefixtures("narrow")
@pytest.mark.slow
def test_each_filter_counts():
    plain, sharp = (shuffled(name) for name in ("kiunet", "sharp_kiunet"))

    @jax.jit
    def logits(filtered):
        """Filter the maps of the levels at which `filtered` (6,) is 1."""

        def skip(level, x, below, join):
            return join(below, jnp.where(filtered[level], ops.sharpen(x), x))

        return plain.decoder(plain.encoder(jnp.asarray(IMAGES)), skip)

    none, *one, every = (logits(jnp.asarray(levels)) for levels in [*np.eye(7, 6, -1), np.ones(6)])
    np.testing.assert_allclose(nnx.jit(lambda m, x: m(x))(sharp, IMAGES), every, rtol=1e-4, atol=1e-5)
    for level, answer in enumerate(one):
        changed = float(jnp.abs(answer - none).max())
        assert changed > 1e-3 if level in sharp.skip.levels else changed == 0


@pytest.mark.usefixtures("narrow")
@pytest.mark.slow
def test_padding_changes_neither_the_loss_nor_the_statistics():
    graph, state = nnx.split(shuffled("sharp_kiunet"))
    masks = jnp.asarray(RNG.integers(0, 2, (2, *SIZE)), jnp.uint8)
    logits, stats = trained(graph, state, IMAGES, jnp.ones(2))
    padded = np.concatenate([IMAGES, np.full((1, *SIZE, 3), 7, np.float32)])
    same, same_stats = trained(graph, state, padded, jnp.array([1.0, 1, 0]))
    loss = losses.get("cross_entropy")
    np.testing.assert_allclose(loss(same[:2], masks), loss(logits, masks), rtol=1e-4)
    chex.assert_trees_all_close(same_stats, stats, rtol=1e-4, atol=1e-6)
    before = nnx.state(nnx.merge(graph, state), nnx.BatchStat)
    assert all(jax.tree.leaves(jax.tree.map(lambda old, new: bool((old != new).any()), before, stats)))


@pytest.mark.usefixtures("narrow")
@pytest.mark.slow
@pytest.mark.parametrize("remat", [False, True])
def test_it_learns_and_lowers_for_every_platform(remat, dataset):
    program = make(dataclasses.replace(CONFIG, remat=remat), "sharp_kiunet", dataset)
    index, weight = (array[0] for array in train.batches(ALL[:4], 4, 4))
    state, totals = program.init(0), []
    args = program.pairs, index, weight, np.float32(0.01)
    for platform in ("cuda", "tpu"):
        text = program.train_step.trace(False, state, *args).lower(lowering_platforms=(platform,)).as_text()
        assert "stablehlo.convolution" in text
    for _ in range(5):
        state, total = program.train_step(False, state, *args)
        totals.append(float(total))
    assert totals[-1] < totals[0]


@pytest.mark.usefixtures("narrow")
@pytest.mark.filterwarnings("ignore")  # jax2onnx's own
@pytest.mark.slow
def test_onnx():
    check_onnx([fresh_run("sharp_kiunet", num_classes=2)], (31, 17))


@pytest.mark.slow
@pytest.mark.usefixtures("narrow")
def test_gradcam_has_a_map_at_each_skip_of_either_branch():
    run, image = fresh_run("sharp_kiunet"), RNG.integers(0, 256, (17, 33, 3), np.uint8)
    shapes = [skip.before.shape for skip in explain.skips(run, image)]
    assert shapes == [(96, 160, 5), (6, 10, 5), (48, 80, 4), (12, 20, 4)]  # of an image padded to 24x40
    maps = explain.gradcam(run, image, 1, np.ones((17, 33), bool))
    assert maps.shape == (4, 17, 33)
    assert (maps.reshape(4, -1).max(axis=1) > 0).any()
    assert np.isfinite(maps).all()


@pytest.mark.slow
def test_any_size_passes_and_its_memory_is_known():
    model = nnx.eval_shape(lambda: models.build("sharp_kiunet", rngs=nnx.Rngs(0)))
    image = jax.ShapeDtypeStruct((1, 50, 70, 3), jnp.float32)
    assert jax.eval_shape(lambda m, x: m(x), model, image).shape == (1, 50, 70, 1)
    plain, saving = (
        memory.need(Config(data=Data(size=(64, 64)), remat=remat), "kiunet", channels=3, num_classes=1)
        for remat in (False, True)
    )
    assert (plain.multiple, plain.state) == (8, 16 * 217_113)
    largest = 4 * 64 * (8 * 64) ** 2  # bytes of a map of 64 channels with 8 times the image's sides
    assert 3 * largest < plain.image < 12 * largest
    assert saving.image < 0.8 * plain.image
