"""The decision rule: NumPy and JAX decide alike, and by the definition."""

import jax.numpy as jnp
import numpy as np
import pytest

from sharp_unet_jax import decision


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_one_class_is_above_the_threshold(array):
    found = decision.labels(array([[[0.5], [0.51]], [[0.0], [1.0]]]), 0.5)
    np.testing.assert_array_equal(found, [[0, 1], [0, 1]])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(decision.labels(array([[[0.5], [0.51]]]), 0.505), [[0, 1]])


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_of_several_classes_the_most_probable_and_the_lowest_of_equals(array):
    found = decision.labels(array([[[0.2, 0.5, 0.3], [0.6, 0.2, 0.2], [0.1, 0.45, 0.45]]]), 0.9)
    np.testing.assert_array_equal(found, [[1, 0, 1]])
    assert found.dtype == np.uint8


@pytest.mark.parametrize("threshold", [0.5, 0.1, 0.93])
def test_logits_decide_as_their_probabilities(threshold):
    logits = np.random.default_rng(0).normal(0, 3, (2, 9, 7, 1))
    expected = 1 / (1 + np.exp(-logits[..., 0])) > threshold
    assert 0.01 < expected.mean() < 0.99
    np.testing.assert_array_equal(decision.labels_of_logits(logits, threshold), expected)
    several = np.random.default_rng(1).normal(0, 3, (2, 9, 7, 3))
    np.testing.assert_array_equal(decision.labels_of_logits(several, threshold), several.argmax(-1))


def test_a_rule_in_words():
    assert decision.Rule(0.5).words(binary=True) == "above 0.5"
    whole = decision.Rule(0.35, fill=True, smallest=16, largest=True)
    said = "holes filled, pieces from 16 pixels on, only the largest piece"
    assert (whole.words(binary=True), whole.words(binary=False)) == (
        f"above 0.35, {said}",
        f"most probable class, {said}",
    )
