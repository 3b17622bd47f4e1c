"""The sharp block: its kernels, the border, its errors, and what each platform gets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from jax import Array

from sharp_unet_jax.ops import KERNELS, depthwise, sharp_skip, sharpen
from tests.ops.compare import float64, normal


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
    # The random kernel has the sum and the norm of the Laplacian.
    assert KERNELS["random"].sum() == pytest.approx(0, abs=1e-6)
    assert np.linalg.norm(KERNELS["random"]) == pytest.approx(np.linalg.norm(k), rel=0.01)


def test_a_gpu_reads_the_gradient_before_it_is_sliced():
    """XLA would copy a slice that is read nine times."""

    def gradient(below: Array, x: Array, g: Array) -> Array:
        return jax.vjp(lambda x: sharp_skip(below, x), x)[1](g)[0]

    args = normal(0, 1, 16, 8, 32), normal(1, 1, 16, 8, 32), normal(2, 1, 16, 8, 64)
    text = jax.jit(gradient).trace(*args).lower(lowering_platforms=("cuda",)).as_text()
    gathers = [line for line in text.splitlines() if "stablehlo.gather" in line]
    assert gathers
    assert all("(tensor<1x128x64xf32>" in line for line in gathers)


def test_a_cpu_sums_the_shifted_copies_before_it_concatenates():
    # If fused, the sum is computed pixel by pixel; `lax.optimization_barrier` between the two does not prevent this.
    def skip(below: Array, x: Array) -> Array:
        return jnp.pad(sharp_skip(below, x), ((0, 0), (0, 0), (1, 1), (0, 0)))

    x = normal(0, 1, 192, 256, 32)
    program = jax.jit(skip).lower(x, x).compile().as_text()
    computations = [part for part in program.split("\n\n") if " concatenate(" in part]
    assert computations
    assert not any(" add(" in part for part in computations)


def test_a_constant_image_answers_only_at_the_border():
    c = 2.5
    constant, sharpened = jnp.full((1, 5, 6, 2), c), jax.jit(sharpen, static_argnums=(1, 2))
    expected = np.zeros((5, 6, 2))
    expected[[0, -1]] = expected[:, [0, -1]] = 3 * c
    expected[np.ix_([0, -1], [0, -1])] = 5 * c
    np.testing.assert_array_equal(sharpened(constant, "laplacian", "zero")[0], expected)
    np.testing.assert_array_equal(sharpened(constant, "laplacian", "reflect"), 0)


def test_an_image_one_pixel_wide():
    x = normal(0, 1, 5, 1, 2)
    expected = scipy.ndimage.correlate(*float64(x, KERNELS["laplacian"][None, :, :, None]), mode="constant")
    for f in (depthwise, jax.jit(sharpen, static_argnums=2)):
        np.testing.assert_allclose(f(x, KERNELS["laplacian"]), expected, rtol=1e-5, atol=1e-5)
        with pytest.raises(ValueError, match="larger than 1x1, not 5x1"):
            f(x, KERNELS["laplacian"], "reflect")
    with pytest.raises(ValueError, match="larger than 2x2, not 2x9"):
        sharpen(normal(0, 1, 2, 9, 1), "laplacian_of_gaussian", "reflect")


def test_mistakes_are_named():
    x = normal(0, 1, 5, 5, 2)
    with pytest.raises(ValueError, match="unknown kernel 'laplacien': did you mean 'laplacian'"):
        sharpen(x, "laplacien")
    with pytest.raises(ValueError, match="unknown kernel 'laplacien': did you mean 'laplacian'"):
        sharp_skip(x, x, "laplacien")
    with pytest.raises(ValueError, match="'same'"):
        sharpen(x, "laplacian", "same")
    for shape in [(2, 3), (3, 3, 3), (3,)]:
        with pytest.raises(ValueError, match="kernel must be"):
            depthwise(x, jnp.ones(shape))
