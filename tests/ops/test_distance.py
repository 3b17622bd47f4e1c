"""Distances against SciPy's exact Euclidean distance transform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_edt

from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.ops import distance


def numpy_to_nearest(seeds: np.ndarray) -> np.ndarray:
    return distance_transform_edt(~seeds) if seeds.any() else np.full(seeds.shape, np.inf)


def numpy_signed(y: np.ndarray, c: int) -> np.ndarray:
    inside, others = y == c, (y != c) & (y != IGNORE)
    if not inside.any() or not others.any():
        return np.zeros(y.shape)
    return np.where(inside, 1 - numpy_to_nearest(others), numpy_to_nearest(inside))


to_nearest = jax.jit(distance.to_nearest)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 40), (40, 3), (37, 53)])
@pytest.mark.parametrize("density", [0.003, 0.1, 0.7])
def test_distance_equals_scipy(shape, density):
    seeds = np.random.default_rng(0).random((2, 4, *shape)) < density
    expected = [[numpy_to_nearest(image) for image in images] for images in seeds]
    result = to_nearest(seeds)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=2e-7)


@settings(max_examples=50)
@given(hnp.arrays(bool, (7, 6)))
def test_distance_equals_scipy_on_anything(seeds):
    np.testing.assert_allclose(to_nearest(seeds), numpy_to_nearest(seeds), rtol=2e-7)


def test_distance_of_a_large_image_in_little_memory():
    seeds = np.zeros((1, 512, 512), bool)
    seeds[0, 0, 0] = True
    compiled = to_nearest.lower(seeds).compile()
    corner = compiled(seeds)[0, -1, -1]
    np.testing.assert_allclose(corner, np.hypot(511, 511), rtol=2e-7)
    assert compiled.memory_analysis().temp_size_in_bytes < 16 * 512 * 512 * 4


@pytest.mark.parametrize("classes", [2, 4])
def test_signed_distance_equals_scipy(classes):
    rng = np.random.default_rng(classes)
    labels = np.kron(rng.integers(0, classes, (2, 4, 5)), np.ones((5, 4), int)).astype(np.uint8)
    labels[0, 0], labels[1] = IGNORE, np.where(labels[1] == 1, 0, labels[1])  # class 1 is absent from the second
    expected = np.stack([[numpy_signed(y, c) for c in range(classes)] for y in labels])
    result = jax.jit(distance.signed, static_argnums=1)(labels, classes)
    np.testing.assert_allclose(result, np.moveaxis(expected, 1, -1), rtol=2e-7)
    inside = labels == 0
    assert np.all(result[..., 0][inside] <= 0)
    assert np.all(result[..., 0][(labels != 0) & (labels != IGNORE)] > 0)
