"""The page's pictures, decoded again."""

import io

import numpy as np
import pytest
from PIL import Image

from sharp_unet_jax.data import pixels
from sharp_unet_jax.report import overlays, thumbnails
from tests.conftest import squares
from tests.report import whole


@pytest.fixture(
    scope="module", params=[(2, 3), (4, 1), (2, 5)], ids=["in colour", "four classes in grey", "five channels"]
)
def sweep(request, tmp_path_factory):
    classes, channels = request.param
    data = squares(n=8, size=(96, 128), classes=classes, channels=channels)
    return whole.sweep(tmp_path_factory.mktemp("sweep"), data, repeats=1)


def test_pictures_hold_truth_and_predictions_exactly(sweep):
    predicted = overlays.predictions(sweep)
    found = thumbnails.pictures(sweep, predicted, list(sweep.groups))
    images, masks, rows = sweep.prepared
    assert set(found) == set(rows)
    for image, picture in found.items():
        labels = np.asarray(Image.open(io.BytesIO(picture.labels)))
        expected = [masks[rows[image]], *(predicted[model][image].labels for model in picture.models)]
        np.testing.assert_array_equal(labels, np.concatenate(expected))
        shown = np.asarray(Image.open(io.BytesIO(picture.image)).convert("RGB")).astype(float)
        assert shown.shape == (96, 128, 3)
        assert np.abs(shown - pixels.shown(images[rows[image]])).mean() < 16  # noise, which WebP smooths
        assert picture.scores == [f"{100 * predicted[m][image].jaccard:.1f} %" for m in picture.models]


def test_pictures_beyond_the_budget_are_smaller_first_then_left_out(sweep):
    predicted = overlays.predictions(sweep)
    whole_size = thumbnails.pictures(sweep, predicted, list(sweep.groups))
    used = sum(len(picture.image) + len(picture.labels) for picture in whole_size.values())
    smaller = thumbnails.pictures(sweep, predicted, list(sweep.groups), budget=used * 3 // 4)
    assert len(smaller) == len(whole_size)
    assert {Image.open(io.BytesIO(picture.image)).width for picture in smaller.values()} == {96}
    few = thumbnails.pictures(sweep, predicted, list(sweep.groups), budget=used // 8)
    assert 0 < len(few) < len(whole_size)
    assert sum(len(picture.image) + len(picture.labels) for picture in few.values()) <= used // 8


def test_without_predictions_the_truth_alone(sweep):
    found = thumbnails.pictures(sweep, {}, list(sweep.groups)[:1])
    (picture,) = found.values()
    assert (picture.models, picture.scores) == ([], [])
    assert Image.open(io.BytesIO(picture.labels)).height == 96
