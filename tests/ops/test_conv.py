"""Choice of the convolution by platform."""

import jax
import jax.numpy as jnp
import pytest

from sharp_unet_jax.ops import conv1x1, conv3x3
from tests.ops.compare import normal


def test_a_gpu_gets_no_product_of_every_other_pixel():
    """XLA's compiler for GPUs aborts on such a product in ResNet-18 (openxla/xla#47381)."""
    traced = jax.jit(lambda x, w: conv1x1(x, w, 2)).trace(normal(0, 2, 8, 6, 5), normal(1, 1, 1, 5, 4))
    gpu, cpu = (traced.lower(lowering_platforms=(p,)).as_text() for p in ("cuda", "cpu"))
    assert ("stablehlo.convolution" in gpu, "stablehlo.dot" in gpu) == (True, False)
    assert ("stablehlo.convolution" in cpu, "stablehlo.dot" in cpu) == (False, True)


@pytest.mark.parametrize(
    ("shape", "outputs", "dtype", "products"),
    [
        ((2, 32, 8, 32), 32, jnp.float32, 6),
        ((2, 32, 8, 32), 31, jnp.float32, 1),  # too few channels
        ((1, 75, 7, 32), 32, jnp.float32, 1),  # too narrow
        ((1, 5, 9, 32), 32, jnp.float32, 1),  # too few pixels
        ((2, 32, 8, 32), 32, jnp.bfloat16, 1),  # too few digits
    ],
)
def test_winograd_where_channels_width_and_pixels_are_enough(shape, outputs, dtype, products):
    traced = jax.jit(conv3x3).trace(normal(0, *shape, dtype=dtype), normal(1, 3, 3, shape[3], outputs, dtype=dtype))
    assert traced.lower(lowering_platforms=("cpu",)).as_text().count("stablehlo.convolution") == products


@pytest.mark.parametrize(
    ("inputs", "outputs", "dtype", "columns"),
    [
        (13, 4, jnp.float32, True),
        (11, 4, jnp.float32, False),  # too many outputs
        (13, 3, jnp.float32, False),  # too few
        (13, 4, jnp.bfloat16, False),  # too few digits
    ],
)
def test_few_outputs_are_convolved_by_columns_on_a_cpu(inputs, outputs, dtype, columns):
    traced = jax.jit(conv3x3).trace(
        normal(0, 2, 8, 6, inputs, dtype=dtype), normal(1, 3, 3, inputs, outputs, dtype=dtype)
    )
    text = traced.lower(lowering_platforms=("cpu",)).as_text()
    assert text.count("stablehlo.convolution") == 1
    assert (f"<3x1x{inputs}x{3 * outputs}x" in text) == columns


@pytest.mark.parametrize(
    ("shape", "outputs", "turned"), [((2, 8, 6, 5), 4, True), ((2, 8, 6, 5), 5, False), ((1, 6, 6, 5), 4, False)]
)
def test_the_filter_gradient_of_few_outputs_has_the_smaller_array_as_its_image(shape, outputs, turned):
    """The result is then (3, 3, outputs, inputs), and must be turned: with few pixels that costs more."""
    args = normal(0, *shape), normal(1, 3, 3, shape[3], outputs)
    gradient = jax.grad(lambda w, x: jnp.sum(conv3x3(x, w) ** 2))
    text = jax.jit(gradient).trace(*args[::-1]).lower(lowering_platforms=("cpu",)).as_text()
    assert ("stablehlo.reverse" in text) == turned


def test_few_channels_are_convolved_by_columns_on_a_gpu():
    """In bfloat16, 32 channels take two columns at once, and blocks of two columns for the filter's gradient."""
    args = [a.astype(jnp.bfloat16) for a in (normal(0, 2, 6, 16, 32), normal(1, 3, 3, 32, 32))]
    loss = lambda x, w: jnp.sum(conv3x3(x, w))  # noqa: E731
    text = jax.jit(jax.grad(loss, (0, 1))).trace(*args).lower(lowering_platforms=("cuda",)).as_text()
    assert "3x4x32x64xbf16" in text
    assert "3x3x64x64xbf16" in text
