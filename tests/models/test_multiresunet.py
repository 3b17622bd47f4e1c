"""MultiResUNet: published parameter counts, the structure in Keras with equal weights, and its normalised head."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sharp_unet_jax
from sharp_unet_jax import models
from sharp_unet_jax.models import multiresunet
from sharp_unet_jax.storage import checkpoint
from sharp_unet_jax.training import network
from tests.conftest import squares

os.environ["KERAS_BACKEND"] = "jax"
import keras

layers = keras.layers

UNITS = (6, 9, 14)
NAMES = ["multiresunet", "sharp_multiresunet"]
IMAGES = np.random.default_rng(1).uniform(size=(2, 16, 24, 3)).astype(np.float32)
LAPLACIAN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)


def size(model, kind) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, kind)))


@pytest.mark.parametrize("name", NAMES)
def test_parameter_counts_are_the_published_ones(name):
    """They were counted for RGB images and one class."""
    model = nnx.eval_shape(lambda: models.build(name, rngs=nnx.Rngs(0)))
    assert size(model, nnx.Param) == 7_238_228
    assert size(model, nnx.Param) + size(model, nnx.BatchStat) == 7_262_750
    assert model.encoder.widths == (51, 105, 212, 426, 853)
    assert [len(path) for path in model.decoder.paths] == [4, 3, 2, 1]


@pytest.fixture
def narrow(monkeypatch):
    """Give both networks three levels of a few channels: the same code compiles in a fraction of the time."""
    shrink(monkeypatch, UNITS)


def shrink(monkeypatch, units):
    for name in NAMES:
        parts = functools.partial(multiresunet.parts, units=units)
        monkeypatch.setitem(models.MODELS, name, models.MODELS[name]._replace(parts=parts))


def shuffled(name):
    """Build a network whose biases, scales and running statistics are random."""
    model, rng = nnx.jit(lambda: models.build(name, rngs=nnx.Rngs(3)))(), np.random.default_rng(3)
    ranges = {"bias": (-0.3, 0.3), "scale": (-0.5, 1.5), "mean": (-0.3, 0.3), "var": (0.05, 1)}
    for layer in ours_in_order(model):
        for key, (low, high) in ranges.items():
            if (leaf := getattr(layer, key, None)) is not None:
                leaf[...] = jnp.asarray(rng.uniform(low, high, leaf.shape), jnp.float32)
    return model


def keras_multiresunet(sharp: bool):
    """Build the network of the paper; return it and its layers with weights, in the order of the paper's figures."""
    made = []

    def named(layer):
        made.append(layer)
        return layer

    def convolved(x, width, side, *, activation=True):
        x = named(layers.Conv2D(width, side, padding="same", use_bias=False))(x)
        x = named(layers.BatchNormalization(epsilon=1e-3, momentum=0.9, scale=False))(x)
        return layers.ReLU()(x) if activation else x

    def normalised(x):
        return named(layers.BatchNormalization(epsilon=1e-3, momentum=0.9))(x)

    def multires(x, unit):
        w = 1.67 * unit
        three = convolved(x, int(0.167 * w), 3)
        five = convolved(three, int(0.333 * w), 3)
        seven = convolved(five, int(0.5 * w), 3)
        shortcut = convolved(x, int(0.167 * w) + int(0.333 * w) + int(0.5 * w), 1, activation=False)
        together = normalised(layers.Concatenate()([three, five, seven]))
        return normalised(layers.ReLU()(layers.Add()([together, shortcut])))

    def res_path(x, unit, length):
        for _ in range(length):
            y = convolved(x, unit, 3)
            x = normalised(layers.ReLU()(layers.Add()([y, convolved(x, unit, 1, activation=False)])))
        return x

    image = x = keras.Input(IMAGES.shape[1:])
    maps = []
    for unit in UNITS:
        x = multires(x, unit)
        maps.append(x)
        x = layers.MaxPooling2D()(x)
    x = maps.pop()
    for length, (unit, skip) in enumerate(zip(UNITS[-2::-1], reversed(maps), strict=True), 1):
        up = named(layers.Conv2DTranspose(unit, 2, strides=2))(x)
        if sharp:
            sharpen = layers.DepthwiseConv2D(3, padding="same", use_bias=False, trainable=False)
            skip = sharpen(skip)
            sharpen.set_weights([np.tile(LAPLACIAN[:, :, None, None], (1, 1, skip.shape[-1], 1))])
        x = multires(layers.Concatenate()([up, res_path(skip, unit, length)]), unit)
    return keras.Model(image, convolved(x, 1, 1, activation=False)), made


def ours_in_order(model) -> list:
    """Return our layers in the order of `keras_multiresunet`."""

    def pair(each):
        return [each.conv, each.norm]

    def block(each):
        chain = [layer for part in each.chain for layer in pair(part)]
        return [*chain, *pair(each.shortcut), each.norm1, each.norm2]

    found = [layer for each in model.encoder.blocks for layer in block(each)]
    decoder = model.decoder
    for up, path, each in list(zip(decoder.ups, decoder.paths, decoder.blocks, strict=True))[::-1]:
        found.append(up)
        for step in path:
            found += [*pair(step.convolution), *pair(step.shortcut), step.norm]
        found += block(each)
    return [*found, *pair(decoder.head)]


def copy_weights(model, made) -> None:
    for ours, theirs in zip(ours_in_order(model), made, strict=True):
        names = ("kernel", "bias") if hasattr(ours, "kernel") else ("scale", "bias", "mean", "var")
        values = [np.asarray(leaf[...]) for name in names if (leaf := getattr(ours, name)) is not None]
        if isinstance(theirs, layers.Conv2DTranspose):
            values[0] = values[0].swapaxes(2, 3)  # Keras has the output channels first
        theirs.set_weights(values)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_logits_equal_those_of_keras_in_prediction_and_in_training(name):
    model, (reference, made) = shuffled(name), keras_multiresunet(sharp="sharp" in name)
    copy_weights(model, made)

    @nnx.jit
    def both(model, images):
        return model(images), model(images, jnp.ones(len(images)))

    expected = jax.jit(reference)(IMAGES)
    fixed = [each.value for each in reference.non_trainable_variables]
    trainable = [each.value for each in reference.trainable_variables]
    training = jax.jit(functools.partial(reference.stateless_call, training=True))
    trained, moved = training(trainable, fixed, IMAGES)
    for ours, theirs in zip(both(model, IMAGES), (expected, trained), strict=True):
        assert np.asarray(theirs).std() > 0.1
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    for variable, value in zip(reference.non_trainable_variables, moved, strict=True):
        variable.assign(value)
    for ours, theirs in zip(ours_in_order(model), made, strict=True):
        if hasattr(ours, "mean"):
            np.testing.assert_allclose(ours.mean[...], theirs.moving_mean, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(ours.var[...], theirs.moving_variance, rtol=1e-3, atol=1e-4)


def test_kernels_are_glorot_uniform():
    model = nnx.jit(lambda: multiresunet.MultiResBlock(32, 64, rngs=nnx.Rngs(0)))()
    for layer, fans in ((model.chain[2].conv, 9 * (35 + 53)), (model.shortcut.conv, 32 + 105)):
        assert float(jnp.abs(layer.kernel[...]).max()) == pytest.approx(np.sqrt(6 / fans), rel=1e-2)


@pytest.mark.slow
def test_normalised_logits_train_from_a_run_with_other_classes(tmp_path, monkeypatch):
    """The head's batch normalisation has a channel a class: all of the head is fresh, and no other layer."""
    shrink(monkeypatch, (6, 9))
    trained = shuffled(NAMES[0])
    params, stats = network.arrays(trained)
    checkpoint.save(tmp_path / "run/checkpoint", {"params": params, "stats": stats})
    source = str(tmp_path / "run")
    started, fresh = (
        sharp_unet_jax.build(NAMES[1], num_classes=3, rngs=nnx.Rngs(5), weights=each) for each in (source, "")
    )
    found, new, old = (dict(nnx.to_flat_state(nnx.state(each))) for each in (started, fresh, trained))
    head = {path for path in found if path[:2] == ("decoder", "head")}
    assert {path[2:] for path in head} == {("conv", "kernel"), *(("norm", leaf) for leaf in ("bias", "mean", "var"))}
    for path, leaf in found.items():
        np.testing.assert_array_equal(leaf[...], (new if path in head else old)[path][...], err_msg=str(path))

    data, losses = squares(classes=3), []
    settings = {"classes": data.classes, "batch_size": 4, "learning_rate": 1e-2, "seed": 1, "epochs": 6}
    sharp_unet_jax.fit(
        NAMES[1],
        data.images,
        data.masks,
        weights=source,
        on_epoch=lambda row: losses.append(row["train_loss"]),
        **settings,
    )
    assert losses[-1] < 0.7 * losses[0]
