"""Every operation against its plain definition, in value and in the gradient of every argument."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from jax import Array, lax

from sharp_unet_jax import forward
from sharp_unet_jax.config import Config
from sharp_unet_jax.ops import KERNELS, add_bias, conv3x3, depthwise, max_pool, relu, sharpen, up_conv

# Sums of at most 9 * 70 float32 products of order one, in another order.
FLOAT32 = {"rtol": 1e-4, "atol": 1e-4}
# bfloat16 keeps 8 bits (a step of 2^-8 = 0.4 %): rounding inputs, kernel products and the result stays within a few.
BFLOAT16 = {"rtol": 0.05, "atol": 0.05}


def normal(seed: int, *shape: int, dtype=jnp.float32) -> Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)  # jax.random would compile for a second


def assert_same(actual, expected, args, tolerance=FLOAT32, seed: int = 9) -> None:
    """The same value, type, and gradient with respect to every argument, under jit."""

    def value_and_gradients(f):
        def both(cotangent: Array, *args: Array) -> tuple[Array, ...]:
            y, pull_back = jax.vjp(f, *args)
            return y, *pull_back(cotangent)

        y = jax.eval_shape(f, *args)
        return jax.jit(both)(normal(seed, *y.shape, dtype=y.dtype), *args)

    outcomes = value_and_gradients(actual), value_and_gradients(expected)
    assert outcomes[0][0].dtype == args[0].dtype
    for got, wanted in zip(*outcomes, strict=True):
        assert got.dtype == wanted.dtype
        scale = max(1.0, float(jnp.abs(wanted).max()))
        got, wanted = np.asarray(got, np.float32) / scale, np.asarray(wanted, np.float32) / scale
        np.testing.assert_allclose(got, wanted, **tolerance)


def float64(*arrays: Array) -> list[np.ndarray]:
    return [np.asarray(a, np.float64) for a in arrays]


# --- sharpen


def test_kernels_are_those_of_the_paper():
    k = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]])
    five = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    one = np.zeros((3, 3))
    one[1, 1] = 1
    expected = {
        "laplacian": k,
        "sharpen": one + k,
        "laplacian_of_gaussian": scipy.signal.convolve2d(k, np.outer([1, 2, 1], [1, 2, 1]) / 16),
        "laplacian_5point": five,
        "unsharp": one + five,
        "scaled": k / 8,
        "random": KERNELS["random"],
        "learnable": k,
    }
    assert KERNELS.keys() == expected.keys()
    for name, kernel in KERNELS.items():
        assert kernel.dtype == np.float32
        np.testing.assert_array_equal(kernel, expected[name])
    # A random kernel differs from the Laplacian in its shape alone.
    assert KERNELS["random"].sum() == pytest.approx(0, abs=1e-6)
    assert np.linalg.norm(KERNELS["random"]) == pytest.approx(np.linalg.norm(k), rel=0.01)


@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize("name", KERNELS)
def test_depthwise_is_scipys_correlation(name, padding):
    x = normal(0, 2, 6, 5, 3)
    mode = {"zero": "constant", "reflect": "mirror"}[padding]  # SciPy's "reflect" repeats the edge pixel
    image, kernel = float64(x, KERNELS[name])
    expected = scipy.ndimage.correlate(image, kernel[None, :, :, None], mode=mode)
    np.testing.assert_allclose(depthwise(x, KERNELS[name], padding), expected, rtol=1e-5, atol=1e-5)


def test_depthwise_with_a_kernel_for_each_channel_is_not_flipped():
    x, kernel = normal(0, 2, 6, 5, 3), normal(1, 3, 5, 3)
    image, kernels = float64(x, kernel)
    for c in range(3):
        expected = scipy.ndimage.correlate(image[..., c], kernels[None, :, :, c], mode="constant")
        np.testing.assert_allclose(depthwise(x, kernel)[..., c], expected, rtol=1e-5, atol=1e-5)


def test_depthwise_is_one_grouped_convolution():
    assert "feature_group_count=7" in str(
        jax.make_jaxpr(lambda x: depthwise(x, KERNELS["laplacian"]))(normal(0, 1, 4, 4, 7))
    )


@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize(("name", "channels"), [*((name, 5) for name in KERNELS), ("laplacian", 1)])
def test_sharpen_is_depthwise(name, channels, padding):
    x = normal(0, 2, 7, 6, channels)
    assert_same(lambda x: sharpen(x, name, padding), lambda x: depthwise(x, KERNELS[name], padding), (x,))


@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize("kernel_shape", [(3, 3), (3, 3, 4), (5, 3), (1, 5, 4)])
def test_sharpen_with_a_learnable_kernel_is_depthwise(kernel_shape, padding):
    args = normal(0, 2, 7, 6, 4), normal(1, *kernel_shape)
    assert_same(lambda x, k: sharpen(x, k, padding), lambda x, k: depthwise(x, k, padding), args)


@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize("name", ["laplacian", "laplacian_of_gaussian"])
def test_sharpen_in_bfloat16(name, padding):
    args = normal(0, 2, 8, 6, 3, dtype=jnp.bfloat16), jnp.asarray(KERNELS[name])
    assert_same(lambda x, k: sharpen(x, k, padding), lambda x, k: depthwise(x, k, padding), args, BFLOAT16)


@pytest.mark.parametrize(("height", "width"), [(1, 6), (2, 5), (3, 4), (5, 3)])
def test_sharpen_of_an_image_that_is_nearly_all_border(height, width):
    x = normal(0, 2, height, width, 3)
    for name in ("random", "laplacian_of_gaussian"):
        assert_same(lambda x, name=name: sharpen(x, name), lambda x, name=name: depthwise(x, KERNELS[name]), (x,))


def test_a_cpu_sums_the_shifted_copies_before_it_concatenates():
    # Fused, the sum would be taken pixel by pixel; so it was, with an optimization barrier between the two.
    def skip(up: Array, x: Array) -> Array:
        return jnp.pad(jnp.concatenate([up, sharpen(x)], axis=-1), ((0, 0), (0, 0), (1, 1), (0, 0)))

    x = normal(0, 1, 192, 256, 32)
    program = jax.jit(skip).lower(x, x).compile().as_text()
    computations = [part for part in program.split("\n\n") if " concatenate(" in part]
    assert computations
    assert not any(" add(" in part for part in computations)


def test_a_constant_image_answers_only_at_the_border():
    c = 2.5
    answer = np.asarray(sharpen(jnp.full((1, 5, 6, 2), c), "laplacian", "zero"))[0]
    expected = np.zeros((5, 6, 2))
    expected[[0, -1]] = expected[:, [0, -1]] = 3 * c
    expected[np.ix_([0, -1], [0, -1])] = 5 * c
    np.testing.assert_array_equal(answer, expected)
    np.testing.assert_array_equal(sharpen(jnp.full((1, 5, 6, 2), c), "laplacian", "reflect"), 0)


def test_an_image_one_pixel_wide():
    x = normal(0, 1, 5, 1, 2)
    expected = scipy.ndimage.correlate(*float64(x, KERNELS["laplacian"][None, :, :, None]), mode="constant")
    for f in (depthwise, sharpen):
        np.testing.assert_allclose(f(x, KERNELS["laplacian"]), expected, rtol=1e-5, atol=1e-5)
        with pytest.raises(ValueError, match="larger than 1x1, not 5x1"):
            f(x, KERNELS["laplacian"], "reflect")
    with pytest.raises(ValueError, match="larger than 2x2, not 2x9"):
        sharpen(normal(0, 1, 2, 9, 1), "laplacian_of_gaussian", "reflect")


def test_mistakes_are_named():
    x = normal(0, 1, 5, 5, 2)
    with pytest.raises(ValueError, match="unknown kernel 'laplacien': did you mean 'laplacian'"):
        sharpen(x, "laplacien")
    with pytest.raises(ValueError, match="'same'"):
        sharpen(x, "laplacian", "same")
    for shape in [(2, 3), (3, 3, 3), (3,)]:
        with pytest.raises(ValueError, match="kernel must be"):
            depthwise(x, jnp.ones(shape))


# --- conv3x3


def convolution(x: Array, w: Array) -> Array:
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


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


# --- up_conv


@pytest.mark.parametrize("case", [(2, 4, 3, 5, 7), (1, 1, 1, 1, 1), (3, 5, 2, 8, 1)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, FLOAT32), (jnp.bfloat16, BFLOAT16)])
def test_up_conv_is_laxs_transposed_convolution(case, dtype, tolerance):
    n, height, width, i, o = case

    def expected(x: Array, w: Array) -> Array:
        dimensions = ("NHWC", "HWIO", "NHWC")
        return lax.conv_transpose(x, w[::-1, ::-1], (2, 2), "VALID", dimension_numbers=dimensions)

    args = normal(0, n, height, width, i, dtype=dtype), normal(1, 2, 2, i, o, dtype=dtype)
    assert_same(up_conv, expected, args, tolerance)


def test_up_conv_puts_each_tap_where_it_says():
    x, w = float64(normal(0, 2, 3, 4, 5), normal(1, 2, 2, 5, 6))
    y = up_conv(jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32))
    for a in (0, 1):
        for b in (0, 1):
            np.testing.assert_allclose(y[:, a::2, b::2], x @ w[a, b], rtol=1e-5, atol=1e-5)


# --- max_pool


def reduce_window(x: Array, size: int = 2) -> Array:
    border = ((0, 0), *[((size - 1) // 2,) * 2] * 2, (0, 0))
    return lax.reduce_window(x, x.dtype.type(-np.inf), lax.max, (1, size, size, 1), (1, 2, 2, 1), border)


@pytest.mark.parametrize("shape", [(2, 8, 6, 3), (2, 7, 6, 1), (1, 8, 5, 4), (3, 9, 7, 2), (1, 2, 2, 1)])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_max_pool_is_laxs_reduce_window(shape, size, dtype):
    pools = [functools.partial(pool, size=size) for pool in (max_pool, reduce_window)]
    # of 3x3 a pixel has a share in up to four windows, which are summed in any order
    tolerance = {"rtol": 0, "atol": 0} if size == 2 else {jnp.float32: FLOAT32, jnp.bfloat16: BFLOAT16}[dtype]
    np.testing.assert_array_equal(*(pool(normal(0, *shape, dtype=dtype)) for pool in pools))
    assert_same(*pools, (normal(0, *shape, dtype=dtype),), tolerance)
    behind_relu = [lambda x, pool=pool: pool(jax.nn.relu(x)) for pool in pools]
    assert_same(*behind_relu, (normal(1, *shape, dtype=dtype),), tolerance)


@pytest.mark.parametrize("size", [2, 3])
def test_a_pool_keeps_a_nan(size):
    x = normal(0, 1, 6, 6, 1).at[0, 2, 3, 0].set(jnp.nan)
    np.testing.assert_array_equal(jax.jit(max_pool, static_argnums=1)(x, size), reduce_window(x, size))


def test_max_pool_gives_a_tie_to_the_first_in_reading_order():
    # every window of the values 0, 1, 2: 81 of them, 65 with a tie somewhere, 33 with a tie for the largest
    windows = np.stack(np.meshgrid(*[[0.0, 1.0, 2.0]] * 4, indexing="ij"), -1).reshape(-1, 4)
    x = jnp.asarray(windows, jnp.float32).reshape(-1, 2, 2, 1)
    gradient = np.asarray(jax.grad(lambda x: max_pool(x).sum())(x)).reshape(-1, 4)
    np.testing.assert_array_equal(gradient, np.eye(4)[windows.argmax(1)])
    np.testing.assert_array_equal(gradient, np.asarray(jax.grad(lambda x: reduce_window(x).sum())(x)).reshape(-1, 4))


def test_max_pool_of_3x3_gives_a_tie_to_the_first_in_reading_order():
    # of an image of 5x5 one window lies wholly inside: in the middle
    windows = np.random.default_rng(0).integers(0, 3, (500, 9)).astype(np.float32)
    x = jnp.pad(jnp.asarray(windows).reshape(-1, 3, 3, 1), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1)
    gradient = jax.grad(lambda x: max_pool(x, 3)[:, 1, 1].sum())(x)
    np.testing.assert_array_equal(gradient[:, 1:4, 1:4, 0].reshape(-1, 9), np.eye(9)[windows.argmax(1)])


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
@pytest.mark.parametrize("size", [2, 3])
def test_the_gradient_of_max_pool_scatters_nothing(size, platform):
    traced = jax.jit(jax.grad(lambda x: jnp.sum(max_pool(x, size)))).trace(normal(0, 1, 8, 8, 1))
    assert "scatter" not in traced.lower(lowering_platforms=(platform,)).as_text()


def test_relu_is_jaxs():
    x = jnp.array([-2.0, -0.0, 0.0, 1e-30, 3.0])
    np.testing.assert_array_equal(relu(x), jax.nn.relu(x))
    for f in (relu, jax.nn.relu):
        np.testing.assert_array_equal(jax.grad(lambda x, f=f: jnp.sum(2 * f(x)))(x), [0, 0, 0, 2, 2])


def test_relu_keeps_a_nan_behind_a_product_of_matrices():
    """XLA's CPU library of products takes a maximum along, and its maximum of NaN and 0 is 0."""
    x = normal(0, 512, 64).at[5].set(jnp.nan)
    y = jax.jit(lambda x, w: relu(x @ w), compiler_options=forward.compiler_options(Config(), "cpu"))(
        x, normal(1, 64, 64)
    )
    np.testing.assert_array_equal(np.isnan(y).any(axis=1), np.arange(512) == 5)
    assert np.isnan(y[5]).all()


def test_the_gradient_of_a_bias_is_summed_in_float32():
    """bfloat16 has no 259, a row's sum; the total, 777, is rounded once, to 776."""
    x, bias = jnp.ones((3, 1, 259, 1), jnp.bfloat16), jnp.zeros(1, jnp.bfloat16)
    gradient = jax.grad(lambda bias: jnp.sum(add_bias(x, bias).astype(jnp.float32)))(bias)
    np.testing.assert_array_equal(gradient.astype(jnp.float32), [776])


def test_a_convolution_with_a_bias_is_one_and_the_other():
    x, w, bias, g = normal(0, 2, 9, 10, 3), normal(1, 3, 3, 3, 5), normal(2, 5), normal(3, 2, 9, 10, 5)
    together, of_together = jax.vjp(conv3x3, x, w, bias)
    apart, of_apart = jax.vjp(lambda x, w, bias: add_bias(conv3x3(x, w), bias), x, w, bias)
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(together, convolution(x, w) + bias.reshape(1, 1, 1, -1), rtol=1e-5, atol=1e-5)
    for one, other in zip(of_together(g), of_apart(g), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_together(g)[2], np.sum(g, (0, 1, 2)), rtol=1e-5)


# --- together


def small_network(x: Array, w: Array, up: Array, kernel: Array) -> Array:
    x = jax.nn.relu(conv3x3(x, w))
    y = up_conv(max_pool(x), up)
    return jnp.sum(conv3x3(jnp.concatenate([sharpen(x, kernel), y], -1), jnp.concatenate([w, w], 2)) ** 2)


SHARDED = """
import sys
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
sys.path.insert(0, "tests")
from test_ops import normal, small_network
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
args = normal(0, 8, 12, 10, 4), normal(1, 3, 3, 4, 4), normal(2, 2, 2, 4, 4), normal(3, 3, 3, 4)
f = jax.jit(jax.value_and_grad(small_network, (0, 1, 2, 3)))
mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
placed = [jax.device_put(a, NamedSharding(mesh, P("batch") if i == 0 else P())) for i, a in enumerate(args)]
alone, together = f(*args), f(*placed)
assert len(together[1][0].sharding.device_set) == 4 and not together[1][0].sharding.is_fully_replicated
for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(abs(a).max()))
print("equal")
"""


def test_a_batch_sharded_over_devices_gives_the_same_gradients():
    done = subprocess.run([sys.executable, "-c", SHARDED], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "equal", done.stderr


def test_other_platforms_get_the_definitions():
    """Lowered for a TPU, the program has grouped convolution, select-and-scatter and no convolution in parts."""
    args = normal(0, 6, 12, 10, 32), normal(1, 3, 3, 32, 32), normal(2, 2, 2, 32, 32), normal(3, 3, 3, 32)
    traced = jax.jit(jax.grad(small_network, (0, 1, 2, 3))).trace(*args)
    cpu, tpu, gpu = (traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "tpu", "cuda"))
    for text in ("feature_group_count = 32", "select_and_scatter"):
        assert text in tpu
        assert text not in cpu
    assert "select_and_scatter" not in gpu
    assert tpu.count("stablehlo.convolution") == 3 * 3  # two and the sharpening, each with two gradients
    assert cpu.count("stablehlo.convolution") == 2 * 3 * 6


def test_few_channels_are_convolved_by_columns_on_a_gpu():
    """In bfloat16: two columns at once for 32 channels, and blocks of two for the gradient of their filter."""
    args = [a.astype(jnp.bfloat16) for a in (normal(0, 2, 6, 16, 32), normal(1, 3, 3, 32, 32))]
    loss = lambda x, w: jnp.sum(conv3x3(x, w))  # noqa: E731
    text = jax.jit(jax.grad(loss, (0, 1))).trace(*args).lower(lowering_platforms=("cuda",)).as_text()
    assert "3x4x32x64xbf16" in text
    assert "3x3x64x64xbf16" in text
