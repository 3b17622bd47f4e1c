"""Layers against NumPy; batch statistics only of real images, whatever pads the batch."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from sharp_unet_jax import ops
from sharp_unet_jax.models.layers import BatchNorm, Conv, twice

RNG = np.random.default_rng(0)
X = RNG.normal(2, 3, (4, 5, 6, 3)).astype(np.float32)


def norm(channels: int = 3) -> BatchNorm:
    layer = BatchNorm(channels)
    layer.scale[...] = jnp.asarray(RNG.uniform(0.5, 2, channels), jnp.float32)
    layer.bias[...] = jnp.asarray(RNG.normal(size=channels), jnp.float32)
    return layer


def expected(layer, x, mean, var):
    return (x - mean) / np.sqrt(var + 1e-5) * np.asarray(layer.scale[...]) + np.asarray(layer.bias[...])


def test_training_normalises_by_the_batch_and_moves_running_statistics_by_a_tenth():
    layer = norm()
    mean, var = X.mean((0, 1, 2)), X.var((0, 1, 2))
    np.testing.assert_allclose(layer(X, jnp.ones(4)), expected(layer, X, mean, var), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.mean[...], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(layer.var[...], 0.9 + 0.1 * var, rtol=1e-5)


def test_prediction_uses_the_running_statistics_and_keeps_them():
    layer = norm()
    mean, var = np.array([1, -2, 0.5], np.float32), np.array([4, 0.25, 1], np.float32)
    layer.mean[...], layer.var[...] = jnp.asarray(mean), jnp.asarray(var)
    np.testing.assert_allclose(layer(X, None), expected(layer, X, mean, var), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.mean[...], mean)
    np.testing.assert_array_equal(layer.var[...], var)
    np.testing.assert_allclose(layer(X, None)[:1], layer(X[:1], None), rtol=1e-6)  # whatever else is in the batch


@given(n=st.integers(1, 4), padding=st.integers(1, 4), value=st.sampled_from([0.0, 1e6, -300.0]))
def test_padding_leaves_no_trace(n, padding, value):
    alone, with_padding = BatchNorm(3), BatchNorm(3)
    padded = np.concatenate([X[:n], np.full((padding, *X.shape[1:]), value, np.float32)])
    weight = jnp.asarray([1.0] * n + [0.0] * padding)
    np.testing.assert_allclose(with_padding(padded, weight)[:n], alone(X[:n], jnp.ones(n)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(with_padding.mean[...], alone.mean[...], rtol=1e-5)
    np.testing.assert_allclose(with_padding.var[...], alone.var[...], rtol=1e-5)


def test_padding_leaves_no_trace_in_gradients():
    layer = norm()
    graph, params, stats = nnx.split(layer, nnx.Param, ...)

    def total(params, x, weight):
        y = nnx.merge(graph, params, stats, copy=True)(x, weight)
        return jnp.sum(jnp.sin(y) * weight.reshape(-1, 1, 1, 1))

    padded = jnp.concatenate([X, jnp.full((3, *X.shape[1:]), 50.0)])
    weight = jnp.asarray([1.0] * 4 + [0.0] * 3)
    with_padding = jax.grad(total, (0, 1))(params, padded, weight)
    alone = jax.grad(total, (0, 1))(params, jnp.asarray(X), jnp.ones(4))
    np.testing.assert_allclose(with_padding[1][:4], alone[1], rtol=1e-4, atol=1e-5)
    assert not with_padding[1][4:].any()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), with_padding[0], alone[0])


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (2, 8, 8, 3), (3, 1, 7, 3)])  # sums of 2, 16 and 1 pixels
def test_the_gradient_is_that_of_the_definition(shape):
    layer, x = norm(), jnp.asarray(RNG.normal(2, 3, shape), jnp.float32)
    graph, params, stats = nnx.split(layer, nnx.Param, ...)

    def total(params, x):
        return jnp.sum(jnp.sin(nnx.merge(graph, params, stats, copy=True)(x, jnp.ones(shape[0]))))

    def defined(params, x):
        mean, var = (f(x, axis=(0, 1, 2), keepdims=True) for f in (jnp.mean, jnp.var))
        scale, bias = (params[name][None, None, None] for name in ("scale", "bias"))
        return jnp.sum(jnp.sin((x - mean) / jnp.sqrt(var + 1e-5) * scale + bias))

    answers = [jax.grad(f, (0, 1))(params, x) for f in (total, defined)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *answers)


def test_a_batch_of_padding_alone_is_normalised_as_if_real_and_changes_no_statistics():
    layer, untouched = norm(), BatchNorm(3)
    np.testing.assert_allclose(
        layer(X, jnp.zeros(4)), expected(layer, X, X.mean((0, 1, 2)), X.var((0, 1, 2))), rtol=1e-4, atol=1e-5
    )
    for name in ("mean", "var"):
        np.testing.assert_array_equal(getattr(layer, name)[...], getattr(untouched, name)[...])


def test_one_pixel_is_its_own_mean():
    layer = norm()
    x = X[:1, :1, :1]
    np.testing.assert_allclose(layer(x, jnp.ones(1)), np.broadcast_to(layer.bias[...], x.shape), atol=1e-4)
    np.testing.assert_allclose(layer.var[...], 0.9, rtol=1e-6)
    assert np.isfinite(layer(x, None)).all()


def test_statistics_are_float32_under_bfloat16():
    layer, x = norm(), jnp.asarray(X + 1000, jnp.bfloat16)
    assert layer(x, jnp.ones(4)).dtype == jnp.bfloat16
    assert layer.mean[...].dtype == layer.var[...].dtype == jnp.float32
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(layer.mean[...], 0.1 * exact.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(layer.var[...], 0.9 + 0.1 * exact.var((0, 1, 2)), rtol=1e-4)


def outcomes(layer, x, weight):
    """Return the result in training, its gradients for x and the bias, the new statistics, and the prediction."""
    graph, params, rest = nnx.split(layer, nnx.Param, ...)

    @jax.jit
    def run(params, x):
        def total(params, x):
            model = nnx.merge(graph, params, rest, copy=True)
            y = model(x, weight)
            return jnp.sum(jnp.sin(y.astype(jnp.float32)) * weight.reshape(-1, 1, 1, 1)), (y, nnx.state(model))

        gradients, (y, state) = jax.grad(total, (0, 1), has_aux=True)(params, x)
        predicted = nnx.merge(graph, params, rest, copy=True)(x, None)
        return y, gradients[1], gradients[0]["bias"][...], state["mean"][...], state["var"][...], predicted

    return run(params, x)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("lowering", [contextlib.nullcontext, ops.by_definition])
def test_without_scale_it_is_one(dtype, lowering):
    """In value, gradient and statistics, with padding, by the CPU's lowering and by the definition."""
    scaled, bare = BatchNorm(3, eps=1e-3), BatchNorm(3, eps=1e-3, scale=False)
    for layer in (scaled, bare):
        layer.bias[...] = jnp.asarray([0.5, -1, 2], jnp.float32)
        layer.mean[...], layer.var[...] = jnp.asarray([1.0, 2, 3]), jnp.asarray([4.0, 9, 2])
    assert sorted(nnx.to_pure_dict(nnx.state(bare, nnx.Param))) == ["bias"]
    x, weight = jnp.asarray(X, dtype).at[3].set(100), jnp.asarray([1.0, 1, 1, 0])
    with lowering():
        ours, theirs = outcomes(bare, x, weight), outcomes(scaled, x, weight)
        alone = outcomes(bare, x[:3], weight[:3])
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(ours, alone, strict=True):
        one, other = (np.asarray(each[:3], np.float32) for each in (one, other))
        np.testing.assert_allclose(one, other, rtol=1e-2 if dtype == jnp.bfloat16 else 1e-4, atol=1e-5)
    mean, var = (f(np.float32(x[:3]), axis=(0, 1, 2)) for f in (np.mean, np.var))
    expected = (np.float32(x) - mean) / np.sqrt(var + 1e-3) + [0.5, -1, 2]
    np.testing.assert_allclose(np.float32(ours[0]), expected, rtol=1e-2 if dtype == jnp.bfloat16 else 1e-4, atol=1e-2)


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (1, 1), (3, 2), (7, 2), (1, 2)])
@pytest.mark.parametrize("shape", [(2, 8, 6, 3), (1, 7, 5, 3)])
def test_convolution_pads_as_pytorch_does(size, stride, shape):
    layer = Conv(3, 4, size, stride, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.asarray(RNG.normal(size=4), jnp.float32)
    x = RNG.normal(size=shape).astype(np.float32)
    half = size // 2
    padded = np.pad(x, ((0, 0), (half, half), (half, half), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    answer = np.einsum("nhwcij,ijco->nhwo", windows, layer.kernel[...]) + np.asarray(layer.bias[...])
    np.testing.assert_allclose(layer(jnp.asarray(x)), answer, rtol=1e-4, atol=1e-5)
    assert "bias" not in nnx.to_pure_dict(nnx.state(Conv(3, 4, size, stride, bias=False, rngs=nnx.Rngs(0))))


def test_the_kernel_gradient_of_a_1x1_convolution_copies_no_activations():
    layer, x = Conv(8, 24, 1, rngs=nnx.Rngs(0)), jnp.ones((2, 16, 16, 8))
    graph, params = nnx.split(layer)
    gradient = jax.grad(lambda params, x: jnp.sum(jnp.sin(nnx.merge(graph, params)(x))))
    program = jax.jit(gradient).lower(params, x).compile().as_text()
    assert "f32[512,24]" in program
    assert "f32[24,512]" not in program  # a transposed copy of the output's gradient
    assert "f32[8,512]" not in program


def test_twice_repeats_every_pixel():
    np.testing.assert_array_equal(twice(jnp.asarray(X)), X.repeat(2, axis=1).repeat(2, axis=2))
