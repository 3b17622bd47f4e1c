"""Outlines and run lengths against pycocotools, and against an independent test of points in polygons."""

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from datasets.annotations import raster
from datasets.annotations.raster import Region

SIZE = 7, 9
# Of each: m.decode(m.frPyObjects([points], 7, 9)) with `from pycocotools import mask as m`, pycocotools 2.0.11.
POLYGONS = {
    "corners on centres": (
        [1.5, 1.5, 6.5, 1.5, 6.5, 4.5, 1.5, 4.5],
        ["", "", "..#####..", "..#####..", "..#####..", "", ""],
    ),
    "corners between pixels": ([1, 1, 5, 1, 5, 4, 1, 4], ["", ".####....", ".####....", ".####....", "", "", ""]),
    "a triangle": (
        [0.3, 0.2, 8.7, 2.9, 3.1, 6.6],
        ["", ".###.....", ".######..", "..######.", "..####...", "...##....", ""],
    ),
    "a hole at the end of a cut": (
        [1, 0, 8, 0, 8, 7, 1, 7, 1, 3, 3, 3, 3, 5, 6, 5, 6, 2, 3, 2, 3, 3, 1, 3],
        [".#######.", ".#######.", ".##...##.", ".##...##.", ".##...##.", ".#######.", ".#######."],
    ),
    "an outline that crosses itself": (
        [0, 0, 8, 6, 8, 0, 0, 6],
        ["#......#.", "##....##.", "###..###.", "###..###.", "##....##.", "#......#.", ""],
    ),
    "more than the picture": (
        [-3, 2, 4, -2.5, 12, 3.3, 5, 9.4],
        ["########.", "#########", "#########", "#########", "#########", ".########", "..######."],
    ),
    "a splinter": ([2.2, 0, 2.8, 7, 2.6, 7], ["", "", "", "..#......", "..#......", "", ""]),
}


def whole(patch, size=SIZE):
    return raster.codes([(Region("a"), patch)], size)[0] == 1


def rows(text, size=SIZE):
    return np.array([list(line.ljust(size[1], ".")) for line in text]) == "#"


@pytest.mark.parametrize("name", POLYGONS)
def test_polygons_are_those_of_pycocotools(name):
    numbers, expected = POLYGONS[name]
    found = raster.polygon(np.reshape(numbers, (-1, 2)).astype(float), SIZE)
    np.testing.assert_array_equal(whole(found), rows(expected))


def test_pixels_far_from_the_edge_are_inside_if_their_centres_are():
    rng, size = np.random.default_rng(0), (40, 60)
    centres = np.stack(np.meshgrid(np.arange(60) + 0.5, np.arange(40) + 0.5), axis=-1).reshape(-1, 2)
    for _ in range(50):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 8))
        radii = rng.uniform(8, 25, 8)
        points = np.stack([30 + radii * np.cos(angles), 20 + radii * np.sin(angles)], axis=-1)
        clear = distance_to_edges(centres, points) > 0.3
        assert clear.mean() > 0.9
        found = whole(raster.polygon(points, size), size).ravel()
        np.testing.assert_array_equal(found[clear], Outline(points).contains_points(centres)[clear])


def distance_to_edges(places, points):
    """Return the distance of each place (m, 2) to the nearest edge of the polygon `points` (n, 2)."""
    start, along = points, np.roll(points, -1, axis=0) - points
    to = places[:, None] - start
    share = ((to * along).sum(-1) / (along**2).sum(-1)).clip(0, 1)
    return np.hypot(*np.moveaxis(to - share[..., None] * along, -1, 0)).min(axis=1)


def test_a_circle_holds_the_pixels_whose_centres_it_holds():
    found = whole(raster.circle(np.array([4.5, 3.5]), np.array([6.5, 3.5]), SIZE))
    expected = ["", "....#....", "...###...", "..#####..", "...###...", "....#....", ""]
    np.testing.assert_array_equal(found, rows(expected))
    cut = whole(raster.circle(np.array([0.0, 7.0]), np.array([0.0, 5.0]), SIZE))
    np.testing.assert_array_equal(cut, rows(["", "", "", "", "", "#........", "##......."]))


def test_run_lengths_are_those_of_pycocotools():
    ring = np.zeros(SIZE, bool)
    ring[1:6, 2:8], ring[3:5, 4:6] = True, False
    text = "?5200M0O010O04006"  # m.encode(np.asfortranarray(ring))["counts"]
    np.testing.assert_array_equal(raster.run_lengths(raster.uncompressed(text), SIZE).mask, ring)
    large = np.zeros((40, 50), bool)
    large[3:39, 2:48], large[10:20, 5:30], large[12:15, 10:12] = True, False, True
    text = "c2T140000SO6<J" + 4 * "D6<J" + "DNL3`0ODNL3`0O" + 18 * "D6<J" + "a" + 35 * "0" + "]2"
    found = raster.run_lengths(raster.uncompressed(text), (40, 50))
    np.testing.assert_array_equal(found.mask, large)
    flat = large.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends, flat.size]).tolist()
    assert raster.uncompressed(text) == counts


def test_a_code_says_all_regions_of_a_pixel():
    left = raster.Patch(0, 0, np.array([[True, True]]))
    right = raster.Patch(0, 1, np.array([[True, True]]))
    codes, regions = raster.codes([(Region("a"), left), (Region("b", crowd=True), right), (Region("a"), left)], (2, 4))
    assert codes.tolist() == [[1, 3, 2, 0], [0, 0, 0, 0]]
    assert regions == (Region("a"), Region("b", crowd=True))
    many = [(Region(str(number)), left) for number in range(raster.MOST + 1)]
    with pytest.raises(ValueError, match="more than 62 classes are in one image"):
        raster.codes(many, (1, 4))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[0, 0], [1, 1]], "has 2 points; a polygon has at least 3"),
        ([[0, 0], [1, np.nan], [3, 3]], "not all numbers"),
        ([[0, 0], [1, np.inf], [3, 3]], "not all numbers"),
        ([[10, 1], [12, 1], [11, 3]], "x 10 to 12, y 1 to 3, beyond the image of 9x7"),
        ([[0, 0], [1e9, 1], [0, 3]], "beyond the image"),
        ([[-2, -1], [-1, -1], [-1, 3]], "beyond the image"),
    ],
)
def test_points_of_no_polygon(points, message):
    with pytest.raises(ValueError, match=message):
        raster.polygon(np.array(points, float), SIZE)


@pytest.mark.parametrize("counts", [[62], [64], [3, -1, 61], []])
def test_run_lengths_of_another_picture(counts):
    with pytest.raises(ValueError, match=r"its run lengths are of -?\d+ pixels; the image has 63"):
        raster.run_lengths(counts, SIZE)


@pytest.mark.parametrize("text", ["é", " ", "?5`", 30 * "o"])
def test_text_that_is_no_run_lengths(text):
    with pytest.raises(ValueError, match="its run lengths are"):
        raster.uncompressed(text)


@pytest.mark.parametrize("size", [(0, 4), (4, -1), (2**20, 2**20)])
def test_sizes_of_no_picture(size):
    with pytest.raises(ValueError, match="the picture is said to be"):
        raster.check_size(size)
