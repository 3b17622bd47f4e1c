"""The sharp block against SciPy, and its lowerings against the definition, in value and in gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from jax import Array

from sharp_unet_jax.ops import KERNELS, definitions, depthwise, sharp_skip, sharpen
from tests.ops.compare import BFLOAT16, assert_same, float64, normal


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


@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize("kernel_shape", [(3, 3), (3, 3, 4), (5, 3)])
@pytest.mark.parametrize("others", [1, 6])
def test_a_sharp_skip_is_the_decoders_map_and_the_sharpened_one(others, kernel_shape, padding):
    args = normal(0, 2, 7, 6, others), normal(1, 2, 7, 6, 4), normal(2, *kernel_shape)
    assert_same(
        lambda b, x, k: sharp_skip(b, x, k, padding), lambda b, x, k: definitions.sharp_skip(b, x, k, padding), args
    )


def test_a_sharp_skip_knows_kernels_by_name_and_keeps_bfloat16():
    args = normal(0, 2, 8, 6, 3, dtype=jnp.bfloat16), normal(1, 2, 8, 6, 3, dtype=jnp.bfloat16)
    assert_same(
        lambda b, x: sharp_skip(b, x, "random"),
        lambda b, x: definitions.sharp_skip(b, x, KERNELS["random"]),
        args,
        BFLOAT16,
    )
    with pytest.raises(ValueError, match="unknown kernel 'laplacien': did you mean 'laplacian'"):
        sharp_skip(*args, "laplacien")


def test_a_gpu_reads_what_comes_back_uncut():
    """XLA makes a copy of a part that is read nine times."""

    def gradient(below: Array, x: Array, g: Array) -> Array:
        return jax.vjp(lambda x: sharp_skip(below, x), x)[1](g)[0]

    args = normal(0, 1, 16, 8, 32), normal(1, 1, 16, 8, 32), normal(2, 1, 16, 8, 64)
    text = jax.jit(gradient).trace(*args).lower(lowering_platforms=("cuda",)).as_text()
    gathers = [line for line in text.splitlines() if "stablehlo.gather" in line]
    assert gathers
    assert all("(tensor<1x128x64xf32>" in line for line in gathers)


def test_a_cpu_sums_the_shifted_copies_before_it_concatenates():
    # Fused, the sum would be taken pixel by pixel; so it was, with an optimization barrier between the two.
    def skip(below: Array, x: Array) -> Array:
        return jnp.pad(sharp_skip(below, x), ((0, 0), (0, 0), (1, 1), (0, 0)))

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
