"""A sharp block in networks of one's own: Flax NNX and Linen, under jit and grad, against a depthwise layer of Flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sharp_unet_jax import ops

X = np.random.default_rng(0).normal(size=(2, 9, 7, 3)).astype(np.float32)
K = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)
FIXED = np.broadcast_to(K[:, :, None, None], (3, 3, 1, 4))  # as kernel of a convolution with a group a channel


class Linen(nn.Module):
    """A convolution, and a head that sees it plain beside sharp."""

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
    """The same."""

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
def test_a_sharp_block_in_a_network_of_flax(made):
    outcomes = []
    for by_flax in (False, True):
        params, forward = made(by_flax)
        # The kernel is no parameter: both networks have those of their two convolutions.
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 3 * 3 * 3 * 4 + 4 + 8 + 1
        loss = lambda params, forward=forward: jnp.mean(jnp.square(forward(params)))  # noqa: E731
        outcomes.append((jax.jit(forward)(params), jax.jit(jax.grad(loss))(params)))
    ours, theirs = outcomes
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), ours, theirs)
    assert np.abs(ours[1]["down"]["kernel"]).max() > 1e-2


def test_a_learnable_kernel_and_a_step_of_nnx():
    """`nnx.jit` and `nnx.grad`, and a kernel of one's own as parameter: its gradient by finite differences."""

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
