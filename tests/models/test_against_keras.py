"""Whole networks against the same networks in Keras, written from the paper's section 3, with equal weights."""

import os

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sharp_unet_jax import models
from tests.conftest import shrink_models

os.environ["KERAS_BACKEND"] = "jax"
import keras

layers = keras.layers

WIDTHS = (4, 8, 6)
WIDE = (5, 9, 7)  # its up-convolutions have the widths of the narrow network
LAPLACIAN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)


def keras_unet(widths: tuple[int, ...], sharp: bool):
    """Build the U-Net: two convolutions per block, pooling, transposed convolutions, and sharp blocks if asked for."""

    def block(x, width):
        for _ in range(2):
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        return x

    image = x = keras.Input((16, 24, 3))
    skips = []
    for width in widths[:-1]:
        x = block(x, width)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = block(x, widths[-1])
    for up, width, skip in zip(WIDTHS[-2::-1], widths[-2::-1], reversed(skips), strict=True):
        x = layers.Conv2DTranspose(up, 2, strides=2)(x)
        if sharp:
            kernel = np.tile(LAPLACIAN[:, :, None, None], (1, 1, width, 1))
            sharpen = layers.DepthwiseConv2D(3, padding="same", use_bias=False, trainable=False)
            skip = sharpen(skip)
            sharpen.set_weights([kernel])
        x = block(layers.Concatenate()([x, skip]), width)
    return keras.Model(image, layers.Conv2D(1, 1)(x))


def copy_weights(model, reference):
    """Copy the weights of `model` to Keras's layers, in the order of the network."""
    ours = []
    for block in model.encoder.blocks:
        ours += [block.first, block.second]
    for up, block in zip(model.decoder.ups, model.decoder.blocks, strict=True):
        ours += [up, block.first, block.second]
    ours.append(model.decoder.head)
    kinds = (layers.Conv2D, layers.Conv2DTranspose)
    theirs = [layer for layer in reference.layers if isinstance(layer, kinds) and layer.trainable]
    for layer, source in zip(theirs, ours, strict=True):
        kernel, bias = np.asarray(source.kernel[...]), np.asarray(source.bias[...])
        if isinstance(layer, layers.Conv2DTranspose):
            kernel = kernel.swapaxes(2, 3)  # Keras has the output channels first
        layer.set_weights([kernel.reshape(layer.kernel.shape), bias])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("unet", marks=pytest.mark.slow),
        "sharp_unet",
        pytest.param("wide_sharp_unet", marks=pytest.mark.slow),
    ],
)
def test_logits_equal_those_of_keras(name, monkeypatch):
    shrink_models(monkeypatch, WIDTHS)
    wide = models.MODELS["wide_sharp_unet"]._replace(parts=models._unet(WIDE, WIDTHS[:-1]))
    monkeypatch.setitem(models.MODELS, "wide_sharp_unet", wide)
    model = models.build(name, rngs=nnx.Rngs(3))
    rng = np.random.default_rng(0)
    for parameters in (*model.encoder.blocks, *model.decoder.ups, *model.decoder.blocks):
        for part in (parameters.first, parameters.second) if hasattr(parameters, "first") else (parameters,):
            part.bias[...] = jnp.asarray(rng.normal(0, 0.1, part.bias.shape), jnp.float32)
    reference = keras_unet(WIDE if "wide" in name else WIDTHS, sharp="sharp" in name)
    copy_weights(model, reference)
    images = rng.uniform(size=(2, 16, 24, 3)).astype(np.float32)
    expected = np.asarray(reference(images))
    assert np.abs(expected).std() > 0.01
    np.testing.assert_allclose(model(jnp.asarray(images)), expected, rtol=1e-4, atol=1e-5)
