"""Cleaned masks against floods by hand, SciPy and scikit-image, and what holds of every cleaned mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from sharp_unet_jax.cleaning import clean
from sharp_unet_jax.decision import Rule

SIDES = ((0, 1), (1, 0), (0, -1), (-1, 0))
CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


def masks(classes):
    shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
    return shapes.flatmap(lambda shape: arrays.arrays(np.uint8, shape, elements=st.integers(0, classes)))


RULES = st.builds(Rule, st.just(0.5), st.booleans(), st.integers(0, 6), st.booleans())


def regions(mask, steps):
    """Return the connected regions of a mask as sets of pixels, by the first pixel of each."""
    waiting, found = list(zip(*np.nonzero(mask), strict=True)), []
    while waiting:
        region, edge = set(), [waiting[0]]
        while edge:
            y, x = edge.pop()
            if (y, x) in region or not (0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]) or not mask[y, x]:
                continue
            region.add((y, x))
            edge += [(y + down, x + right) for down, right in steps]
        found.append(region)
        waiting = [pixel for pixel in waiting if pixel not in region]
    return found


def filled(labels):
    last, holes = np.subtract(labels.shape, 1), []
    for label in range(1, 4):
        for region in regions(labels != label, SIDES):
            if not any(y in (0, last[0]) or x in (0, last[1]) for y, x in region):
                holes.append((len(region), label, region))
    new = labels.copy()
    for _, label, region in sorted(holes, key=lambda hole: hole[:2], reverse=True):  # the smallest is last
        for pixel in region:
            new[pixel] = labels[pixel] or label
    return new


def by_hand(labels, rule, pixels):
    new = filled(labels) if rule.fill else labels.copy()
    for label in range(1, 4):
        pieces = regions(new == label, SIDES + CORNERS)
        largest = max(pieces, key=len, default=None)  # the first of equals
        for piece in pieces:
            if len(piece) < rule.smallest * pixels or (rule.largest and piece is not largest):
                for pixel in piece:
                    new[pixel] = 0
    return filled(new) if rule.fill else new


@settings(max_examples=200)
@given(masks(3), RULES, st.sampled_from([0.3, 1.0, 2.5]))
def test_as_by_hand(labels, rule, pixels):
    before = labels.copy()
    found = clean(labels, rule, pixels)
    np.testing.assert_array_equal(found, by_hand(labels, rule, pixels))
    np.testing.assert_array_equal(labels, before)
    assert found.dtype == np.uint8


@settings(max_examples=50)
@given(masks(3), RULES)
def test_what_holds_of_every_cleaned_mask(labels, rule):
    found = clean(labels, rule)
    if not rule.cleans:
        np.testing.assert_array_equal(found, labels)
    elif not rule.fill:
        assert ((found == labels) | (found == 0)).all()
    else:
        np.testing.assert_array_equal(clean(found, Rule(0.5, fill=True)), found, "a hole is left")


@settings(max_examples=50)
@given(masks(1), RULES)
def test_one_class_is_clean_after_once(labels, rule):
    found = clean(labels, rule)
    np.testing.assert_array_equal(clean(found, rule), found)
    if rule.largest:
        assert ndimage.label(found, np.ones((3, 3)))[1] <= 1


@settings(max_examples=50)
@given(masks(1))
def test_holes_of_one_class_are_those_of_scipy(labels):
    np.testing.assert_array_equal(clean(labels, Rule(0.5, fill=True)), ndimage.binary_fill_holes(labels))


def test_pieces_of_a_large_mask_are_those_of_scikit_image():
    pytest.importorskip("skimage", minversion="0.26")  # earlier ones call max_size otherwise
    measure, morphology = pytest.importorskip("skimage.measure"), pytest.importorskip("skimage.morphology")
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((400, 500)), 2)
    labels = (noise > 0.05).astype(np.uint8) + (noise > 0.15)
    found, largest = clean(labels, Rule(0.5, smallest=25)), clean(labels, Rule(0.5, largest=True))
    for label in (1, 2):
        pieces = measure.label(labels == label, connectivity=2)
        assert pieces.max() > 50
        expected = morphology.remove_small_objects(pieces, max_size=24, connectivity=2) > 0
        np.testing.assert_array_equal(found == label, expected)
        area = {one.label: one.area for one in measure.regionprops(pieces)}
        np.testing.assert_array_equal(largest == label, pieces == max(area, key=area.get))


def drawn(*rows):
    return np.array([[int(one) for one in row.replace(".", "0")] for row in rows], np.uint8)


@pytest.mark.parametrize("rule", [Rule(0.5, True, 2, True), Rule(0.5, smallest=2), Rule(0.5, largest=True)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (6, 6)])
def test_empty_and_full_masks_stay_but_for_a_single_pixel(rule, shape):
    for value in (0, 1, 3):
        labels = np.full(shape, value, np.uint8)
        np.testing.assert_array_equal(clean(labels, rule), 0 if labels.size < rule.smallest else labels)


def test_pixels_that_touch_at_a_corner_are_one_piece_and_close_a_hole():
    ring = drawn(".....", "..1..", ".1.1.", "..1..", ".....")
    np.testing.assert_array_equal(clean(ring, Rule(0.5, smallest=4)), ring)
    np.testing.assert_array_equal(clean(ring, Rule(0.5, smallest=5)), 0 * ring)
    whole = drawn(".....", "..1..", ".111.", "..1..", ".....")
    np.testing.assert_array_equal(clean(ring, Rule(0.5, fill=True)), whole)
    np.testing.assert_array_equal(clean(ring, Rule(0.5, True, 5)), whole, "holes are filled before pieces are counted")
    open_ring = drawn("..1..", ".1.1.", ".....")
    np.testing.assert_array_equal(clean(open_ring, Rule(0.5, fill=True)), open_ring)


def test_a_hole_in_several_classes_belongs_to_the_one_next_to_it():
    outside = drawn("11111", "12221", "12.21", "12221", "11111")
    inside = drawn("22222", "21112", "21.12", "21112", "22222")
    assert clean(outside, Rule(0.5, fill=True))[2, 2] == 2
    assert clean(inside, Rule(0.5, fill=True))[2, 2] == 1


def test_a_small_piece_leaves_no_hole_in_the_class_around_it():
    labels = drawn("11111", "11.11", "1.2.1", "11.11", "11111")
    np.testing.assert_array_equal(clean(labels, Rule(0.5, True, 2)), np.ones((5, 5)))
    np.testing.assert_array_equal(clean(labels, Rule(0.5, smallest=2)), labels * (labels == 1))
    np.testing.assert_array_equal(clean(labels, Rule(0.5, fill=True)), np.where(labels == 2, 2, 1))


def test_the_first_of_equal_pieces_is_the_largest():
    labels = drawn("...1.22", "...1...", "11...22")
    np.testing.assert_array_equal(clean(labels, Rule(0.5, largest=True)), drawn("...1.22", "...1...", "......."))


def test_the_smallest_piece_is_counted_at_the_resolution_of_training():
    labels = drawn("11...1", "11....")
    np.testing.assert_array_equal(clean(labels, Rule(0.5, smallest=2), pixels=2.0), drawn("11....", "11...."))
    np.testing.assert_array_equal(clean(labels, Rule(0.5, smallest=2), pixels=2.5), 0 * labels)
    np.testing.assert_array_equal(clean(labels, Rule(0.5, smallest=2), pixels=0.5), labels)
