"""The arrays of pictures: bars cut, and at the files' resolution where the scores are."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from sharp_unet_jax.config import Data
from sharp_unet_jax.data.resize import resize
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.report import overlays, shown
from tests.conftest import squares
from tests.report import synthetic, whole


def letterboxed(own, size):
    """Return squares of `own` size, prepared at `size` by letterboxing."""
    data = squares(n=4, size=own)
    pairs = [resize(image, mask, size, "letterbox") for image, mask in zip(data.images, data.masks, strict=True)]
    images, masks = map(np.stack, zip(*pairs, strict=True))
    return dataclasses.replace(data, images=images, masks=masks)


def right(_, masks):
    """Return probabilities in 255ths of the truth."""
    return 200 * (masks[..., None] == 1).astype(np.uint8)


@pytest.mark.parametrize(("own", "inside"), [((20, 40), (16, 32)), ((40, 20), (32, 16)), ((40, 40), (32, 32))])
def test_letterbox_bars_are_cut_and_nothing_else(tmp_path, own, inside):
    data = letterboxed(own, (32, 32))
    fit = Data(size=(32, 32), fit="letterbox")
    sweep = whole.sweep(tmp_path, data, right, models=("unet",), repeats=1, data=fit)
    picture = shown.as_trained(sweep, overlays.predictions(sweep), "002")
    assert picture.image.shape == (*inside, 3)
    assert picture.truth.shape == picture.predicted["unet"].shape == inside
    assert not (picture.truth == IGNORE).any()
    assert (picture.truth == 1).sum() == (data.masks[2] == 1).sum()


def test_what_is_not_scored_but_shows_something_is_kept():
    image, mask = np.zeros((6, 8, 1), np.uint8), np.zeros((6, 8), np.uint8)
    mask[:2], image[1] = IGNORE, 9
    assert shown.inside(image, mask) == (slice(1, 6), slice(0, 8))
    assert shown.inside(0 * image, np.full_like(mask, IGNORE)) == (slice(0, 6), slice(0, 8))


def test_pictures_of_native_scores_have_the_files_masks(tmp_path):
    data = synthetic.with_native()
    native = Data(builder=data.name, size=data.masks.shape[1:], score="native")
    sweep = whole.sweep(tmp_path, data, models=("unet",), repeats=1, data=native)
    predicted = overlays.predictions(sweep)
    picture = shown.as_scored(sweep, predicted, "003")
    np.testing.assert_array_equal(picture.truth, data.native[3])
    run = predicted["unet"]["003"].run
    own = sweep.predictions(run)[sweep.test_ids(run).index("003")][..., 0]
    enlarged = np.asarray(Image.fromarray(own.astype(np.float32)).resize((48, 32), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(picture.predicted["unet"], enlarged > 127.5)
    assert shown.as_trained(sweep, predicted, "003").truth.shape == (16, 24)


def test_a_slice_is_shown_without_its_neighbours(tmp_path):
    data = squares(n=8)
    volume = dataclasses.replace(data, images=np.concatenate([255 - data.images, data.images, data.images], axis=-1))
    sweep = whole.sweep(tmp_path, volume)
    sweep.config["data"]["context"] = 1
    np.testing.assert_array_equal(shown.as_trained(sweep, {}, data.ids[3]).image, data.images[3])
