"""Each definition against SciPy, NumPy and `lax`; each operation against its definition, in value and in gradient."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from jax import lax

from sharp_unet_jax import ops
from sharp_unet_jax.ops import KERNELS, definitions
from tests.ops.compare import BFLOAT16, FLOAT32, assert_same, float64, normal

LAYOUT = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}


@pytest.mark.parametrize("padding", ["zero", "reflect"])
def test_depthwise_is_scipys_correlation(padding):
    x = normal(0, 2, 6, 5, 3)
    mode = {"zero": "constant", "reflect": "mirror"}[padding]  # SciPy's "reflect" repeats the edge pixel
    for kernel in KERNELS.values():
        image, weights = float64(x, kernel)
        expected = scipy.ndimage.correlate(image, weights[None, :, :, None], mode=mode)
        np.testing.assert_allclose(definitions.depthwise(x, kernel, padding), expected, rtol=1e-5, atol=1e-5)


def test_depthwise_with_a_kernel_for_each_channel_is_not_flipped():
    x, kernel = normal(0, 2, 6, 5, 3), normal(1, 3, 5, 3)
    image, kernels = float64(x, kernel)
    for c in range(3):
        expected = scipy.ndimage.correlate(image[..., c], kernels[None, :, :, c], mode="constant")
        np.testing.assert_allclose(definitions.depthwise(x, kernel)[..., c], expected, rtol=1e-5, atol=1e-5)


def test_depthwise_is_one_grouped_convolution():
    jaxpr = jax.make_jaxpr(lambda x: definitions.depthwise(x, KERNELS["laplacian"]))(normal(0, 1, 4, 4, 7))
    assert "feature_group_count=7" in str(jaxpr)


def test_conv3x3_is_scipys_correlation():
    x, w, bias = normal(0, 2, 6, 5, 3), normal(1, 3, 3, 3, 4), normal(2, 4)
    image, kernels, added = float64(x, w, bias)
    for o in range(4):
        expected = scipy.ndimage.correlate(image, kernels[None, :, :, :, o], mode="constant")[..., 1]
        np.testing.assert_allclose(definitions.conv3x3(x, w)[..., o], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(definitions.conv3x3(x, w, bias)[..., o], expected + added[o], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_conv1x1_is_a_product_with_each_pixel(stride):
    x, w = float64(normal(0, 2, 7, 6, 5), normal(1, 1, 1, 5, 4))
    y = definitions.conv1x1(jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32), stride)
    np.testing.assert_allclose(y, x[:, ::stride, ::stride] @ w[0, 0], rtol=1e-5, atol=1e-5)


def test_up_conv_puts_each_tap_in_its_place_and_is_laxs_transposed_convolution():
    x, w = normal(0, 2, 3, 4, 5), normal(1, 2, 2, 5, 6)
    y = definitions.up_conv(x, w)
    for a, b in np.ndindex(2, 2):
        image, tap = float64(x, w[a, b])
        np.testing.assert_allclose(y[:, a::2, b::2], image @ tap, rtol=1e-5, atol=1e-5)
    expected = lax.conv_transpose(x, w[::-1, ::-1], (2, 2), "VALID", **LAYOUT)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [2, 3])
def test_max_pool_is_laxs_reduce_window(size):
    x = -jnp.abs(normal(0, 2, 7, 6, 3))  # padding of 0 would be the maximum
    border = ((0, 0), *[((size - 1) // 2,) * 2] * 2, (0, 0))
    expected = lax.reduce_window(x, -np.inf, lax.max, (1, size, size, 1), (1, 2, 2, 1), border)
    np.testing.assert_array_equal(definitions.max_pool(x, size), expected)


@pytest.mark.parametrize(("factor", "expected"), [(2, [0, 2, 6, 8]), (4, [0, 0, 1, 3, 5, 7, 8, 8])])
def test_enlarging_by_hand(factor, expected):
    """Pixel i lies at (i + 1/2) / factor - 1/2 between two pixels, 0 and 8. Beyond them only the nearer one counts."""
    row = jnp.array([0.0, 8])
    columns = definitions.enlarge(row.reshape(1, 1, 2, 1), factor)
    np.testing.assert_array_equal(columns[0, :, :, 0], factor * [expected])
    np.testing.assert_array_equal(definitions.enlarge(row.reshape(1, 2, 1, 1), factor), columns.swapaxes(1, 2))


@pytest.mark.parametrize("factor", [2, 4, 16, 64])
@pytest.mark.parametrize("shape", [(2, 3, 5, 3), (1, 1, 2, 1)])
def test_enlarge_is_jaxs_bilinear_resizing(factor, shape):
    """It is PyTorch's too: a network with every one of these factors gives the same logits there (bench/)."""
    n, height, width, channels = shape
    x = normal(0, *shape)
    expected = jax.image.resize(x, (n, factor * height, factor * width, channels), "linear", antialias=False)
    np.testing.assert_allclose(definitions.enlarge(x, factor), expected, rtol=1e-5, atol=1e-5)


def test_relu_is_jaxs_and_the_gradient_at_zero_is_zero():
    x = jnp.array([-2.0, -0.0, 0.0, 1e-30, 3.0])
    np.testing.assert_array_equal(definitions.relu(x), jax.nn.relu(x))
    np.testing.assert_array_equal(definitions.relu_gradient(jax.nn.relu(x), 2 * jnp.ones(5)), [0, 0, 0, 2, 2])


def test_normalised_is_numpys_weighted_mean_and_variance():
    x, share, scale, bias = float64(normal(0, 3, 5, 4), np.array([0.5, 0.0, 0.5]) / 5, normal(1, 4), normal(2, 4))
    counted = x[[0, 2]].reshape(-1, 4)
    mean, var = counted.mean(axis=0), counted.var(axis=0)
    expected = (x - mean) / np.sqrt(var + 1e-3) * scale + bias
    args = (jnp.asarray(a, jnp.float32) for a in (x, share, scale, bias))
    for one, other in zip(definitions.normalised(*args, 1e-3), (expected, mean, var), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


SHARES = jnp.array([0.6, 0.0, 0.4], jnp.float32)


def normalised(o, pixels):
    return lambda x, scale, bias: o.normalised(x, SHARES / pixels, scale, bias, 1e-3)


BOTH = (jnp.float32, jnp.bfloat16)
ONE = (jnp.float32,)
# What is compared: a function of the module (`ops` or `definitions`), the shapes of its arguments, the dtypes.
CASES = {
    # Kernels of one weight or of one for each channel, square or not, larger than the image or not. Sides that are all
    # border, sides that have one pixel inside, odd and even sides.
    "sharpen": (lambda o: o.sharpen, [(2, 7, 6, 4), (3, 3)], BOTH),
    "sharpen, a kernel for each channel": (lambda o: o.sharpen, [(2, 7, 6, 4), (5, 3, 4)], ONE),
    "sharpen, one row": (lambda o: o.sharpen, [(2, 7, 6, 4), (1, 5, 4)], ONE),
    "sharpen, one channel": (lambda o: o.sharpen, [(2, 6, 7, 1), (3, 3)], ONE),
    "sharpen, 1x6": (lambda o: o.sharpen, [(2, 1, 6, 3), (3, 3)], ONE),
    "sharpen, 2x5": (lambda o: o.sharpen, [(2, 2, 5, 3), (3, 3)], ONE),
    "sharpen, 3x4": (lambda o: o.sharpen, [(2, 3, 4, 3), (3, 3)], ONE),
    "sharpen, 5x5 on 2x5": (lambda o: o.sharpen, [(2, 2, 5, 3), (5, 5)], ONE),
    "sharpen, 5x5 on 5x3": (lambda o: o.sharpen, [(2, 5, 3, 3), (5, 5)], ONE),
    "sharpen, 5x5 on 6x5": (lambda o: o.sharpen, [(2, 6, 5, 3), (5, 5)], ONE),
    "sharpen, reflect": (lambda o: lambda x, k: o.sharpen(x, k, "reflect"), [(2, 7, 6, 4), (3, 3)], BOTH),
    "sharpen, reflect, 5x3": (lambda o: lambda x, k: o.sharpen(x, k, "reflect"), [(2, 7, 6, 4), (5, 3, 4)], ONE),
    "sharpen, random": (lambda o: lambda x: o.sharpen(x, "random"), [(2, 7, 6, 4)], ONE),
    "sharp_skip": (lambda o: o.sharp_skip, [(2, 7, 6, 6), (2, 7, 6, 4), (3, 3)], BOTH),
    "sharp_skip, one channel below": (lambda o: o.sharp_skip, [(2, 6, 5, 1), (2, 6, 5, 4), (3, 3, 4)], ONE),
    "sharp_skip, reflect": (
        lambda o: lambda below, x, k: o.sharp_skip(below, x, k, "reflect"),
        [(2, 7, 6, 6), (2, 7, 6, 4), (5, 3)],
        ONE,
    ),
    "sharp_skip, random": (
        lambda o: lambda below, x: o.sharp_skip(below, x, "random"),
        [(2, 7, 6, 6), (2, 7, 6, 4)],
        ONE,
    ),
    # Few channels; then enough channels for Winograd: widths that are and are not multiples of four, either side with
    # fewer channels, images of one row, few rows in all.
    "conv3x3": (lambda o: o.conv3x3, [(3, 7, 9, 4), (3, 3, 4, 1), (1,)], BOTH),
    "conv3x3 of one pixel": (lambda o: o.conv3x3, [(1, 1, 1, 3), (3, 3, 3, 3)], ONE),
    "conv3x3 to few outputs": (lambda o: o.conv3x3, [(2, 7, 9, 12), (3, 3, 12, 4), (4,)], BOTH),
    "conv3x3 to few outputs, one column": (lambda o: o.conv3x3, [(9, 6, 1, 15), (3, 3, 15, 5)], ONE),
    "conv3x3 32 to 33": (lambda o: o.conv3x3, [(2, 32, 8, 32), (3, 3, 32, 33), (33,)], ONE),
    "conv3x3 70 to 32": (lambda o: o.conv3x3, [(1, 47, 11, 70), (3, 3, 70, 32)], ONE),
    "conv3x3 128 to 64": (lambda o: o.conv3x3, [(64, 1, 9, 128), (3, 3, 128, 64)], ONE),
    "conv3x3 96 to 64": (lambda o: o.conv3x3, [(2, 32, 8, 96), (3, 3, 96, 64)], ONE),
    "conv3x3 40 to 40": (lambda o: o.conv3x3, [(3, 24, 10, 40), (3, 3, 40, 40)], ONE),
    "conv3x3 32 to 32": (lambda o: o.conv3x3, [(8, 8, 9, 32), (3, 3, 32, 32)], (jnp.bfloat16,)),
    "conv1x1": (lambda o: o.conv1x1, [(2, 7, 6, 5), (1, 1, 5, 4)], BOTH),
    "conv1x1, stride 2": (lambda o: lambda x, w: o.conv1x1(x, w, 2), [(2, 7, 6, 5), (1, 1, 5, 4)], BOTH),
    "conv1x1, stride 3": (lambda o: lambda x, w: o.conv1x1(x, w, 3), [(2, 7, 6, 5), (1, 1, 5, 4)], ONE),
    "up_conv": (lambda o: o.up_conv, [(2, 4, 3, 5), (2, 2, 5, 7)], BOTH),
    "up_conv of one pixel": (lambda o: o.up_conv, [(1, 1, 1, 1), (2, 2, 1, 1)], ONE),
    "up_conv to one channel": (lambda o: o.up_conv, [(3, 5, 2, 8), (2, 2, 8, 1)], ONE),
    "max_pool": (lambda o: o.max_pool, [(3, 9, 7, 2)], BOTH),
    "max_pool of 3x3": (lambda o: functools.partial(o.max_pool, size=3), [(3, 9, 7, 2)], BOTH),
    "enlarge": (lambda o: functools.partial(o.enlarge, factor=2), [(2, 5, 3, 4)], BOTH),
    "enlarge by 16": (lambda o: functools.partial(o.enlarge, factor=16), [(2, 3, 1, 4)], BOTH),
    "relu": (lambda o: o.relu, [(2, 5, 3, 4)], BOTH),
    "add_bias": (lambda o: o.add_bias, [(2, 5, 3, 4), (4,)], BOTH),
    "normalised": (lambda o: normalised(o, 7), [(3, 7, 5), (5,), (5,)], ONE),
    "normalised, 48 pixels": (lambda o: normalised(o, 48), [(3, 48, 5), (5,), (5,)], ONE),
}


def test_every_operation_is_compared():
    compared = {re.split(r"\W", name)[0] for name in CASES}
    assert compared == set(ops.__all__) - {"KERNELS", "by_definition", "depthwise"}
    assert ops.depthwise is definitions.depthwise


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name, (*_, dtypes) in CASES.items() for dtype in dtypes],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_an_operation_is_its_definition(name, dtype):
    function, shapes, _ = CASES[name]
    kernels = {shape for shape in shapes if len(shape) in (2, 3)}  # those of sharp blocks are parameters: float32
    args = [normal(seed, *shape, dtype=ONE[0] if shape in kernels else dtype) for seed, shape in enumerate(shapes)]
    assert_same(function(ops), function(definitions), args, {jnp.float32: FLOAT32, jnp.bfloat16: BFLOAT16}[dtype])


def test_the_sums_of_normalised_are_float32_on_a_tpu_and_a_gpu():
    """At the default precision a TPU multiplies float32 numbers in bfloat16, a GPU in TensorFloat-32."""
    traced = jax.jit(jax.grad(lambda *args: jnp.sum(normalised(ops, 7)(*args)[0] ** 2)))
    traced = traced.trace(normal(0, 3, 7, 5), normal(1, 5), normal(2, 5))
    for platform in ("tpu", "cuda"):
        products = [
            line for line in traced.lower(lowering_platforms=(platform,)).as_text().splitlines() if "dot" in line
        ]
        assert len(products) == 4
        assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


def operations(function, args, platform) -> list[str]:
    """List the names of StableHLO's operations, but for the choice of the platform."""
    text = jax.jit(lambda *args: function(*args)).trace(*args).lower(lowering_platforms=(platform,)).as_text()
    return re.findall(r"stablehlo\.(?!case|constant|return)\w+", text)


@pytest.mark.parametrize("name", ["sharpen", "sharp_skip", *(name for name in CASES if not name.startswith("sharp"))])
def test_a_tpu_gets_the_definition_and_so_does_by_definition(name):
    function, shapes, _ = CASES[name]
    args = [normal(seed, *shape) for seed, shape in enumerate(shapes)]
    expected = operations(function(definitions), args, "tpu")
    assert operations(function(ops), args, "tpu") == expected
    with ops.by_definition():
        assert operations(function(ops), args, "cpu") == expected
