"""Attention U-Net: published parameter counts, the transposed convolution against XLA's, the network against Keras."""

import functools
import os

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from sharp_unet_jax import models, ops
from sharp_unet_jax.models import attention_unet, segmenter

os.environ["KERAS_BACKEND"] = "jax"
import keras

layers = keras.layers

RNG = np.random.default_rng(0)
WIDTHS, UPS, GATES = (3, 4, 5, 6, 7), (4, 3, 6, 5), (3, 7, 4)  # all pairs that could be mixed up differ
SIZE = (32, 48)
IMAGES = RNG.uniform(size=(2, *SIZE, 3)).astype(np.float32)


def size(model, kind):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, kind)))


@pytest.mark.parametrize("name", ["attention_unet", "sharp_attention_unet"])
def test_parameter_counts_are_the_published_ones(name):
    """They were counted for RGB images and one class."""
    model = nnx.eval_shape(lambda: models.build(name, rngs=nnx.Rngs(0)))
    assert size(model, nnx.Param) == 847_076
    assert size(model, nnx.Param) + size(model, nnx.BatchStat) == 849_316


@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (1, 1, 1, 2), (1, 2, 1, 3)])
def test_the_transposed_convolution_is_laxs_and_so_are_its_gradients(shape):
    n, height, width, inputs = shape
    x, w = (jnp.asarray(RNG.normal(size=each), jnp.float32) for each in (shape, (3, 3, inputs, 5)))
    g = jnp.asarray(RNG.normal(size=(n, 2 * height, 2 * width, 5)), jnp.float32)

    def laxs(x, w):
        return lax.conv_transpose(x, w.swapaxes(2, 3), (2, 2), "SAME", transpose_kernel=True)

    ours, theirs = ([y, *vjp(g)] for y, vjp in (jax.vjp(f, x, w) for f in (attention_unet.transposed, laxs)))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_transposed_convolution_puts_each_tap_in_its_place():
    w = jnp.arange(1.0, 10).reshape(3, 3, 1, 1)
    expected = [[1, 2, 3, 0], [4, 5, 6, 0], [7, 8, 9, 0], [0, 0, 0, 0]]
    x = jnp.zeros((1, 2, 2, 1)).at[0, 0, 0].set(1)
    np.testing.assert_array_equal(attention_unet.transposed(x, w)[0, ..., 0], expected)
    x = jnp.zeros((1, 2, 2, 1)).at[0, 1, 1].set(1)  # the right and the lower tap fall off
    np.testing.assert_array_equal(attention_unet.transposed(x, w)[0, 2:, 2:, 0], [[1, 2], [4, 5]])


@pytest.mark.parametrize(("layer", "taps"), [(attention_unet.UpConv, 9), (attention_unet.DownConv, 4)])
def test_strided_kernels_are_glorot_uniform_and_their_biases_are_added(layer, taps):
    layer = layer(32, 64, rngs=nnx.Rngs(0))
    assert float(jnp.abs(layer.kernel[...]).max()) == pytest.approx(np.sqrt(6 / (taps * (32 + 64))), rel=1e-2)
    assert not layer.bias[...].any()
    layer.bias[...] = jnp.arange(64.0)
    np.testing.assert_array_equal(layer(jnp.zeros((1, 2, 2, 32)))[0, 0, 0], np.arange(64))


@pytest.fixture
def narrow(monkeypatch):
    """Give both networks a few channels: the same code compiles in a fraction of the time."""
    parts = functools.partial(attention_unet.parts, widths=WIDTHS, ups=UPS, gates=GATES)
    for name in ("attention_unet", "sharp_attention_unet"):
        monkeypatch.setitem(models.MODELS, name, models.MODELS[name]._replace(parts=parts))


def shuffled(name):
    """Build a network whose biases, scales and running statistics are random."""
    model, rng = nnx.jit(lambda: models.build(name, rngs=nnx.Rngs(3)))(), np.random.default_rng(3)
    values = {"bias": (-0.3, 0.3), "scale": (-0.5, 1), "mean": (-0.3, 0.3), "var": (0.05, 1)}
    for _, module in nnx.iter_modules((model.encoder, model.decoder)):
        for key in [key for key in values if hasattr(module, key)]:
            leaf = getattr(module, key)
            leaf[...] = jnp.asarray(rng.uniform(*values[key], leaf.shape), jnp.float32)
    return model


def keras_attention_unet(sharp):
    """Build the network in Keras from the papers' words. Layers have the paths of ours as names.

    Weights are copied to them later: drawing some compiles for every shape.
    """
    convolution, transposed = (
        functools.partial(layer, kernel_initializer="zeros") for layer in (layers.Conv2D, layers.Conv2DTranspose)
    )

    def normalised(x, path):
        return layers.BatchNormalization(epsilon=1e-3, momentum=0.9, name=path)(x)

    def convolved(x, path, width, kernel=3):
        x = convolution(width, kernel, padding="same", name=f"{path}.conv")(x)
        return layers.ReLU()(normalised(x, f"{path}.norm"))

    def gate(x, signal, path, width):
        channels = x.shape[-1]
        signal = convolved(signal, f"{path}.signal", signal.shape[-1], 1)
        signal = convolution(width, 1, name=f"{path}.of_signal")(signal)
        of_map = convolution(width, 2, strides=2, padding="same", name=f"{path}.of_map")(x)
        stride = of_map.shape[1] // signal.shape[1]
        signal = transposed(width, 3, strides=stride, padding="same", name=f"{path}.resize")(signal)
        both = layers.ReLU()(layers.Add()([of_map, signal]))
        attention = convolution(1, 1, activation="sigmoid", name=f"{path}.attention")(both)
        x = layers.Multiply()([x, layers.UpSampling2D()(attention)])
        return normalised(convolution(channels, 1, name=f"{path}.result")(x), f"{path}.norm")

    def filtered(x):
        if not sharp:
            return x
        sharpen = layers.DepthwiseConv2D(3, padding="same", use_bias=False, trainable=False)
        answer = sharpen(x)
        sharpen.set_weights([np.tile(ops.KERNELS["laplacian"][:, :, None, None], (1, 1, x.shape[-1], 1))])
        return answer

    def up(x, level):
        layer = transposed(UPS[level], 3, strides=2, padding="same", name=f"decoder.ups.{level}")
        return layers.ReLU()(layer(x))

    image = x = keras.Input((*SIZE, 3))
    maps = []
    for level, width in enumerate(WIDTHS):
        x = layers.MaxPooling2D()(x) if level else x
        x = convolved(x, f"encoder.blocks.{level}.first", width)
        x = convolved(x, f"encoder.blocks.{level}.second", width)
        maps.append(x)
    skips = [filtered(each) for each in maps[:4]]
    third = layers.Concatenate()([up(x, 3), gate(skips[3], x, "decoder.gates.2", GATES[2])])
    second = layers.Concatenate()([up(third, 2), gate(skips[2], third, "decoder.gates.1", GATES[1])])
    first = layers.Concatenate()([up(second, 1), gate(skips[1], third, "decoder.gates.0", GATES[0])])
    finest = layers.Concatenate()([up(first, 0), skips[0]])
    return keras.Model(image, convolution(1, 1, name="decoder.head")(finest))


def copy_weights(model, reference):
    """Copy all of our weights to the layers of the same names."""
    modules = {".".join(map(str, path)): module for path, module in nnx.iter_modules(model)}
    for layer in [layer for layer in reference.layers if layer.name in modules]:
        source = modules[layer.name]
        if layer.name.endswith("norm"):
            layer.set_weights([np.asarray(leaf[...]) for leaf in (source.scale, source.bias, source.mean, source.var)])
            continue
        kernel = np.asarray(source.kernel[...])
        if isinstance(layer, layers.Conv2DTranspose):
            # Keras has the output channels first. Without a stride, ours is a convolution: it is not transposed.
            kernel = (kernel if layer.strides == (2, 2) else kernel[::-1, ::-1]).swapaxes(2, 3)
        layer.set_weights([kernel, np.asarray(source.bias[...])])


@functools.partial(jax.jit, static_argnums=0)
def trained(graph, state, images, weight):
    """Return the logits of a training step, and the new statistics."""
    model = nnx.merge(graph, state, copy=True)
    return model(images, weight), nnx.state(model, nnx.BatchStat)


def called(reference, *, training):
    """Return what Keras's network gives, and its new statistics."""
    variables = reference.trainable_variables, reference.non_trainable_variables
    known, frozen = ([variable.value for variable in each] for each in variables)
    return jax.jit(lambda x: reference.stateless_call(known, frozen, x, training=training))(IMAGES)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", [pytest.param("attention_unet", marks=pytest.mark.slow), "sharp_attention_unet"])
def test_logits_equal_those_of_keras(name):
    model, reference = shuffled(name), keras_attention_unet("sharp" in name)
    copy_weights(model, reference)
    assert size(model, nnx.Param) == sum(np.prod(each.shape) for each in reference.trainable_weights if each.trainable)
    expected, _ = called(reference, training=False)
    assert np.asarray(expected).std() > 0.01
    np.testing.assert_allclose(nnx.jit(lambda m, x: m(x))(model, IMAGES), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", ["attention_unet", "sharp_attention_unet"])
@pytest.mark.slow  # tests/models/test_layers.py has a layer's training, and the next test that each layer trains
def test_logits_and_new_statistics_of_training_equal_those_of_keras(name):
    model, reference = shuffled(name), keras_attention_unet("sharp" in name)
    copy_weights(model, reference)
    expected, moved = called(reference, training=True)
    logits, stats = trained(*nnx.split(model), IMAGES, jnp.ones(2))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    theirs = {
        variable.path: value
        for variable, value in zip(reference.non_trainable_variables, moved, strict=True)
        if "moving" in variable.path  # the other one is the filter
    }
    ours = {
        f"{'.'.join(map(str, path))}/moving_{'mean' if kind == 'mean' else 'variance'}": leaf[...]
        for (*path, kind), leaf in nnx.to_flat_state(stats)
    }
    chex.assert_trees_all_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("narrow")
def test_every_normalisation_is_by_the_weighted_batch_in_training(monkeypatch):
    call, weights = models.layers.BatchNorm.__call__, []
    monkeypatch.setattr(
        models.layers.BatchNorm, "__call__", lambda self, x, weight: weights.append(weight) or call(self, x, weight)
    )
    model = nnx.eval_shape(lambda: models.build("attention_unet", rngs=nnx.Rngs(0)))
    jax.eval_shape(trained, *nnx.split(model), IMAGES, jnp.ones(2))
    assert len(weights) == sum(isinstance(each, models.layers.BatchNorm) for _, each in nnx.iter_modules(model)) > 10
    assert all(weight is not None for weight in weights)


@pytest.mark.usefixtures("narrow")
def test_each_skip_names_the_level_of_its_map():
    model = nnx.eval_shape(lambda: models.build("attention_unet", rngs=nnx.Rngs(0)))
    shapes = segmenter.skipped(model.encoder, model.decoder, (*SIZE, 3))
    height, width = SIZE
    assert shapes == {level: (height >> level, width >> level, WIDTHS[level]) for level in range(4)}
