"""The contact sheet: which images it shows, and why."""

import numpy as np

from launch.preview import contact
from launch.preview.outlines import IGNORED
from sharp_unet_jax.advice.profile import Profile, profile_image
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
    why = {index: ", ".join(reasons) for index, reasons in contact.pick(profile, 20).items()}
    assert "an empty mask, of 1" in why[3]
    assert "most foreground" in why[5]
    assert "least foreground" in why[7]
    assert "widest" in why[9]
    assert "darkest" in why[9]
    assert 10 < len(why) <= 20
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
    why = contact.pick(profile_of(images, masks, ("background", "a", "b")), 12)
    assert why[4] == ["copy of 2"]
    assert "copy of 4" in why[2]
    assert "most b" in why[6]
    typical = [reasons == [] for reasons in why.values()]
    assert any(typical)
    assert typical == sorted(typical)  # they come last
