"""The page of a test set: what it says, escapes and draws."""

import numpy as np
import pytest

from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.palette import FALSE_NEGATIVE, FALSE_POSITIVE, rgb
from sharp_unet_jax.report import evaluation_page
from sharp_unet_jax.report.evaluation_page import Shown
from tests.report import browser
from tests.report.test_evaluated import scored, square

FACTS = {"test set": "2 images", "predicted by": "<b>unet</b>"}


def page(**more):
    truth, predicted = square(4, 4), square(4, 6)
    test = scored([(truth, predicted), (truth, truth)], **more)
    shown = [Shown("worst", "a<i>", 0.5, np.full((16, 20, 3), 90, np.uint8), truth, predicted)]
    return evaluation_page.render("Test set <x>", test, shown, FACTS, "python -m launch.evaluate --images='a<b'")


def test_names_are_text():
    html = page()
    assert "<b>unet" not in html
    assert "a<i>" not in html
    assert "&lt;b&gt;unet&lt;/b&gt;" in html


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, ["files' own resolution", "pixels of the files", "takes images for independent draws", "scores 1"]),
        ({"unit": "mm", "empty": "nan"}, ["millimetres", "is left out"]),
        ({"groups": ["g", "g"]}, ["2 images in 1 group,", "treats groups as what was drawn", "By group"]),
    ],
)
def test_it_says_by_which_rules_numbers_are(more, words):
    html = page(**more)
    assert all(word.replace("'", "&#39;") in html or word in html for word in words)
    assert "/tmp" not in html


@pytest.mark.parametrize("size", [(16, 20), (700, 1000)])
def test_errors_are_painted_where_they_are(size):
    truth, predicted = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    truth[:, : size[1] // 2] = 1
    predicted[: size[0] // 2] = 1
    truth[-size[0] // 8 :, -size[1] // 8 :] = IGNORE
    plain, errors = evaluation_page.panels(Shown("", "", 0, np.full((*size, 1), 90, np.uint8), truth, predicted))
    assert plain.shape == errors.shape
    assert max(plain.shape) == 480
    height, width, _ = errors.shape
    for at, colour in (((0.2, 0.8), FALSE_POSITIVE), ((0.8, 0.2), FALSE_NEGATIVE)):
        found = errors[int(at[0] * height), int(at[1] * width)].astype(float)
        assert np.abs(found - (0.25 * 90 + 0.75 * np.array(rgb(colour)))).max() < 2
        assert (plain[int(at[0] * height), int(at[1] * width)] == 90).all()
    assert (errors[height // 4, width // 4] == 90).all()
    assert (plain == 255).all(axis=-1).any(), "the outline"


@pytest.mark.skipif(not browser.CHROMIUM, reason="needs Chromium")
def test_a_browser_has_nothing_to_complain_of(tmp_path):
    (tmp_path / "evaluation.html").write_text(page(groups=["g", "g"]), encoding="utf-8")
    with browser.tab() as tab:
        tab.resize(390, 800)
        tab.open(tmp_path / "evaluation.html")
        assert tab.run("document.documentElement.scrollWidth") <= 390
        assert tab.run("[...document.images].every(image => image.naturalWidth)")
        assert not tab.complaints
        assert not [address for address in tab.requests[1:] if not address.startswith("data:")]
