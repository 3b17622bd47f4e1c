"""Pixels of any dtype as 8 bits: by a window's definition, and refused where they are no image of the run's kind."""

import tracemalloc

import numpy as np
import pytest

from sharp_unet_jax.data import pixels
from sharp_unet_jax.errors import InputError


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("window", [(-512.0, 512.0), (3.25, 97.5), (0.0, 60000.0)])
def test_a_windows_ends_become_0_and_255_and_all_between_is_linear(dtype, window):
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(np.float32)
    values = np.linspace(max(info.min, -2000), min(info.max, 70000), 999).astype(dtype)
    found = pixels.windowed(values, window)
    low, high = window
    exact = np.clip(255 * (values.astype(np.float64) - low) / (high - low), 0, 255)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, exact, atol=0.5 + 1e-4)
    np.testing.assert_array_equal(found[values <= low], 0)
    np.testing.assert_array_equal(found[values >= high], 255)


def test_a_window_may_have_a_pair_a_channel():
    image = np.stack(np.meshgrid(np.arange(300), np.arange(90) * 100), axis=-1).astype(np.uint16)
    found = pixels.windowed(image, (0.0, 255.0, 1000.0, 6000.0))
    np.testing.assert_array_equal(found[0, :, 0], np.minimum(np.arange(300), 255))
    assert found[[9, 10, 35, 60, 61], 7, 1].tolist() == [0, 0, 128, 255, 255]
    np.testing.assert_array_equal(found[:, :, 1], pixels.windowed(image[..., 1], (1000.0, 6000.0)))
    np.testing.assert_array_equal(pixels.as_trained(image, 2, (0.0, 255.0, 1000.0, 6000.0)), found)
    assert pixels.ranges((0.0, 255.0, 1000.0, 6000.5)) == "0 to 255, 1000 to 6000.5 (by channel)"
    assert pixels.ranges((0.0, 255.0)) == "0 to 255"


def at_once(image, window):
    """Return what `windowed` returns, by whole arrays."""
    wide = image.dtype.kind in "iu" and image.dtype.itemsize > 2
    dtype = np.float64 if wide else np.float32
    ends = np.reshape(np.asarray(window, np.float64), (-1, 2))
    low, high = ends.astype(dtype).T
    clipped = np.clip(image.astype(dtype), low, high) - low
    scale = (255 / np.maximum(ends[:, 1] - ends[:, 0], 1e-9)).astype(np.float32)
    return np.rint(clipped.astype(np.float32) * scale).astype(np.uint8)


@pytest.mark.parametrize("window", [(-512.0, 512.0), (3.25, 97.5, -1.5, 0.1, 0.0, 60000.0)])
@pytest.mark.parametrize("dtype", [np.int8, np.int16, ">u2", np.int32, np.uint64, np.float16, np.float32, ">f8"])
def test_a_volume_is_windowed_to_the_same_bits_part_by_part(dtype, window):
    """In any layout: as files are read, slices are transposed, reversed or cut."""
    values = np.random.default_rng(0).normal(scale=90, size=(9, 17, 23, 3))
    with np.errstate(invalid="ignore"):
        volume = values.astype(dtype)
    layouts = volume, volume[::-1], volume[:, 1:, ::2], volume.transpose(2, 1, 0, 3), np.asfortranarray(volume)
    for each in layouts:
        found, expected = pixels.windowed(each, window), at_once(each, window)
        np.testing.assert_array_equal(found, expected)
        assert (found.dtype, found.strides) == (np.uint8, expected.strides)
    assert pixels.windowed(volume[:0], window).shape == (0, 17, 23, 3)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_a_volume_is_windowed_without_a_copy_as_floats(dtype):
    volume = np.random.default_rng(0).integers(-1000, 1000, (40, 128, 128, 1)).astype(dtype).transpose(2, 1, 0, 3)
    tracemalloc.start()
    try:
        pixels.as_trained(volume, 1, (-512.0, 512.0))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * volume.size  # bytes; the result is 1


@pytest.mark.parametrize(
    "window", [(1.0,), (1.0, 2.0, 3.0), (2.0, 1.0), (1.0, 1.0), (0.0, np.inf), (np.nan, 1.0), (0.0, 1.0, 1.0, 0.0), ()]
)
def test_a_window_that_is_none_is_refused(window):
    with pytest.raises(InputError, match=r"data\.window: must be low,high"):
        pixels.check_window("data.window", window)
    pixels.check_window("data.window", (-1.5, 2.0, 0.0, 1e-9))


def test_windows_pairs_are_one_or_those_of_the_channels():
    pixels.check_pairs("window", (0.0, 1.0), 5)
    pixels.check_pairs("window", (0.0, 1.0, 0.0, 2.0), 2)
    with pytest.raises(InputError, match=r"window: has 2 pairs of low,high, and the images are of 5 channels"):
        pixels.check_pairs("window", (0.0, 1.0, 0.0, 2.0), 5)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_any_number_of_channels_is_shown(channels):
    image = np.arange(2 * 4 * channels, dtype=np.uint8).reshape(2, 4, channels)
    found = pixels.shown(image)
    assert (found.shape, found.dtype) == ((2, 4, 1 if channels == 1 else 3), np.uint8)
    np.testing.assert_array_equal(found[..., :channels], image[..., :3])
    assert not found[..., channels:].any()


def test_whole_numbers_beyond_what_float32_holds_keep_their_differences():
    values = np.arange(2**24, 2**24 + 256).astype(np.uint32)
    np.testing.assert_array_equal(pixels.windowed(values, (2.0**24, 2.0**24 + 255)), np.arange(256))


def test_hounsfield_units_become_what_was_trained_on():
    values = np.array([[[-2000], [-1250], [-500], [250], [3000]]], np.int16)
    assert pixels.as_trained(values, 1, (-1250, 250)).ravel().tolist() == [0, 0, 128, 255, 255]
    np.testing.assert_array_equal(pixels.as_trained(np.array([[[True]]]), 3, None), [[[255, 255, 255]]])


@pytest.mark.parametrize("window", [(-0.5, 300.0), (-1.0, 1.0), (-160.0, 240.0)])
def test_an_image_without_negative_pixels_is_read_by_a_window_that_begins_a_little_below_0(window):
    low, high = window
    image = np.array([[[0.0], [high]]], np.float32)
    assert pixels.as_trained(image, 1, window).ravel().tolist() == [round(-low / (high - low) * 255), 255]


@pytest.mark.parametrize("low", [-200.0, -1250.0])
def test_a_ct_stored_with_an_offset_is_refused(low):
    with pytest.raises(InputError, match=r"0 to 4095.*Hounsfield"):
        pixels.as_trained(np.array([[[0], [4095]]], np.uint16), 1, (low, 250.0))


@pytest.mark.parametrize(
    ("image", "looks"),
    [
        (np.array([60.0, 892.0], np.float32), False),
        (np.array([60, 892], np.int16), False),
        (np.array([60, 892], np.uint16), True),
        (np.array([0.0, 250.0]), False),
    ],
)
def test_heights_are_no_ct_unless_they_look_like_one(image, looks):
    for low, refused in ((-408.0, looks), (-1000.0, True)):
        if refused:
            with pytest.raises(InputError, match="Hounsfield"):
                pixels.as_trained(image[None, :, None], 1, (low, 869.0), ct=False)
        else:
            assert pixels.as_trained(image[None, :, None], 1, (low, 869.0), ct=False).min() > 80


@pytest.mark.parametrize(
    ("image", "channels", "window", "message"),
    [
        (np.zeros((4, 4, 3), np.uint16), 3, None, r"uint16 \(0 to 0\), and the run was trained on 8 bits"),
        (np.eye(3, dtype=np.uint8)[None], 1, None, "is RGB, and the run was trained on images that are grey"),
        (np.zeros((4, 4, 2), np.uint8), 3, None, "of 2 channels"),
        (np.zeros((4, 4, 5), np.uint8), 3, None, "is of 5 channels, and the run was trained on images that are RGB"),
        (np.zeros((4, 4, 1), np.uint8), 5, None, "is grey, and the run was trained on images that are of 5 channels"),
        (np.zeros((4, 4, 3), np.uint8), 2, None, "is RGB, and the run was trained on images that are of 2 channels"),
        (np.zeros((4, 4, 3), np.uint8), 4, None, "is RGB"),
        (np.ones((4, 4, 2), np.uint16), 2, (0.0, 1.0, 0.0, 1.0, 0.0, 1.0), "window: has 3 pairs"),
        (np.dstack([-np.eye(4), np.eye(4)]), 2, (0.0, 9.0, -512.0, 512.0), "0 to 1, and .* from -512 to 512"),
        (np.full((4, 4, 1), np.nan), 1, (-1.0, 1.0), "not numbers"),
        (np.ones((4, 4, 1), np.int16), 1, (-512.0, 512.0), "Hounsfield"),
        (np.array([[["a"]]]), 1, None, "not numbers"),
    ],
)
def test_an_image_that_cannot_be_read_is_refused(image, channels, window, message):
    with pytest.raises(InputError, match=message):
        pixels.as_trained(image, channels, window)
