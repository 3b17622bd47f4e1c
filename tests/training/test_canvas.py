"""Whole images from tiles on a canvas: what the host joins from the same tiles, wherever an image lies."""

import functools

import jax
import numpy as np
import pytest

from sharp_unet_jax import decision, metrics
from sharp_unet_jax.data import tiles
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.training import canvas, train

SIZES = np.array([(40, 56), (10, 70), (33, 12), (1, 1), (61, 25), (16, 24), (200, 130)])
TILE, STRIDE = (16, 24), 8
add = jax.jit(canvas.paste, donate_argnums=0)


def painted(sheet, masks, num_classes, height, width, batch=4, padding=0.0):
    """Return the sheet's canvas with random probabilities, and the tiles of each image; padding has one value."""
    rng = np.random.default_rng(sheet.images[0])
    index, weight = train.batches(sheet.tiles, batch, batch)
    found, of_image = canvas.blank((height, width), num_classes), {image: [] for image in sheet.images.tolist()}
    for places, weights in zip(index, weight, strict=True):
        values = rng.random((batch, *TILE, num_classes), np.float32)
        labels = np.full((batch, *TILE), IGNORE, np.uint8)
        for k, (image, top, left, _) in enumerate(places.tolist()):
            if weights[k]:
                of_image[image].append(values[k])
                part = masks[image][top : top + TILE[0], left : left + TILE[1]]
                labels[k, : part.shape[0], : part.shape[1]] = part
            else:
                values[k], labels[k] = padding, 0
        found = add(found, values, labels, places, weights)
    return found, of_image


@pytest.mark.parametrize("padding", [0.5, np.nan])
@pytest.mark.parametrize("num_classes", [1, 3])
@pytest.mark.parametrize("order", [np.arange(7), np.array([6, 3, 0])])
def test_a_canvas_is_what_the_host_joins_of_the_same_tiles(num_classes, order, padding):
    rng = np.random.default_rng(0)
    classes = max(num_classes, 2)
    masks = [rng.integers(0, classes, size, np.uint8) for size in SIZES.tolist()]
    for mask in masks:
        mask[: len(mask) // 4] = IGNORE
    height, width = tiles.canvas(SIZES, TILE, STRIDE, batch=4)
    images = []
    for sheet in tiles.sheets(order, SIZES, TILE, STRIDE, height):
        found, of_image = painted(sheet, masks, num_classes, height, width, padding=padding)
        joined = np.asarray(canvas.probabilities(found))
        counts, soft = (np.asarray(x) for x in (canvas.counts(found, 0.5), canvas.soft_counts(found)))
        assert (np.asarray(found.truth) != IGNORE).sum() == sum((masks[i] != IGNORE).sum() for i in sheet.images)
        for image, top in zip(sheet.images.tolist(), sheet.tops, strict=True):
            size = tuple(SIZES[image].tolist())
            expected = tiles.join(of_image[image], size, TILE, STRIDE)
            own = joined[top : top + size[0], : size[1]]
            np.testing.assert_allclose(own, expected, rtol=1e-5)
            rows = slice(top, top + size[0])
            np.testing.assert_array_equal(
                counts[rows].sum(axis=0), metrics.count(decision.labels(own, 0.5), masks[image], classes)
            )
            truth = np.stack([masks[image] == label for label in range(classes)], axis=-1)[..., -num_classes:]
            predicted = own * (masks[image] != IGNORE)[..., None]
            sums = [each.sum() for each in (truth * predicted, truth, predicted)]
            np.testing.assert_allclose(soft[rows].sum(axis=0), sums, rtol=1e-5)
            images.append(image)
    assert images == order.tolist()


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize(("tile", "stride"), [((16, 24), 16), ((17, 31), 8), ((16, 16), 32), ((64, 16), 1)])
def test_images_lie_on_sheets_without_touching_each_other(tile, stride, batch):
    height, width = tiles.canvas(SIZES, tile, stride, batch)
    assert height >= batch * tile[0]
    order = np.random.default_rng(0).integers(0, len(SIZES), 40)
    found = []
    for sheet in tiles.sheets(order, SIZES, tile, stride, height):
        owner = np.full((height, width), -1)
        for image, top, left, row in sheet.tiles.tolist():
            part = owner[row : row + tile[0], left : left + tile[1]]
            assert part.shape == tile  # the device would move a tile that does not fit
            member = np.searchsorted(sheet.tops, row, side="right") - 1
            assert sheet.images[member] == image
            assert row - top == sheet.tops[member]
            assert set(np.unique(part)) <= {-1, member}
            part[:] = member
        for member, (image, top) in enumerate(zip(sheet.images, sheet.tops, strict=True)):
            assert (owner[top : top + SIZES[image, 0], : SIZES[image, 1]] == member).all()
        found += sheet.images.tolist()
    assert found == order.tolist()


def test_small_images_share_a_sheet_where_one_is_large():
    sizes = np.array([(640, 64), *[(16, 24)] * 80])
    height, _ = tiles.canvas(sizes, TILE, STRIDE, batch=4)
    sheets = list(tiles.sheets(np.arange(81), sizes, TILE, STRIDE, height))
    assert [len(sheet.images) for sheet in sheets] == [1, 40, 40]


def test_counts_of_rows_are_exact_where_float32_is_not():
    found = canvas.Canvas(
        np.ones((2, 2**14, 1), np.float32), np.ones((2, 2**14), np.float32), np.ones((2, 2**14), np.uint8)
    )
    rows = np.asarray(jax.jit(functools.partial(canvas.counts, threshold=0.5))(found))
    np.testing.assert_array_equal(rows, [[[0, 0, 0], [2**14] * 3]] * 2)


@pytest.mark.parametrize("num_classes", [1, 3])
def test_a_large_canvas_is_counted_in_little_memory(num_classes):
    size = 1024, 1024
    parts = (*size, num_classes), size, size
    large = canvas.Canvas(*map(jax.ShapeDtypeStruct, parts, (np.float32, np.float32, np.uint8)))
    for function in functools.partial(canvas.counts, threshold=0.5), canvas.soft_counts:
        memory = jax.jit(function).lower(large).compile().memory_analysis()
        assert memory.temp_size_in_bytes < 5 * np.prod(size)  # the canvas itself has 9 bytes per pixel, and more
