"""Runs on crops predict whole images as they were scored: at the resolution of training, by tiles like the crops."""

import dataclasses
import itertools
import warnings

import jax
import numpy as np
import pytest

from sharp_unet_jax.advice import memory
from sharp_unet_jax.data.resize import resize_image, restore
from sharp_unet_jax.errors import InputError, ResolutionWarning
from sharp_unet_jax.inference import loading, predict
from sharp_unet_jax.report import records
from tests import crop_runs
from tests.conftest import shrink_models

pytestmark = pytest.mark.usefixtures("tiny_models")

# Data settings, classes, channels and spacing of each sweep.
SWEEPS = {
    "as they are": ({}, 2, 3, (0, 0)),
    "grey, three classes, 2 mm": ({"size": (17, 23), "spacing": 2.0, "score": "native"}, 3, 1, (1.0, 3.0)),
    "volumes, half the size": ({"scale": 0.5, "context": 1, "score": "native"}, 2, 1, (0, 0)),
}


@pytest.fixture(scope="module", params=[pytest.param("as they are", marks=pytest.mark.slow), *list(SWEEPS)[1:]])
def sweep(request, tmp_path_factory):
    """Return a sweep's folder and its examples by id."""
    fields, classes, channels, spacing = SWEEPS[request.param]
    data = dataclasses.replace(crop_runs.DATA, **fields)
    source = crop_runs.examples(classes=classes, channels=channels, spacing=spacing, volumes=bool(data.context))
    folder = tmp_path_factory.mktemp("crops") / "w"
    with pytest.MonkeyPatch.context() as patch:
        shrink_models(patch)
        crop_runs.make(folder, source, data, classes=classes, max_runs=1, grouped=bool(data.context))
    return folder, {example["id"]: example for example in source}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return the folder of a sweep of two runs on images as they are."""
    folder = tmp_path_factory.mktemp("plain") / "w"
    with pytest.MonkeyPatch.context() as patch:
        shrink_models(patch)
        crop_runs.make(folder, crop_runs.examples())
    return folder


def predicted(run, examples):
    """Predict all examples, by volume where the run needs their neighbours."""
    found = {}
    for _, several in itertools.groupby(examples, key=lambda example: example.get("volume", example["id"])):
        several = list(several)
        spacing = tuple(several[0]["spacing"]) if run.config.data.spacing else None
        for example, one in zip(
            several, run.predict([example["image"] for example in several], spacing=spacing), strict=True
        ):
            found[example["id"]] = one
    return found


def test_images_are_predicted_as_they_were_scored(sweep):
    folder, examples = sweep
    run, scores = crop_runs.load(folder), records.load(folder)
    ids, saved = scores.test_ids(run.name), scores.predictions(run.name)
    found = predicted(run, [example for example in examples.values() if example["id"] in ids])
    sizes = set()
    for id_, small in zip(ids, saved, strict=True):
        own = examples[id_]["mask"].shape[:2]
        assert found[id_].shape[:2] == own
        np.testing.assert_allclose(found[id_], restore(small / np.float32(255), own, "crop"), atol=1.01 / 255)
        sizes.add(small.shape[:2])
    assert len(sizes) > 1 or run.config.data.context
    table = scores.per_image.query("run == @run.name").set_index(["image_id", "class"])
    for id_, label in itertools.product(ids, range(len(run.classes))):
        labels = found[id_][..., 0] > 0.5 if run.num_classes == 1 else found[id_].argmax(-1)
        truth = examples[id_]["mask"][..., 0] == label
        row = table.loc[(id_, run.classes[label])]
        both, all_ = np.sum(truth & (labels == label)), np.sum(labels == label)
        assert (row["intersection"], row["truth"], row["predicted"]) == (both, truth.sum(), all_)


def test_a_tile_of_ones_own_needs_no_warning(plain):
    """The tests' network sees ten pixels on each side."""
    run, image = crop_runs.load(plain), crop_runs.examples(1)[0]["image"]
    (usual,) = run.predict([image])
    (large,) = run.predict([image], tile=(80, 112))
    (whole,) = run.probabilities(image[None])
    np.testing.assert_allclose(large[:60, :90], whole[:60, :90], atol=1e-5)
    assert np.abs(usual - large).max() > 1e-6


@pytest.mark.parametrize("options", [pytest.param({"flips": True}, marks=pytest.mark.slow), {"rotations": True}])
def test_flips_turns_and_members_are_averaged(plain, options):
    members = loading.load_all(plain)
    assert len(members) == 2
    image = crop_runs.examples(3)[2]["image"]
    (found,) = predict.predict(members, [image], **options)
    each = [next(predict.predict(member, [image], **options)) for member in members]
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)
    assert found.shape == (33, 20, 1)
    (one,) = members[0].predict([image])
    assert np.abs(one - each[0]).max() > 1e-6, "nothing was averaged"


def test_all_sizes_go_through_one_program_and_devices_share_it(plain):
    run = crop_runs.load(plain)
    images = [example["image"] for example in crop_runs.examples()]
    found = run.predict(images)
    assert run.step("cpu")._cache_size() == 1
    for one, other in zip(found, run.predict(images, devices=jax.devices()[:3]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def with_data(run, **fields):
    return dataclasses.replace(
        run, config=dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, **fields))
    )


def test_a_spacing_that_is_needed_and_not_known_is_refused(plain):
    run, image = with_data(crop_runs.load(plain), spacing=0.5), np.zeros((20, 30, 3), np.uint8)
    for spacing in (None, (0, 1), (np.nan, 1)):
        with pytest.raises(InputError, match=r"trained at 0.5 mm per pixel .* the size of this image's pixels is not"):
            run.predict([image], spacing=spacing)
    for spacing in (1, (1, 1, 1)):
        with pytest.raises(InputError, match=r"spacing: give millimetres from row to row and from column to column"):
            run.predict([image], spacing=spacing)
    found = list(predict.predict(run, [image, image], spacings=[(0.5, 0.5), (1, 0.25)]))
    np.testing.assert_allclose(found[0], crop_runs.load(plain).predict([image])[0], atol=1e-6)
    small = resize_image(image, (40, 15), "crop")
    expected = restore(crop_runs.load(plain).predict([small])[0], (20, 30), "crop")
    np.testing.assert_allclose(found[1], expected, atol=1e-6)


def test_an_image_that_the_resolution_of_training_makes_too_large_is_refused(plain, monkeypatch):
    monkeypatch.setattr(memory, "free", lambda: 10**6)
    run = with_data(crop_runs.load(plain), scale=20.0)
    with pytest.raises(
        InputError, match=r"the image has 400x600 pixels at the resolution of training, which need 0.0 GB"
    ):
        run.predict([np.zeros((20, 30, 3), np.uint8)])
    monkeypatch.setattr(memory, "free", lambda: 3 * 10**6)
    assert predict.check_image(run, (20, 30)) == (400, 600)
    with pytest.raises(InputError, match="400x600"):
        predict.check_image(dataclasses.replace(run, num_classes=3), (20, 30))


def test_tiles_of_a_run_on_whole_images_are_warned_of_once(finished):
    run, images = loading.load(finished / "runs/unet/repeat0-fold0"), [np.zeros((20, 30, 3), np.uint8)] * 3
    with pytest.warns(
        ResolutionWarning, match="trained on whole images resized to 16x24, and tiles .* unlike"
    ) as caught:
        run.predict(images, tile=(16, 16))
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.predict(images)
