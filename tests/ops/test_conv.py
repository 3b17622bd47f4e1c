"""3x3 convolution against `lax` and SciPy, in value and in the gradient of every argument."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from jax import Array, lax

from sharp_unet_jax.ops import add_bias, conv1x1, conv3x3
from tests.ops.compare import BFLOAT16, assert_same, float64, normal


def convolution(x: Array, w: Array) -> Array:
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_conv1x1_is_laxs_convolution(stride):
    def strided(x: Array, w: Array) -> Array:
        return lax.conv_general_dilated(x, w, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    assert_same(lambda x, w: conv1x1(x, w, stride), strided, (normal(0, 2, 7, 6, 5), normal(1, 1, 1, 5, 4)))


def test_a_gpu_is_given_no_product_of_every_other_pixel():
    """XLA's compiler for GPUs aborts on it in ResNet-18 (openxla/xla#47381)."""
    traced = jax.jit(lambda x, w: conv1x1(x, w, 2)).trace(normal(0, 2, 8, 6, 5), normal(1, 1, 1, 5, 4))
    gpu, cpu = (traced.lower(lowering_platforms=(p,)).as_text() for p in ("cuda", "cpu"))
    assert ("stablehlo.convolution" in gpu, "stablehlo.dot" in gpu) == (True, False)
    assert ("stablehlo.convolution" in cpu, "stablehlo.dot" in cpu) == (False, True)


# A single row and column, one channel, either side the narrower one; then, with channels enough for products in a
# transformed width: widths that four divides and not, one too narrow, one side with too few channels, too few pixels.
CONVOLUTIONS = [
    (2, 8, 6, 5, 7),
    (3, 7, 8, 4, 1),
    (1, 1, 1, 3, 3),
    (2, 32, 8, 32, 33),
    (1, 47, 11, 70, 32),
    (64, 1, 9, 128, 64),
    (2, 32, 8, 96, 64),
    (3, 24, 10, 40, 40),
    (1, 75, 7, 32, 32),
    (1, 60, 9, 32, 31),
    (1, 5, 9, 32, 32),
]


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_conv3x3_is_laxs_convolution(case):
    n, height, width, i, o = case
    assert_same(conv3x3, convolution, (normal(0, n, height, width, i), normal(1, 3, 3, i, o)))


@pytest.mark.parametrize(
    ("shape", "outputs", "products"),
    [((2, 32, 8, 32), 32, 6), ((2, 32, 8, 32), 31, 1), ((1, 75, 7, 32), 32, 1), ((1, 5, 9, 32), 32, 1)],
)
def test_conv3x3_is_products_in_parts_only_where_channels_width_and_pixels_are_enough(shape, outputs, products):
    traced = jax.jit(conv3x3).trace(normal(0, *shape), normal(1, 3, 3, shape[3], outputs))
    assert traced.lower(lowering_platforms=("cpu",)).as_text().count("stablehlo.convolution") == products


def test_conv3x3_is_scipys_correlation():
    x, w = normal(0, 2, 6, 5, 3), normal(1, 3, 3, 3, 4)
    image, kernels = float64(x, w)
    for o in range(4):
        expected = scipy.ndimage.correlate(image, kernels[None, :, :, :, o], mode="constant")[..., 1]
        np.testing.assert_allclose(conv3x3(x, w)[..., o], expected, rtol=1e-4, atol=1e-4)


def test_conv3x3_in_bfloat16_is_laxs():
    x, w = normal(0, 8, 8, 9, 32, dtype=jnp.bfloat16), normal(1, 3, 3, 32, 32, dtype=jnp.bfloat16)
    assert_same(conv3x3, convolution, (x, w), BFLOAT16)


def test_a_convolution_with_a_bias_is_one_and_the_other():
    x, w, bias, g = normal(0, 2, 9, 10, 3), normal(1, 3, 3, 3, 5), normal(2, 5), normal(3, 2, 9, 10, 5)
    together, of_together = jax.vjp(conv3x3, x, w, bias)
    apart, of_apart = jax.vjp(lambda x, w, bias: add_bias(conv3x3(x, w), bias), x, w, bias)
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(together, convolution(x, w) + bias.reshape(1, 1, 1, -1), rtol=1e-5, atol=1e-5)
    for one, other in zip(of_together(g), of_apart(g), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_together(g)[2], np.sum(g, (0, 1, 2)), rtol=1e-5)


def test_few_channels_are_convolved_by_columns_on_a_gpu():
    """In bfloat16: two columns at once for 32 channels, and blocks of two for the gradient of their filter."""
    args = [a.astype(jnp.bfloat16) for a in (normal(0, 2, 6, 16, 32), normal(1, 3, 3, 32, 32))]
    loss = lambda x, w: jnp.sum(conv3x3(x, w))  # noqa: E731
    text = jax.jit(jax.grad(loss, (0, 1))).trace(*args).lower(lowering_platforms=("cuda",)).as_text()
    assert "3x4x32x64xbf16" in text
    assert "3x3x64x64xbf16" in text
