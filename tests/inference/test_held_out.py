"""Examples of a run that was loaded: its test images, as long as they are where they were prepared."""

import dataclasses
import json

import numpy as np
import pytest

from sharp_unet_jax.inference import display
from sharp_unet_jax.report import records
from tests import crop_runs
from tests.conftest import shrink_models

pytestmark = pytest.mark.usefixtures("tiny_models")

NAME = "sharp_unet/repeat0-fold0"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A run on crops of images at twice their resolution."""
    top = tmp_path_factory.mktemp("held_out")
    with pytest.MonkeyPatch.context() as patch:
        shrink_models(patch)
        data = dataclasses.replace(crop_runs.DATA, scale=2.0)
        crop_runs.make(top / "w", crop_runs.examples(), data, cache=top / "prepared", max_runs=1)
    return top / "w"


def test_a_notebook_shows_test_images_and_the_masks_that_were_scored(sweep, monkeypatch):
    run, found = crop_runs.load(sweep), records.load(sweep)
    images, masks, row = found.prepared
    ids = found.test_ids(NAME)[: display.EXAMPLES]
    examples = run.examples()
    assert len(examples.images) == len(ids) > 1
    for image, mask, id_ in zip(*examples, ids, strict=True):
        np.testing.assert_array_equal(image, images[row[id_]])
        np.testing.assert_array_equal(mask, masks[row[id_]])
    drawn = []
    monkeypatch.setattr(display, "_tinted", lambda image, mask: drawn.append(mask) or image)
    assert run._repr_html_().count("<img") == 2 * len(ids)
    for predicted, kept in zip(drawn[len(ids) :], found.predictions(NAME), strict=False):
        sure = np.abs(kept[..., 0] / 255 - 0.5) > 0.01
        np.testing.assert_array_equal(predicted[sure], (kept[..., 0] > 127)[sure])


@pytest.mark.parametrize("name", ["data.json", "names.json", "images.npy", "masks.npy"])
def test_without_the_images_the_text_alone_is_shown(sweep, name):
    path = (sweep if name == "data.json" else sweep.parent / "prepared") / name
    hidden = path.rename(path.with_suffix(".hidden"))
    assert crop_runs.load(sweep)._repr_html_().count("<img") == 0
    hidden.rename(path)


def test_images_of_other_data_are_not_shown(sweep):
    path = sweep.parent / "prepared/names.json"
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {"sha256": "0" * 64}))
    assert crop_runs.load(sweep).examples() is None
    path.write_text(before)
    assert crop_runs.load(sweep).examples() is not None
