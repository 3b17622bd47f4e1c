"""Runs as Python and notebooks show them."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

import sharp_unet_jax
from sharp_unet_jax import palette
from sharp_unet_jax.inference import display

pytestmark = pytest.mark.usefixtures("tiny_models")


def pictures(page):
    found = re.findall(r'base64,([^"]+)', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_a_run_is_five_lines_and_in_a_notebook_examples_with_both_masks():
    images = np.zeros((10, 16, 24, 3), np.uint8)
    images[:, 4:12, 6:18] = 200
    classes = ("tissue", "<b>lesion")
    run = sharp_unet_jax.fit(
        "sharp_unet", images, images[..., 0] > 100, epochs=1, batch_size=4, classes=classes, name="mine"
    )
    network, seen, named, scores, masks = repr(run).splitlines()
    assert network == f"sharp_unet/repeat0-fold0: sharp_unet, {run.record['parameters']:,} parameters"
    assert seen == "  images: mine, 3 channels, stretch to 16x24 (height x width)"
    assert named == "  classes: tissue, <b>lesion"
    assert scores.startswith(f"  scores: Jaccard {100 * run.record['jaccard']:.1f} %, Dice ")
    assert scores.endswith("on 2 images; epoch 1 of 1")
    assert masks == f"  masks: {run.rule.words(True)}"

    page = run._repr_html_()
    assert "&lt;b&gt;lesion" in page
    true, _, predicted, _ = pictures(page)
    assert true.shape == predicted.shape == (display.HEIGHT, 24 * display.HEIGHT // 16, 3)
    assert true[80, 120].tolist() == pytest.approx(200 + display.OPACITY * (palette.CLASSES[1] - 200.0), abs=2)
    assert true[10, 10].tolist() == [0, 0, 0]
    examples = run.examples()
    same = examples._replace(masks=run.masks(examples.images))
    np.testing.assert_array_equal(pictures(display.page(run, same))[0], predicted)
    assert display.page(run, None) == f"<pre>{display.text(run).replace('<b>', '&lt;b&gt;')}</pre>"


def test_ignored_pixels_are_not_tinted():
    image, mask = np.full((2, 2, 1), 90, np.uint8), np.array([[0, 1], [255, 0]], np.uint8)
    drawn = display._tinted(image, mask)
    assert (drawn != 90).any(-1).tolist() == [[False, True], [False, False]]
