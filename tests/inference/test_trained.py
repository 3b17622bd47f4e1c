"""Runs in use: they predict what they predicted in their sweep, and their masks follow their rule."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import sharp_unet_jax
from sharp_unet_jax import decision
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import loading, trained
from sharp_unet_jax.report import records
from tests.conftest import squares
from tests.tiny_sweep import CONFIG, make

pytestmark = pytest.mark.usefixtures("tiny_models")

RUN = "runs/sharp_unet/repeat0-fold1"


def images_and_predictions(folder, name, dataset):
    """Return the test images of a run, and its saved predictions."""
    sweep = records.load(folder)
    return dataset.images[[dataset.ids.index(image) for image in sweep.test_ids(name)]], sweep.predictions(name)


def test_a_run_predicts_what_it_saved(finished, dataset):
    run = sharp_unet_jax.load(finished / RUN)
    images, expected = images_and_predictions(finished, run.name, dataset)
    probabilities = run.probabilities(images)
    assert (probabilities.shape, probabilities.dtype) == ((6, 16, 24, 1), np.float32)
    np.testing.assert_array_equal(np.round(255 * probabilities).astype(np.uint8), expected)
    np.testing.assert_allclose(1 / (1 + np.exp(-run.logits(images))), probabilities, rtol=1e-5)
    np.testing.assert_allclose(run.network(images / np.float32(255)), run.logits(images), rtol=1e-4, atol=1e-5)
    jitted = jax.jit(lambda weights, images: run.apply(weights, images[None])[0])
    np.testing.assert_allclose(jitted(run.weights, images[0]), run.logits(images)[0], rtol=1e-4, atol=1e-5)


def test_a_run_has_its_names_classes_and_config(finished):
    run = loading.load(finished / RUN)
    assert (run.name, run.model, run.dataset) == ("sharp_unet/repeat0-fold1", "sharp_unet", "squares")
    assert (run.classes, run.channels, run.num_classes) == (("background", "square"), 3, 1)
    assert run.config == CONFIG


def test_running_statistics_channels_and_classes_come_back(tmp_path, normed):
    dataset = squares(classes=3, channels=1)
    make(tmp_path / "w", dataset, dataclasses.replace(CONFIG, models=(normed,), skip_kernel="learnable", max_runs=1))
    run = loading.load(tmp_path / f"w/runs/{normed}/repeat0-fold0")
    images, expected = images_and_predictions(tmp_path / "w", run.name, dataset)
    assert (run.channels, run.num_classes) == (1, 3)
    assert np.abs(run.weights["stats"]["encoder"]["bn1"]["mean"]).max() > 1e-3
    np.testing.assert_array_equal(np.round(255 * run.probabilities(images)).astype(np.uint8), expected)


def test_what_predicts_is_said_in_words():
    runs = [SimpleNamespace(name=f"{model}/a", model=model) for model in ("u", "s", "u", "s", "s", "t")]
    assert trained.described(runs[:1]) == "u/a"
    assert trained.described(runs[:3:2]) == "2 runs of u"
    assert trained.described(runs[:3]) == "2 runs of u and 1 of s"
    assert trained.described(runs[1:4]) == "2 runs of s and 1 of u"
    assert trained.described(runs[-2:]) == "1 run of s and 1 of t"
    assert trained.described(runs) == "2 runs of u, 3 of s and 1 of t"


def test_masks_follow_the_threshold_of_the_config_where_nothing_was_chosen(finished, dataset):
    run = loading.load(finished / RUN)
    assert (run.rule, run.chosen) == (Rule(0.5), None)
    expected = [decision.labels(each, 0.5) for each in run.predict(dataset.images)]
    np.testing.assert_array_equal(run.masks(dataset.images), expected)


@pytest.mark.parametrize(
    ("data", "own", "spacing", "pixels"),
    [
        ({}, (32, 72), None, 2 * 3),
        ({"fit": "letterbox"}, (32, 72), None, 3 * 3),
        ({"fit": "crop"}, (40, 30), None, 1),
        ({"fit": "crop", "scale": 0.5}, (40, 30), None, 4),
        ({"fit": "crop", "spacing": 2.0}, (40, 30), (1.0, 2.0), 2),
    ],
)
def test_the_smallest_piece_is_one_at_the_resolution_of_training(finished, data, own, spacing, pixels):
    run = loading.load(finished / RUN)
    config = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, **data))
    probabilities = np.zeros((*own, 1), np.float32)
    probabilities[2:4, 2:11] = 0.9  # 18 pixels
    for smallest, kept in ((18 / pixels, 18), (18 / pixels + 1, 0)):
        rule = Rule(0.5, smallest=int(smallest))
        labels = dataclasses.replace(run, config=config, chosen=rule).decide(probabilities, spacing)
        assert (labels.sum(), labels.dtype) == (kept, np.uint8)


def test_arrays_of_jax_are_predicted_and_probabilities_have_classes(done):
    run = sharp_unet_jax.load(done / "runs/unet/repeat0-fold0")
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    (expected,) = run.predict([image])
    np.testing.assert_array_equal(run.predict([jnp.asarray(image)])[0], expected)
    with pytest.raises(InputError, match=r"probabilities are \(height, width, 1\), not \(16, 24\)"):
        run.decide(expected[..., 0])
    with pytest.raises(InputError, match=r"takes several images, and this is one, \(16, 24, 4\)"):
        run.predict(np.zeros((16, 24, 4), np.uint8))
    with pytest.raises(InputError, match=r"takes several images, and this is one, \(16, 24, 3\)"):
        run.predict(jnp.asarray(image))
    with pytest.raises(InputError, match="an image is an array of pixels, not a Image"):
        run.predict([Image.fromarray(image)])
