"""The large pictures, decoded again."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from sharp_unet_jax.data import pixels
from sharp_unet_jax.palette import FALSE_NEGATIVE, FALSE_POSITIVE, rgb
from sharp_unet_jax.report import figures, gallery, overlays
from tests.conftest import squares
from tests.report import whole


def decoded(address):
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return whole.sweep(tmp_path_factory.mktemp("sweep"), squares(n=8))


@pytest.fixture(scope="module")
def drawn(sweep):
    return gallery.draw(sweep, overlays.predictions(sweep))


def test_a_layer_has_the_errors_beside_the_outline(sweep, drawn):
    predicted = overlays.predictions(sweep)
    images, masks, rows = sweep.prepared
    for case in drawn.cases:
        truth = masks[rows[case.id]]
        assert [panel.name for panel in case.panels] == ["truth", "unet", "sharp_unet"]
        assert (case.width, case.height) == (24 * 26, 16 * 26)  # 26 is the largest factor below 640 pixels
        shown = np.asarray(decoded(case.image).convert("RGB")).astype(float)
        assert np.abs(shown - pixels.shown(images[rows[case.id]])).mean() < 16  # noise, which WebP smooths
        for panel in case.panels:
            layer = np.asarray(decoded(panel.layer).convert("RGBA"))[13::26, 13::26]  # the middle of each pixel
            labels = truth if panel.name == "truth" else predicted[panel.name][case.id].labels
            wrong = overlays.errors(truth, labels)
            for colour in (FALSE_POSITIVE, FALSE_NEGATIVE):
                np.testing.assert_array_equal(
                    (layer[..., :3] == rgb(colour)).all(-1) & (layer[..., 3] > 0), wrong[colour]
                )
            np.testing.assert_array_equal(layer[..., 3] > 0, wrong[FALSE_POSITIVE] | wrong[FALSE_NEGATIVE])
        large = np.asarray(decoded(case.panels[0].layer).convert("RGBA"))
        white = (large == 255).all(axis=-1)
        assert white.any()
        assert not white[np.kron(truth != 1, np.ones((26, 26), bool))].any()


def test_scores_are_those_of_the_table_and_say_which_is_the_picture_s(sweep, drawn):
    means, own = figures.by_image(sweep), overlays.predictions(sweep)
    for case in drawn.cases:
        for panel in case.panels[1:]:
            here = own[panel.name][case.id].jaccard
            assert panel.score == f"{100 * means.loc[case.id, panel.name]:.1f} %, here {100 * here:.1f} %"
    assert "“here” is that of the prediction shown" in drawn.caption


def test_the_caption_names_the_resolution_and_the_legend_the_colours_that_are_there(drawn):
    assert "prepared images at 16x24, the size of training." in drawn.caption
    assert set(drawn.legend) == {FALSE_POSITIVE, FALSE_NEGATIVE}


def test_without_predictions_there_are_no_pictures(sweep):
    assert gallery.draw(sweep, {}).cases == []
