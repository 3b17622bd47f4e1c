"""Pixel counts against NumPy, and soft ones against Keras."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sharp_unet_jax import metrics
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.training import network

os.environ["KERAS_BACKEND"] = "jax"
import keras


def numpy_counts(decided: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    rows = []
    for prediction, truth in zip(decided, labels, strict=True):
        prediction, truth = prediction[truth != IGNORE], truth[truth != IGNORE]
        rows.append(
            [
                [np.sum((truth == c) & (prediction == c)), np.sum(truth == c), np.sum(prediction == c)]
                for c in range(classes)
            ]
        )
    return np.array(rows)


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_counts_equal_numpy(channels, dtype):
    rng = np.random.default_rng(channels)
    classes = max(channels, 2)
    logits = rng.normal(size=(3, 6, 5, channels)).astype(np.float32)
    labels = rng.choice([*range(classes), IGNORE], (3, 6, 5)).astype(dtype)
    decided = (logits[..., 0] > 0).astype(int) if channels == 1 else logits.argmax(-1)
    result = jax.jit(network.counts)(logits, labels)
    assert result.shape == (3, classes, 3)
    assert result.dtype == jnp.int32
    np.testing.assert_array_equal(result, numpy_counts(decided, labels, classes))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_soft_jaccard_of_batches_is_that_of_keras(channels):
    """The last of the batches is smaller; Keras averages over batches all the same."""
    rng = np.random.default_rng(channels)
    logits = rng.normal(size=(10, 6, 5, channels)).astype(np.float32)
    labels = rng.integers(max(channels, 2), size=(10, 6, 5)).astype(np.uint8)
    truth = np.float32(labels[..., None] == (np.arange(channels) if channels > 1 else 1))
    predicted = keras.ops.sigmoid(logits) if channels == 1 else keras.ops.softmax(logits)

    def jacard(truth, predicted):  # of github.com/nibtehaz/MultiResUNet
        both = keras.ops.sum(truth * predicted)
        return both / keras.ops.sum(truth + predicted - truth * predicted)

    metric = keras.metrics.MeanMetricWrapper(jacard)
    for batch in (slice(4), slice(4, 8), slice(8, 10)):
        metric.update_state(truth[batch], predicted[batch])
    sums = jax.jit(network.soft_counts)(logits, labels)
    assert sums.shape == (10, 3)
    assert sums.dtype == jnp.float32
    assert metrics.soft_jaccard(sums, batch_size=4) == pytest.approx(float(metric.result()), rel=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_soft_counts_leave_ignored_pixels_out(channels):
    logits = np.random.default_rng(0).normal(size=(2, 4, 4, channels)).astype(np.float32)
    labels = np.full((2, 4, 4), IGNORE, np.uint8)
    labels[:, :3] = 1
    whole = network.soft_counts(jnp.asarray(logits[:, :3]), labels[:, :3])
    np.testing.assert_allclose(network.soft_counts(jnp.asarray(logits), labels), whole, rtol=1e-6)


def test_counts_leave_ignored_pixels_out():
    assert IGNORE == 255  # data sets are built with it
    labels = np.full((1, 4, 4), IGNORE, np.uint8)
    labels[0, 0, 0] = 1
    for logits in (np.full((1, 4, 4, 1), 9.0), np.zeros((1, 4, 4, 3)) + np.array([0, 9.0, 0])):
        result = np.asarray(network.counts(jnp.asarray(logits, jnp.float32), labels))
        np.testing.assert_array_equal(result[0, 1], [1, 1, 1])
        assert result.sum() == 3


def test_threshold_is_a_probability_and_must_be_exceeded():
    probability = np.array([0.1, 0.29, 0.31, 0.5, 0.51, 0.9])
    logits = np.log(probability / (1 - probability)).astype(np.float32).reshape(1, 1, 6, 1)
    labels = np.ones((1, 1, 6), np.uint8)
    predicted = [int(network.counts(logits, labels, t)[0, 1, 2]) for t in (0.3, 0.5, 0.7)]
    assert predicted == [4, 2, 1]  # sigmoid(0) = 0.5 does not exceed 0.5


def test_counts_are_exact_where_float32_is_not():
    side = 4100  # 16,810,000 pixels; float32 is exact up to 16,777,216
    labels = np.ones((1, side, side), np.uint8)
    result = np.asarray(network.counts(jnp.ones((1, side, side, 1), jnp.bfloat16), labels))
    np.testing.assert_array_equal(result, [[[0, 0, 0], [side * side] * 3]])


def test_counts_name_both_shapes():
    with pytest.raises(AssertionError, match=r"\(1, 4, 4\), \(1, 4, 5\)"):
        network.counts(jnp.zeros((1, 4, 4, 1)), jnp.zeros((1, 4, 5), jnp.int32))
