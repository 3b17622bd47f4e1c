"""Networks of a user: a sharp block in Flax NNX and Linen, and a decoder with dense skips in the registry."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sharp_unet_jax
from sharp_unet_jax import models, ops
from sharp_unet_jax.inference import explain, export
from sharp_unet_jax.models import layers, unet
from tests.conftest import squares

X = np.random.default_rng(0).normal(size=(2, 9, 7, 3)).astype(np.float32)
K = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)
FIXED = np.broadcast_to(K[:, :, None, None], (3, 3, 1, 4))  # kernel of a convolution with one group per channel


class Linen(nn.Module):
    """A convolution, and a head that sees its output plain and sharpened."""

    by_flax: bool = False

    @nn.compact
    def __call__(self, x):
        skip = nn.relu(nn.Conv(4, (3, 3), name="down")(x))
        if self.by_flax:
            layer = nn.Conv(4, (3, 3), feature_group_count=4, use_bias=False, parent=None)
            sharp = layer.apply({"params": {"kernel": FIXED}}, skip)
        else:
            sharp = ops.sharpen(skip)
        return nn.Conv(1, (1, 1), name="head")(jnp.concatenate([skip, sharp], axis=-1))


class Nnx(nnx.Module):
    """The network of `Linen`, in NNX."""

    def __init__(self, by_flax=False, *, rngs):
        self.down, self.head = nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.Conv(8, 1, (1, 1), rngs=rngs)
        self.by_flax = by_flax

    def __call__(self, x):
        skip = nnx.relu(self.down(x))
        if self.by_flax:
            layer = nnx.Conv(4, 4, (3, 3), feature_group_count=4, use_bias=False, rngs=nnx.Rngs(0))
            layer.kernel[...] = jnp.asarray(FIXED)
            sharp = layer(skip)
        else:
            sharp = ops.sharpen(skip)
        return self.head(jnp.concatenate([skip, sharp], axis=-1))


def linen(by_flax):
    network = Linen(by_flax)
    params = network.init(jax.random.key(0), X)["params"]
    return params, lambda params: network.apply({"params": params}, X)


def by_nnx(by_flax):
    graph, params = nnx.split(Nnx(by_flax, rngs=nnx.Rngs(0)))
    return nnx.to_pure_dict(params), lambda params: nnx.merge(graph, params)(X)


@pytest.mark.parametrize("made", [linen, by_nnx])
def test_a_sharp_block_in_a_flax_network_equals_a_depthwise_layer(made):
    outcomes = []
    for by_flax in (False, True):
        params, forward = made(by_flax)
        # The kernel is no parameter: the parameters are those of the two convolutions.
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 3 * 3 * 3 * 4 + 4 + 8 + 1
        loss = lambda params, forward=forward: jnp.mean(jnp.square(forward(params)))  # noqa: E731
        outcomes.append((jax.jit(forward)(params), jax.jit(jax.grad(loss))(params)))
    ours, theirs = outcomes
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), ours, theirs)
    assert np.abs(ours[1]["down"]["kernel"]).max() > 1e-2


def test_a_kernel_as_a_parameter_of_an_nnx_network():
    """`nnx.jit`, `nnx.grad` and a kernel that is a parameter: its gradient is a sum over shifted images."""

    class Learnable(nnx.Module):
        def __init__(self):
            self.kernel = nnx.Param(jnp.asarray(K))

        def __call__(self, x):
            return ops.sharpen(x, self.kernel[...], padding="reflect")

    weight = np.random.default_rng(1).normal(size=X.shape).astype(np.float32)
    network = Learnable()
    gradient = nnx.jit(nnx.grad(lambda network: jnp.sum(network(X) * weight)))(network)
    padded = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    expected = [[np.sum(weight * padded[:, i : i + 9, j : j + 7]) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(gradient["kernel"][...], expected, rtol=1e-4, atol=1e-4)


class DenseDecoder(nnx.Module):
    """UNet++ (Zhou et al. 2018): a map joins all later maps of its level; the logits are the mean of two heads."""

    heads: tuple[str, ...] = ("first", "second")

    def __init__(self, widths, *, num_classes, rngs):
        self.blocks = nnx.Dict()
        for step in range(1, len(widths)):
            for level in range(len(widths) - step):
                channels = step * widths[level] + widths[level + 1]
                self.blocks[f"{level}_{step}"] = unet.Block(channels, widths[level], rngs=rngs)
        self.first = layers.Conv(widths[0], num_classes, 1, rngs=rngs)
        self.second = layers.Conv(widths[0], num_classes, 1, rngs=rngs)

    def __call__(self, maps, skip, weight=None):
        rows = [[x] for x in maps]
        for step in range(1, len(maps)):
            for level in range(len(maps) - step):
                x = layers.twice(rows[level + 1][-1])
                for earlier in rows[level]:
                    x = skip(level, earlier, x)
                rows[level].append(self.blocks[f"{level}_{step}"](x))
        return (self.first(rows[0][1]) + self.second(rows[0][2])) / 2


@pytest.fixture
def dense(monkeypatch):
    def parts(*, num_classes, in_channels, rngs):
        encoder = unet.UNetEncoder(in_channels, (4, 6, 8), rngs=rngs)
        return encoder, DenseDecoder(encoder.widths, num_classes=num_classes, rngs=rngs)

    monkeypatch.setitem(models.MODELS, "sharp_dense", models.Network(parts, "dense", "sharp", "unet"))
    return "sharp_dense"


@pytest.mark.slow
def test_a_decoder_with_dense_skips_is_trained_explained_exported_and_reused_like_any_other(dense, tmp_path):
    data = squares(size=(18, 24))  # its height is padded to 20
    run = sharp_unet_jax.fit(dense, data.images, data.masks, epochs=2, batch_size=4, seed=1, folder=tmp_path / "w")

    image = data.images[0]
    skips = explain.skips(run, image)
    assert [skip.before.shape for skip in skips] == [(20, 24, 4), (10, 12, 6), (20, 24, 4), (20, 24, 4)]
    for skip in skips:
        sharpened = ops.depthwise(jnp.asarray(skip.before[None]), jnp.asarray(K))[0]
        np.testing.assert_allclose(skip.after, sharpened, rtol=1e-4, atol=1e-5)
    maps = explain.gradcam(run, image, 1, np.ones((18, 24), bool))
    assert maps.shape == (4, 18, 24)
    assert np.isfinite(maps).all()
    assert maps[-1].max() > 0  # one block and the second head follow the last call

    (expected,) = run.predict([image])
    exported = jax.export.deserialize(bytearray(export.to_stablehlo([run])))
    np.testing.assert_allclose(exported.call(image[None])[1][0], expected, atol=1e-4)

    other = sharp_unet_jax.build(dense, num_classes=3, rngs=nnx.Rngs(0), weights=str(tmp_path / "w/runs" / run.name))
    fresh = sharp_unet_jax.build(dense, num_classes=3, rngs=nnx.Rngs(0))
    for head in ("first", "second"):
        ours, theirs = (getattr(model.decoder, head).kernel[...] for model in (other, fresh))
        np.testing.assert_array_equal(ours, theirs)
    trained = run.weights["params"]["decoder"]["blocks"]["0_2"]["first"]["kernel"]
    np.testing.assert_array_equal(other.decoder.blocks["0_2"].first.kernel[...], trained)
