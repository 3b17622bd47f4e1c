"""Tiles: every pixel is covered, tiles begin where the network halves its maps, and overlaps are averaged smoothly."""

import jax
import numpy as np
import pytest

from sharp_unet_jax.data import crops, tiles


@pytest.mark.parametrize("length", [1, 15, 16, 40, 64, 65, 200])
def test_tiles_cover_every_pixel_and_begin_at_multiples_of_the_stride(length):
    starts = tiles.starts(length, 32, 16)
    assert all(start % 16 == 0 for start in starts)
    assert starts == sorted(set(starts))
    assert max(np.diff(starts), default=0) <= 16
    assert length - 16 < starts[-1] + 32 >= length
    image = np.random.default_rng(0).random((length, 20, 2)).astype(np.float32)
    parts = list(tiles.cut(image, (32, 16), 16))
    assert {part.shape for part in parts} == {(32, 16, 2)}
    joined = tiles.join(parts, image.shape[:2], (32, 16), 16)
    np.testing.assert_allclose(joined, image, atol=1e-6)
    both = tiles.join([np.stack([part, 2 * part]) for part in parts], image.shape[:2], (32, 16), 16)
    np.testing.assert_array_equal(both, [joined, 2 * joined])


@pytest.mark.parametrize(
    ("tile", "stride"), [(24, 16), (32, 32), (48, 32), (63, 32), (64, 32), (96, 32), (16, 64), (3, 16)]
)
def test_tiles_are_at_most_half_a_tile_apart(tile, stride):
    for length in range(tile, 5 * tile):
        starts = tiles.starts(length, tile, stride)
        assert starts[0] == 0
        assert starts[-1] + tile >= length
        assert max(np.diff(starts), default=0) <= tile // 2


def test_tiles_come_row_by_row_and_mirror_the_image_at_its_edge():
    image = np.arange(6 * 9 * 1).reshape(6, 9, 1)
    parts = list(tiles.cut(image, (4, 8), 2))
    corners = [(top, left) for top in tiles.starts(6, 4, 2) for left in tiles.starts(9, 8, 2)]
    assert corners == [(0, 0), (0, 2), (2, 0), (2, 2)]
    padded = np.pad(image, ((0, 0), (0, 1), (0, 0)), mode="reflect")
    for part, (top, left) in zip(parts, corners, strict=True):
        np.testing.assert_array_equal(part, padded[top : top + 4, left : left + 8])


def test_an_image_smaller_than_a_tile_is_one_tile():
    image = np.arange(2 * 3 * 2, dtype=np.float32).reshape(2, 3, 2)
    (part,) = tiles.cut(image, (4, 4), 4)
    np.testing.assert_array_equal(part, np.pad(image, ((0, 2), (0, 1), (0, 0)), mode="reflect"))
    np.testing.assert_allclose(tiles.join([part], (2, 3), (4, 4), 4), image, rtol=1e-6)


def test_overlaps_are_weighted_by_a_gaussian_an_eighth_of_a_tile_wide():
    """Two tiles of 8 pixels, 4 apart: one predicts 0, the other 1."""
    parts = [np.full((1, 8, 1), value, np.float32) for value in (0, 1)]
    found = tiles.join(parts, (1, 12), (1, 8), 4)[0, :, 0]
    first, second = (np.exp(-0.5 * (np.arange(12) - middle) ** 2) for middle in (3.5, 7.5))  # sigma is a pixel here
    np.testing.assert_allclose(found[4:8], (second / (first + second))[4:8], rtol=1e-5)
    np.testing.assert_array_equal(found[:4], 0)
    np.testing.assert_array_equal(found[8:], 1)


def test_missing_tiles_are_an_error():
    with pytest.raises(ValueError, match="shorter"):
        tiles.join([np.zeros((4, 8, 1), np.float32)], (6, 9), (4, 8), 2)


@pytest.mark.parametrize("size", [(17, 40), (33, 18), (3, 50)])
@pytest.mark.parametrize(("tile", "multiple"), [((16, 16), 16), ((24, 16), 8)])
def test_tiles_of_the_host_are_those_of_the_device(size, tile, multiple):
    """The last tile may have a single row of the image: it is mirrored at that row, not at its own other end."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 2), np.uint8)
    pairs = image.ravel(), np.zeros(image.shape[:2], np.uint8).ravel(), np.array([[0, *size]], np.int32)
    (sheet,) = tiles.sheets(np.array([0]), np.array([size]), tile, multiple, 1000)
    expected, _ = jax.jit(crops.take, static_argnums=(4, 5))(*pairs, sheet.tiles, tile, tile)
    np.testing.assert_array_equal(list(tiles.cut(image, tile, multiple)), expected)
