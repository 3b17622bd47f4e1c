"""The report of launch.prepare: what it says of images that are known by construction."""

import numpy as np
import pytest

from launch.preview import findings
from launch.preview.source import Source
from sharp_unet_jax.advice.profile import Profile, profile_image
from sharp_unet_jax.advice.settings import Advice
from sharp_unet_jax.metrics import IGNORE
from tests.advice.test_profile import pictures
from tests.launch.preview.pairs import squares


def profile_of(images, masks, groups=None, classes=("background", "cell")):
    each = [profile_image(image, mask, len(classes)) for image, mask in zip(images, masks, strict=True)]
    ids = [f"scan_{index}" for index in range(len(images))]
    return Profile(ids, groups or ids, classes, each)


def said(lines, words):
    """Return the only line that holds the words."""
    (line,) = [line for line in lines if words in line]
    return line


def test_the_whole_report():
    profile = profile_of(pictures(12), squares(12, value=1))
    source = Source("a_b", profile.ids, profile.groups, profile.classes, 3, None, {"PNG RGB": 12}, "12 images", [], [])
    advice = [Advice("batch_size", "2", "takes about 1 of 2 GiB")]
    text = findings.text(source, profile, [], ["a note"], advice)
    assert text.startswith("# Data check: a\\_b\n\nNothing would keep launch.cv from training on this.")
    heads = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    expected = ["What there is", "Classes", "Copies and relatives", "Worth checking", "Settings that suit"]
    assert heads == expected
    assert "| 48x40 | 12 | 1.20 |" in text
    assert "- a note" in text
    assert "| `batch_size` | `2` | takes about 1 of 2 GiB |" in text
    refused = findings.text(source, profile, ["x*y.png is cut short"], [], [])
    assert "launch.cv would refuse this:\n\n- x\\*y.png is cut short" in refused


def test_ignored_pixels_are_told_and_count_for_no_class():
    masks = squares(12, value=1)
    profile = profile_of(pictures(12), masks)
    assert not [line for line in findings.odd(profile) if "ignored" in line]
    masks[:3, :, :24] = IGNORE
    profile = profile_of(pictures(12), masks)
    expected = "12.5% of all pixels, in 3 of 12 masks, are ignored: neither trained on nor scored"
    assert said(findings.odd(profile), "ignored") == expected
    scored = masks[masks != IGNORE]
    np.testing.assert_allclose(profile.counts.sum(axis=0), [(scored == 0).sum(), (scored == 1).sum()])
    visible = masks[0] != IGNORE
    assert profile.foreground[0] == pytest.approx((masks[0][visible] == 1).mean())


def test_without_images_only_the_faults_are_listed():
    source = Source("mine", [], [], (), 1, None, {}, "", ["no pair is left"], [])
    text = findings.text(source, Profile([], [], (), []), source.faults, [], [])
    assert text == "# Data check: mine\n\nlaunch.cv would refuse this:\n\n- no pair is left\n"


def test_copies_with_different_masks_are_named():
    images, masks = list(pictures(6)), list(squares(6, value=1))
    images[4] = images[1]
    lines = findings.relatives(profile_of(images, masks))
    assert said(lines, "pixel by pixel").startswith("1 images are copies of others, pixel by pixel: scan_1 = scan_4")
    assert "scan_1 and scan_4" in said(lines, "one of them is wrong")
    assert said(lines, "no groups are known")


def test_slices_in_a_row_are_noticed():
    base, other = pictures(2, size=(48, 48)).astype(float)
    images = [np.uint8(base * (1 - t) + other * t) for t in np.linspace(0, 1, 12)]
    images += list(pictures(12, size=(48, 48), seed=5))
    profile = profile_of(images, squares(24, size=(48, 48), value=1))
    profile = Profile(
        [*profile.ids[:12], *(f"{chr(97 + i)}" for i in range(12))], profile.groups, profile.classes, profile.images
    )
    assert said(findings.relatives(profile), "name the volume of each in --config.data.groups").startswith("11 images")


def test_groups_that_split_near_duplicates_are_questioned():
    images, masks = list(pictures(6)), list(squares(6, value=1))
    images[4] = np.uint8(np.clip(images[1].astype(int) + 3, 0, 255))
    lines = findings.relatives(profile_of(images, masks, ["a", "a", "b", "b", "c", "c"]))
    assert said(lines, "near-duplicates (")
    assert said(lines, "3 groups, the largest a with 2 of 6 images")
    assert said(lines, "1 pairs of near-duplicates are of different groups")


def test_what_is_unusual():
    images, masks = list(pictures(12)), list(squares(12, value=1))
    images[2] = np.full_like(images[2], 9)
    masks[5] = masks[5] * 0
    masks[7][0, 0] = 3
    lines = findings.odd(profile_of(images, masks, classes=("background", "cell", "gone", "rare")))
    assert said(lines, "masks are empty") == "1 of 12 masks are empty: scan_5"
    assert said(lines, "of one colour all over") == "1 images are of one colour all over: scan_2"
    assert said(lines, "no mask holds") == "no mask holds gone"
    assert said(lines, "rare is in") == "rare is in 1 images only: some folds test few of it, or none"
    assert said(lines, "rare covers").startswith("rare covers 0.00% of all pixels")


@pytest.mark.parametrize(
    ("value", "words"), [(1, "100% of all pixels are foreground"), (0, "12 of 12 masks are empty")]
)
def test_masks_that_hold_one_class_alone(value, words):
    profile = profile_of(pictures(12), np.full((12, 40, 48), value, np.uint8))
    assert said(findings.odd(profile), words)


def test_images_of_few_values_may_be_masks():
    profile = profile_of(squares(12)[..., None], squares(12, value=1))
    assert (
        said(findings.odd(profile), "are they masks?")
        == "most images hold 2 different values or fewer: are they masks?"
    )
