"""Disagreement between members, against NumPy's standard deviation and the Dice of every pair of masks."""

import itertools
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharp_unet_jax import decision
from sharp_unet_jax.data import tiles
from sharp_unet_jax.data.resize import resize_image, restore
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import disagreement, predict
from tests.inference.test_export import fresh_run

pytestmark = [
    pytest.mark.usefixtures("tiny_models"),
    pytest.mark.filterwarnings("ignore::sharp_unet_jax.errors.ResolutionWarning"),
]


def one_less_dice(masks):
    """Return 1 - Dice of two masks of `masks` (n, ...) bool, over all pairs."""
    pairs = list(itertools.combinations(masks, 2))
    sizes = sum(int(a.sum() + b.sum()) for a, b in pairs)
    return sum(int((a != b).sum()) for a, b in pairs) / sizes if sizes else 0.0


@settings(max_examples=50)
@given(st.integers(2, 6), st.integers(1, 3), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_the_number_of_a_class_is_one_less_the_dice_of_two_masks(members, classes, share, seed):
    rng = np.random.default_rng(seed)
    masks = rng.random((members, 3, 4, classes)) < share
    found = disagreement.by_class(masks.sum(axis=0).astype(np.float32), members)
    foreground = [0] if classes == 1 else range(1, classes)
    assert found == pytest.approx([one_less_dice(masks[..., label]) for label in foreground], abs=1e-12)
    assert all(0 <= value <= 1 for value in found)


def test_members_that_agree_have_none_and_those_that_share_no_pixel_have_all():
    same = np.zeros((4, 4, 1), np.float32)
    assert disagreement.by_class(same, 5) == (0,), "all masks are empty"
    same[1:3] = 5
    assert disagreement.by_class(same + np.float32(1e-6), 5) == (0,)
    assert disagreement.by_class(np.ones((4, 4, 1), np.float32), 5) == (1,)


def test_votes_and_deviations_are_those_of_numpy():
    values = np.random.default_rng(0).random((5, 2, 6, 7, 3)).astype(np.float32) * 1e-3 + np.float32(0.9)
    votes = mean = squares = jnp.zeros(())
    for number, each in enumerate(values, 1):
        votes = disagreement.voted(votes, each, 0.5)
        mean, squares = disagreement.welford(mean, squares, each, number)
    labels = decision.labels(values, 0.5)
    np.testing.assert_array_equal(votes, np.stack([(labels == label).sum(axis=0) for label in range(3)], axis=-1))
    np.testing.assert_allclose(np.sqrt(squares / 4), values.std(axis=0, ddof=1, dtype=np.float64), rtol=2e-4)
    np.testing.assert_array_equal(disagreement.voted(jnp.zeros(()), values[0, ..., :1], 0.9004), labels_of(values[0]))


def labels_of(values):
    return (values[..., :1] > 0.9004).astype(np.float32)


def test_a_pixel_has_the_deviation_of_its_class():
    deviation = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    np.testing.assert_array_equal(
        disagreement.by_pixel(deviation, np.array([[0, 1], [2, 0]], np.uint8)), [[0, 4], [8, 9]]
    )
    np.testing.assert_array_equal(
        disagreement.by_pixel(deviation[..., :1], np.array([[0, 1], [1, 0]], np.uint8)), deviation[..., 0]
    )


def views(image, flips):
    return [(image, lambda x: x), (image[:, ::-1], lambda x: x[:, ::-1])] + (
        [(image[::-1], lambda x: x[::-1]), (image[::-1, ::-1], lambda x: x[::-1, ::-1])] if flips else []
    )


def by_one(run, image, flips):
    """Return a member's probabilities at the resolution of the network, averaged over flips."""
    back = [undo(run.probabilities(np.ascontiguousarray(view)[None])[0]) for view, undo in views(image, flips)]
    return np.mean(back if flips else back[:1], axis=0)


@pytest.mark.parametrize(
    ("fit", "num_classes", "flips", "size"),
    [
        ("letterbox", 3, True, (31, 17)),
        ("crop", 1, False, (12, 20)),
        pytest.param("stretch", 1, True, (31, 17), marks=pytest.mark.slow),
    ],
)
def test_it_is_what_numpy_finds_of_members_predicted_one_by_one(fit, num_classes, flips, size):
    """A crop's image is one tile here; the padding of a letterbox counts nowhere."""
    options = {"fit": fit, "num_classes": num_classes, "threshold": 0.48}
    runs = [fresh_run(model, seed=seed, **options) for seed, model in enumerate(("unet", "sharp_unet", "unet"))]
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    if fit == "crop":
        (small,) = tiles.cut(image, (16, 24), 2)
    else:
        small = resize_image(image, (16, 24), fit)
    each = np.stack([by_one(run, small, flips) for run in runs])
    inside = {"letterbox": np.s_[:, 7:16], "crop": np.s_[:12, :20]}.get(fit, np.s_[:])
    each = each[(slice(None), *inside)] if isinstance(inside, tuple) else each
    (found,) = predict.with_disagreement(runs, [image], maps=True, flips=flips)
    for ours, theirs in ((found.probabilities, each.mean(axis=0)), (found.deviation, each.std(axis=0, ddof=1))):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, restore(theirs.astype(np.float32), size, "stretch"), atol=1e-6)
    labels = decision.labels(each, 0.48)
    expected = [one_less_dice(labels == label) for label in range(1, max(num_classes, 2))]
    assert found.disagreement == pytest.approx(expected, abs=1e-12)
    assert 0 < min(expected) < 1
    (plain,) = predict.predict(runs, [image], flips=flips)
    np.testing.assert_array_equal(plain, found.probabilities)
    (without,) = predict.with_disagreement(runs, [image], flips=flips)
    assert without.deviation is None
    assert without.disagreement == found.disagreement


def test_tiles_are_joined_as_probabilities_are():
    runs = [fresh_run(fit="crop", seed=seed) for seed in range(3)]
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    parts = np.stack([run.probabilities(np.stack(list(tiles.cut(image, (16, 24), 2)))) for run in runs])
    (found,) = predict.with_disagreement(runs, [image], maps=True)
    deviations = list(parts.std(axis=0, ddof=1))
    np.testing.assert_allclose(found.deviation, tiles.join(deviations, (40, 50), (16, 24), 2), atol=1e-6)
    votes = tiles.join(list((parts > 0.5).sum(axis=0).astype(np.float32)), (40, 50), (16, 24), 2)
    assert found.disagreement == disagreement.by_class(votes, 3)
    assert 0 < found.disagreement[0] < 1


def test_one_run_cannot_disagree():
    with pytest.raises(InputError, match="a disagreement is between runs, and one was given"):
        next(predict.with_disagreement([SimpleNamespace()], []))
