"""The contact sheet: which images it shows, and why."""

import re

import numpy as np

from launch.preview import contact
from launch.preview.outlines import COLOURS, GAP, IGNORED
from sharp_unet_jax.advice.profile import Profile, profile_image
from sharp_unet_jax.config import Data
from sharp_unet_jax.metrics import IGNORE
from tests.advice.test_profile import pictures
from tests.launch.preview.pairs import squares


def profile_of(images, masks, classes=("background", "a")):
    each = [profile_image(image, mask, len(classes)) for image, mask in zip(images, masks, strict=True)]
    ids = [str(index) for index in range(len(images))]
    return Profile(ids, ids, classes, each)


def test_the_sheet_shows_the_unusual_ones():
    images, masks = list(pictures(40)), list(squares(40, value=1))
    masks[3] = masks[3] * 0
    masks[5] = masks[5] * 0 + 1
    masks[7] = np.eye(40, 48, dtype=np.uint8)
    images[9] = np.zeros((30, 90, 3), np.uint8)
    masks[9] = masks[0][:30].repeat(2, axis=1)[:, :90]
    profile = profile_of(images, masks)
    why = {index: ", ".join(reasons) for index, reasons in contact.pick(profile).items()}
    assert "an empty mask, of 1" in why[3]
    assert "most foreground" in why[5]
    assert "least foreground" in why[7]
    assert "widest" in why[9]
    assert "darkest" in why[9]
    assert 10 < len(why) <= contact.MOST < 40
    assert contact.sheet(profile, lambda index: (images[index], masks[index])).size[0] == 6 * 228


def test_ignored_pixels_are_in_the_legend():
    images, masks = list(pictures(4)), squares(4, value=1)
    masks[1, :10] = IGNORE

    def legend(masks):
        sheet = contact.sheet(profile_of(images, list(masks)), lambda index: (images[index], masks[index]))
        return (np.asarray(sheet)[6:18] == IGNORED).all(axis=-1).any()

    assert legend(masks)
    assert not legend(squares(4, value=1))


def test_copies_and_the_most_of_each_class_are_shown():
    images, masks = list(pictures(12)), list(squares(12, value=1))
    images[4] = images[2]
    masks[6] = masks[6] * 2
    why = contact.pick(profile_of(images, masks, ("background", "a", "b")))
    assert why[4] == ["copy of 2"]
    assert "copy of 4" in why[2]
    assert "most b" in why[6]
    typical = [reasons == [] for reasons in why.values()]
    assert any(typical)
    assert typical == sorted(typical)  # they come last


def test_a_narrow_crops_place_is_written_out_however_wide_its_image(monkeypatch):
    written = []
    monkeypatch.setattr(contact.ImageDraw.ImageDraw, "text", lambda draw, xy, text, *rest: written.append(text))
    pair = np.zeros((16, 16000, 1), np.uint8), np.zeros((16, 16000), np.uint8)
    data = Data(fit="crop", size=(16, 16))
    contact.crop_sheet(data, ["slide"], np.array([[16, 16000]]), lambda index: pair)
    assert written[::2] == ["slide  16000x16"] * contact.CROPS
    assert all(re.fullmatch(r"row 0, column [0-9]+", text) for text in written[1::2])


def test_crops_are_drawn_pixel_by_pixel_and_some_are_centred_on_objects():
    """Two grey pictures, one of 60x80 and one narrower than a crop; the first one has an object of 3x3 pixels."""
    masks = [np.zeros((600, 800), np.uint8), np.zeros((90, 20), np.uint8)]
    masks[0][400:403, 600:603] = 1
    pairs = [(np.full((*mask.shape, 1), 100 + index, np.uint8), mask) for index, mask in enumerate(masks)]
    sizes = np.array([mask.shape for mask in masks])
    data = Data(fit="crop", size=(64, 48), foreground=0.5)
    sheet = np.asarray(contact.crop_sheet(data, ["a", "b"], sizes, lambda index: pairs[index]))
    high, wide = 64 + GAP + 2 * contact.LINE, contact.NARROW
    assert sheet.shape == (2 * high, contact.SHEET // wide * wide, 3)
    crops = [sheet[row * high :][:64, column * wide :][:, :48] for row in (0, 1) for column in range(8)]
    drawn = [crop for crop in crops if not (crop == 255).all()]
    assert len(drawn) == contact.CROPS
    assert all((crop == 100).any() for crop in drawn[:6])
    assert all((crop == 101).any() and not (crop == 100).all(axis=-1).any() for crop in drawn[6:])
    assert all((crop[:, 20:] != 101).any() for crop in drawn[6:])  # beyond the image is striped
    outlines = [(crop == COLOURS[0]).all(axis=-1) for crop in drawn[:6]]
    centres = [np.argwhere(outline).mean(axis=0) for outline in outlines if outline.any()]
    assert centres
    assert all(abs(centre - (32, 24)).max() <= 2 for centre in centres)
