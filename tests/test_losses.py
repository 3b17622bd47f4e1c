"""Every loss against its formula in NumPy and float64, its gradient against finite differences, and edge cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_edt
from scipy.special import expit, log_expit, log_softmax, softmax

from sharp_unet_jax import losses
from sharp_unet_jax.metrics import IGNORE

NAMES = list(losses.LOSSES)
COMPILED = {name: jax.jit(losses.get(name)) for name in NAMES}
GRADIENT = {name: jax.jit(jax.grad(lambda x, y, name=name: losses.get(name)(x, y).sum())) for name in NAMES}


def sample(channels: int, shape=(3, 6, 5), seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and labels; some pixels of the first image and all pixels of the last are ignored."""
    rng = np.random.default_rng([channels, seed])
    logits = 2 * rng.normal(size=(*shape, channels))
    labels = rng.integers(0, max(channels, 2), shape).astype(np.uint8)
    labels[0][rng.random(shape[1:]) < 0.3] = IGNORE
    labels[-1] = IGNORE
    return logits.astype(np.float32).astype(np.float64), labels


# The formulas, pixel by pixel and image by image. x: logits (H, W, K), y: labels (H, W).


def numpy_loss(name: str, x: np.ndarray, y: np.ndarray) -> float:
    if not np.any(y != IGNORE):
        return 0.0
    channels = x.shape[-1]
    classes = [1] if channels == 1 else range(channels)
    p = expit(x) if channels == 1 else softmax(x, axis=-1)
    valid = y != IGNORE
    per_class = []
    for channel, c in enumerate(classes):
        t, q = (y == c)[valid].astype(float), p[..., channel][valid]
        tp, fn, fp = np.sum(t * q), np.sum(t * (1 - q)), np.sum((1 - t) * q)
        per_class.append(
            {
                "dice": lambda t=t, q=q, tp=tp: 1 - (2 * tp + 1) / (t.sum() + q.sum() + 1),
                "jaccard": lambda t=t, q=q, tp=tp: 1 - (tp + 1) / (t.sum() + q.sum() - tp + 1),
                "focal_tversky": lambda tp=tp, fn=fn, fp=fp: (
                    (1 - (tp + 1) / (tp + 0.7 * fn + 0.3 * fp + 1)) ** (1 / (4 / 3))
                ),
                "boundary": lambda c=c, q=q: np.mean(q * numpy_signed(y, c)[valid]),
            }.get(name)
        )
    if per_class[0]:
        return float(np.mean([loss() for loss in per_class]))
    if channels == 1:
        entropy = np.where(y == 1, -log_expit(x[..., 0]), -log_expit(-x[..., 0]))
    else:
        entropy = -np.take_along_axis(log_softmax(x, axis=-1), np.where(valid, y, 0)[..., None].astype(int), -1)[..., 0]
    weight = 1 + numpy_phi(y) if name == "distance_penalty" else np.ones(y.shape)
    return float(np.mean((weight * entropy)[valid]))


def numpy_to_nearest(seeds: np.ndarray) -> np.ndarray:
    return distance_transform_edt(~seeds) if seeds.any() else np.full(seeds.shape, np.inf)


def numpy_signed(y: np.ndarray, c: int) -> np.ndarray:
    inside, others = y == c, (y != c) & (y != IGNORE)
    if not inside.any() or not others.any():
        return np.zeros(y.shape)
    return np.where(inside, 1 - numpy_to_nearest(others), numpy_to_nearest(inside))


def numpy_phi(y: np.ndarray) -> np.ndarray:
    phi = np.zeros(y.shape)
    for c in set(y.ravel()) - {IGNORE}:
        inside, others = y == c, (y != c) & (y != IGNORE)
        if others.any():
            depth = numpy_to_nearest(others)[inside]
            phi[inside] = (depth.max() - depth + 1) / depth.max()
    return phi


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_formula(name, channels):
    logits, labels = sample(channels)
    result = COMPILED[name](jnp.asarray(logits, jnp.float32), labels)
    assert result.shape == (3,)
    assert result.dtype == jnp.float32
    expected = [numpy_loss(name, x, y) for x, y in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(result, expected, rtol=2e-5, atol=1e-6)
    assert result[-1] == 0  # all its pixels are ignored


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_gradient(name, channels):
    logits, labels = sample(channels, (2, 3, 4), seed=1)
    gradient = np.asarray(GRADIENT[name](jnp.asarray(logits, jnp.float32), labels))
    assert np.all(gradient[labels == IGNORE] == 0)
    numeric = np.zeros_like(logits)
    for at in np.ndindex(*logits.shape):
        step = np.zeros_like(logits)
        step[at] = 1e-5
        up, down = (numpy_loss(name, x[at[0]], labels[at[0]]) for x in (logits + step, logits - step))
        numeric[at] = (up - down) / 2e-5
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=2e-6)


EDGES = {
    "empty": np.zeros((6, 5), np.uint8),
    "full": np.ones((6, 5), np.uint8),
    "half": np.repeat(np.array([0, 1], np.uint8), 15).reshape(6, 5),
    "ignored": np.full((6, 5), IGNORE, np.uint8),
    "foreground or ignored": np.repeat(np.array([IGNORE, 1], np.uint8), 15).reshape(6, 5),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_finite_at_the_edges(name, channels):
    labels = np.stack(list(EDGES.values()))
    extreme = np.random.default_rng(0).choice([-1e4, 1e4], (len(EDGES), 6, 5, channels))
    for logits in (extreme, np.zeros(extreme.shape), 1e4 * one_hot(labels, channels)):
        logits = jnp.asarray(logits, jnp.float32)
        value, gradient = COMPILED[name](logits, labels), GRADIENT[name](logits, labels)
        assert np.all(np.isfinite(value))
        assert np.all(np.isfinite(gradient))
        assert value[list(EDGES).index("ignored")] == 0


def one_hot(labels: np.ndarray, channels: int) -> np.ndarray:
    """Return +1 on the labelled class and -1 elsewhere, (..., channels)."""
    classes = np.array([1]) if channels == 1 else np.arange(channels)
    return np.where(labels[..., None] == classes, 1, -1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "boundary"])
def test_perfect_prediction_costs_nothing_and_the_opposite_much(name, channels):
    _, labels = sample(channels)
    right = jnp.asarray(30 * one_hot(labels, channels), jnp.float32)
    np.testing.assert_allclose(COMPILED[name](right, labels), 0, atol=1e-5)
    wrong = COMPILED[name](-right, labels)
    assert np.all(wrong[:-1] > 0.5)


def test_boundary_prefers_the_truth_and_charges_by_distance():
    labels = np.zeros((1, 9, 9), np.uint8)
    labels[0, 3:6, 3:6] = 1
    right = 30 * one_hot(labels, 1)
    near, far = right.copy(), right.copy()
    near[0, 4, 6], far[0, 0, 0] = 30, 30  # one false pixel each
    cost = [float(COMPILED["boundary"](jnp.asarray(x, jnp.float32), labels)[0]) for x in (right, near, far)]
    np.testing.assert_allclose(cost, np.array([-1, -1 + 1, -1 + np.hypot(3, 3)]) / 81, atol=1e-6)


def test_boundary_is_silent_without_a_boundary():
    labels = np.stack([EDGES["empty"], EDGES["full"], EDGES["foreground or ignored"]])
    logits = jnp.ones((3, 6, 5, 1))
    np.testing.assert_array_equal(COMPILED["boundary"](logits, labels), 0)
    np.testing.assert_array_equal(GRADIENT["boundary"](logits, labels), 0)


def test_distance_penalty_by_hand():
    """A row of three 0s and four 1s has the depths 3 2 1 and 1 2 3 4. At logit 0 each pixel's entropy is log 2."""
    labels = np.array([[[IGNORE, IGNORE, 0, 0, 0, 1, 1, 1, 1, IGNORE]]], np.uint8)
    phi = np.array([1 / 3, 2 / 3, 1, 1, 3 / 4, 2 / 4, 1 / 4])
    result = COMPILED["distance_penalty"](jnp.zeros((1, 1, 10, 1)), labels)
    np.testing.assert_allclose(result, [np.mean(1 + phi) * np.log(2)], rtol=1e-6)


pixels = hnp.arrays(np.float32, (1, 4, 5, 3), elements=st.floats(-20, 20, width=32))
truths = hnp.arrays(np.uint8, (1, 4, 5), elements=st.sampled_from([0, 1, 2, IGNORE]))


@settings(max_examples=50)
@given(pixels, truths, st.sampled_from([1, 3]), st.randoms(use_true_random=False))
def test_properties(logits, labels, channels, random):
    labels = np.where(labels == 2, 1, labels) if channels == 1 else labels
    logits = logits[..., :channels]
    order = random.sample(range(20), 20)
    for name in ("cross_entropy", "dice", "jaccard", "focal_tversky"):
        value = COMPILED[name](logits, labels)
        shuffled = logits.reshape(20, -1)[order].reshape(logits.shape), labels.ravel()[order].reshape(labels.shape)
        np.testing.assert_allclose(COMPILED[name](*shuffled), value, rtol=1e-4, atol=1e-6)
        assert value[0] >= 0
        assert name == "cross_entropy" or value[0] < 1
    assert COMPILED["dice"](logits, labels)[0] <= COMPILED["jaccard"](logits, labels)[0] + 1e-6
    entropy, weighted = COMPILED["cross_entropy"](logits, labels)[0], COMPILED["distance_penalty"](logits, labels)[0]
    assert entropy * (1 - 1e-5) <= weighted <= 2 * entropy * (1 + 1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_logits_of_ignored_pixels_change_nothing(name):
    logits, labels = sample(3)
    spoilt = np.where((labels == IGNORE)[..., None], np.nan, logits).astype(np.float32)
    np.testing.assert_array_equal(COMPILED[name](spoilt, labels), COMPILED[name](logits.astype(np.float32), labels))
    assert np.all(GRADIENT[name](spoilt, labels)[labels == IGNORE] == 0)


@pytest.mark.parametrize("name", NAMES)
def test_no_intermediate_value_is_nan(name):
    logits, labels = sample(3)
    with jax.debug_nans(True):
        losses.get(name)(jnp.asarray(logits, jnp.float32), labels)


@pytest.mark.parametrize("name", NAMES)
def test_computed_in_float32_whatever_the_logits(name):
    logits, labels = sample(3, (2, 16, 16))
    logits = jnp.asarray(logits, jnp.bfloat16)
    result = COMPILED[name](logits, labels)
    assert result.dtype == jnp.float32
    np.testing.assert_array_equal(result, COMPILED[name](logits.astype(jnp.float32), labels))
    assert GRADIENT[name](logits, labels).dtype == jnp.bfloat16


def test_labels_may_be_wider_integers():
    logits, labels = sample(3)
    for name in ("cross_entropy", "dice", "distance_penalty"):
        np.testing.assert_array_equal(
            COMPILED[name](logits.astype(np.float32), labels.astype(np.int32)),
            COMPILED[name](logits.astype(np.float32), labels),
        )


@pytest.mark.parametrize("channels", [1, 3])
def test_class_weights_multiply_the_pixels_of_their_class(channels):
    logits, labels = sample(channels)
    weights = np.float32([0.5, 3.0, 7.0][: max(channels, 2)])
    x = logits.astype(np.float64)
    if channels == 1:
        p = 1 / (1 + np.exp(-x[..., 0]))
        entropy = -np.where(labels == 1, np.log(p), np.log(1 - p))
    else:
        p = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
        entropy = -np.log(
            np.take_along_axis(p, np.where(labels == IGNORE, 0, labels)[..., None].astype(int), -1)[..., 0]
        )
    valid = labels != IGNORE
    of_pixel = np.where(valid, weights[np.where(valid, labels, 0)], 0)
    expected = (entropy * of_pixel).sum(axis=(1, 2)) / np.maximum(valid.sum(axis=(1, 2)), 1)
    arrays = jnp.asarray(logits, jnp.float32), jnp.asarray(labels)
    np.testing.assert_allclose(losses.get("cross_entropy", weights)(*arrays), expected, rtol=1e-5)
    both = losses.get({"cross_entropy": 2.0, "dice": 1.0}, weights)(*arrays)
    np.testing.assert_allclose(both, 2 * expected + losses.dice(*arrays), rtol=1e-5)


@pytest.mark.parametrize("name", losses.CLASS_WEIGHTED)
def test_equal_class_weights_are_a_factor_of_the_loss(name):
    logits, labels = (jnp.asarray(array) for array in sample(3))
    weighted = losses.get(name, jnp.full(3, 2.0))(logits.astype(jnp.float32), labels)
    np.testing.assert_allclose(weighted, 2 * COMPILED[name](logits.astype(jnp.float32), labels), rtol=1e-6)


def test_names():
    assert losses.get("dice") is losses.dice
    logits, labels = (jnp.asarray(a) for a in sample(1))
    logits = logits.astype(jnp.float32)
    both = losses.get({"cross_entropy": 1.0, "dice": 0.5})(logits, labels)
    np.testing.assert_allclose(
        both, losses.cross_entropy(logits, labels) + 0.5 * losses.dice(logits, labels), rtol=1e-6
    )
    assert both.dtype == jnp.float32
    with pytest.raises(ValueError, match="unknown loss 'dise': did you mean 'dice'"):
        losses.get("dise")
    with pytest.raises(ValueError, match="unknown loss 'bondary': did you mean 'boundary'"):
        losses.get({"dice": 1.0, "bondary": 0.1})
    with pytest.raises(ValueError, match="at least one name"):
        losses.get({})


@pytest.mark.parametrize("name", NAMES)
def test_shapes_that_do_not_fit_are_named(name):
    with pytest.raises(ValueError, match=r"\(2, 4, 4, 1\) and \(2, 4, 5\)"):
        losses.get(name)(jnp.zeros((2, 4, 4, 1)), jnp.zeros((2, 4, 5), jnp.int32))


def test_a_sum_refuses_a_loss_that_is_a_mean(monkeypatch):
    """It would broadcast, and padding would count as images."""
    monkeypatch.setitem(losses.LOSSES, "mean", lambda logits, labels: losses.dice(logits, labels).mean())
    both = losses.get({"dice": 1.0, "mean": 1.0})
    with pytest.raises(AssertionError, match=r"shape \(\) but expected \(2,?\)\. \[loss 'mean'"):
        both(jnp.zeros((2, 4, 4, 1)), jnp.zeros((2, 4, 4), jnp.int32))
