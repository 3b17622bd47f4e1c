"""UNet++: published parameter counts, the structure in Keras with equal weights, and networks pruned to a head."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sharp_unet_jax
from sharp_unet_jax import models
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.models import unet, unetpp
from tests.conftest import squares

os.environ["KERAS_BACKEND"] = "jax"
import keras

layers = keras.layers

WIDTHS = (4, 6, 10, 8)
LAPLACIAN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)
# The authors state 9,041,601 for grey images. RGB adds two channels to the first kernel, 2 x 9 x 32 = 576. Deep
# supervision adds three more heads of 32 + 1.
PARAMETERS = {"unetpp": 9_041_601 + 576, "unetpp_deep": 9_041_601 + 576 + 3 * 33}


def parameters(model) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    for name, network in list(models.MODELS.items()):
        if "unetpp" in name:
            parts = functools.partial(network.parts, widths=WIDTHS)
            monkeypatch.setitem(models.MODELS, name, network._replace(parts=parts))


def built(name, **options) -> models.Segmenter:
    """Build a narrow network whose weights, biases too, are random."""
    model = nnx.jit(lambda: models.build(name, rngs=nnx.Rngs(3), **options))()
    rng = np.random.default_rng(0)
    for _, each in nnx.iter_graph(model):
        if isinstance(each, nnx.Param) and each[...].ndim == 1:
            each[...] = jnp.asarray(rng.normal(0, 0.1, each.shape), jnp.float32)
    return model


@nnx.jit
def outputs(model, image):
    return model.outputs(image)


def images(height=32, width=48):
    return np.random.default_rng(1).uniform(size=(2, height, width, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["unetpp", "sharp_unetpp", "unetpp_deep", "sharp_unetpp_deep"])
def test_parameter_counts_are_the_published_ones(name):
    parts = functools.partial(models.MODELS[name].parts, widths=unet.WIDTHS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS, name, models.MODELS[name]._replace(parts=parts))
        model = nnx.eval_shape(lambda: models.build(name, rngs=nnx.Rngs(0)))
    assert parameters(model) == PARAMETERS[name.removeprefix("sharp_")]
    assert parameters(model) == sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model))) - 6  # no statistics
    assert len(model.decoder.heads) == (4 if "deep" in name else 1)


def test_kernels_are_he_normal_and_up_convolutions_glorot_uniform():
    build = functools.partial(unetpp.parts, num_classes=40, in_channels=3, widths=(32, 64))
    encoder, decoder = nnx.jit(lambda: build(rngs=nnx.Rngs(0)))()
    (path,), (head,) = decoder.paths, decoder.classifiers
    for layer in (encoder.blocks[1].first, path.blocks[0].first, path.blocks[0].second, head):
        deviation = np.sqrt(2 / np.prod(layer.kernel.shape[:3]))
        assert float(layer.kernel[...].std()) == pytest.approx(deviation, rel=0.05)
        assert not layer.bias[...].any()
    limit = np.sqrt(6 / (4 * (64 + 32)))
    assert float(jnp.abs(path.ups[0].kernel[...]).max()) == pytest.approx(limit, rel=1e-3)


def keras_unetpp(sharp: bool, deep: bool):
    """Build X(i, j) column by column, as the paper writes it: H([X(i, 0), ..., X(i, j-1), U(X(i+1, j-1))]).

    The up-convolution comes first among the joined maps, as in the authors' code.
    """
    depth = len(WIDTHS)
    filtered = {}

    def block(x, width, name):
        for part in ("first", "second"):
            x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"{name}_{part}")(x)
        return x

    def sharpened(x, level):
        if level not in filtered:
            layer = layers.DepthwiseConv2D(3, padding="same", use_bias=False, trainable=False)
            filtered[level] = layer(x)
            layer.set_weights([np.tile(LAPLACIAN[:, :, None, None], (1, 1, WIDTHS[level], 1))])
        return filtered[level]

    image = keras.Input((32, 48, 3))
    node = {(0, 0): block(image, WIDTHS[0], "0_0")}
    for i in range(1, depth):
        node[i, 0] = block(layers.MaxPooling2D()(node[i - 1, 0]), WIDTHS[i], f"{i}_0")
    for j in range(1, depth):
        for i in range(depth - j):
            up = layers.Conv2DTranspose(WIDTHS[i], 2, strides=2, name=f"{i}_{j}_up")(node[i + 1, j - 1])
            first = sharpened(node[i, 0], i) if sharp else node[i, 0]
            joined = layers.Concatenate()([up, first, *(node[i, k] for k in range(1, j))])
            node[i, j] = block(joined, WIDTHS[i], f"{i}_{j}")
    heads = range(1, depth) if deep else [depth - 1]
    return keras.Model(image, [layers.Conv2D(1, 1, name=f"head_{j}")(node[0, j]) for j in heads])


def by_name(model) -> dict:
    """Return our layers by the names of Keras's: node X(i, j) is on the path from X(i + j, 0)."""
    decoder = model.decoder
    found = {f"{i}_0": block for i, block in enumerate(model.encoder.blocks)}
    for n, path in enumerate(decoder.paths, 1):
        for j, (up, block) in enumerate(zip(path.ups, path.blocks, strict=True), 1):
            found |= {f"{n - j}_{j}_up": up, f"{n - j}_{j}": block}
    first = len(decoder.paths) - len(decoder.classifiers) + 1
    return found | {f"head_{j}": head for j, head in enumerate(decoder.classifiers, first)}


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("unetpp", "sharp_unetpp")), "sharp_unetpp_deep"]
)
def test_logits_equal_those_of_keras(name):
    model = built(name)
    reference, ours = (
        keras_unetpp(sharp="sharp" in name, deep="deep" in name),
        by_name(model),
    )
    for layer in reference.layers:
        if layer.trainable_weights:
            node, _, part = layer.name.rpartition("_")
            source = getattr(ours[node], part) if part in ("first", "second") else ours[layer.name]
            kernel = np.asarray(source.kernel[...])
            if isinstance(layer, layers.Conv2DTranspose):
                kernel = kernel.swapaxes(2, 3)  # Keras has the output channels first
            layer.set_weights([kernel, np.asarray(source.bias[...])])
    assert parameters(model) == sum(np.prod(each.shape) for each in reference.trainable_weights)
    found = outputs(model, images())
    expected = jax.jit(reference)(images())
    expected = [np.asarray(each) for each in (expected if isinstance(expected, list) else [expected])]
    assert len(found) == len(expected) == (3 if "deep" in name else 1)
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.std() > 0.01
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("level", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_a_pruned_network_is_smaller_and_gives_its_heads_logits(level):
    model, image = built("sharp_unetpp_deep", num_classes=2), images(17, 33)
    before = parameters(model)
    small = unetpp.pruned(model, level)
    (found,) = outputs(small, image)
    np.testing.assert_allclose(found, outputs(model, image)[level - 1], rtol=1e-6, atol=1e-6)
    assert parameters(model) == before
    # Level l has l + 1 blocks of the encoder, and l paths of 1 to l steps.
    assert len(small.encoder.blocks) == len(small.encoder.widths) == level + 1
    assert len(jax.tree.leaves(nnx.state(small.decoder))) == 6 * level * (level + 1) // 2 + 2
    others = [unetpp.pruned(model, other) for other in range(1, level)]
    assert all(parameters(other) < parameters(small) for other in others)
    assert parameters(small) < before


@pytest.mark.slow
def test_a_finished_run_is_pruned(tmp_path):
    data, settings = squares(), {"epochs": 1, "batch_size": 4, "deep_supervision": (1.0, 2.0, 3.0)}
    run = sharp_unet_jax.fit("unetpp_deep", data.images, data.masks, folder=tmp_path / "w", **settings)
    model = sharp_unet_jax.load(tmp_path / "w/runs" / run.name).network
    image = np.float32(data.images[:2] / 255)
    logits = nnx.jit(lambda model, image: model(image))(unetpp.pruned(model, 1), image)
    np.testing.assert_allclose(logits, outputs(model, image)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["unetpp", "unet"])
def test_a_network_without_deep_supervision_is_not_pruned(name):
    model = nnx.eval_shape(lambda: models.build(name, rngs=nnx.Rngs(0)))
    with pytest.raises(InputError, match=r"^pruned: .* take unetpp_deep or sharp_unetpp_deep$"):
        unetpp.pruned(model, 1)


@pytest.mark.parametrize("level", [0, 4, -1, 1.5])
def test_a_level_that_is_not_there_is_refused(level):
    model = nnx.eval_shape(lambda: models.build("unetpp_deep", rngs=nnx.Rngs(0)))
    with pytest.raises(InputError, match=f"^pruned: level must be from 1 to 3, got {level}$"):
        unetpp.pruned(model, level)
