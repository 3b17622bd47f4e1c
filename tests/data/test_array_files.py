"""Prepared arrays on disk: of one size or of several, and files that are damaged."""

import numpy as np
import pytest

from sharp_unet_jax.data import array_files
from sharp_unet_jax.ragged import Ragged

SHAPES = (3, 5), (1, 1), (40, 2)


def written(folder, part, images, *, ragged):
    with open(array_files.path(folder, part), "w+b") as file:
        writer = array_files.Writer(file, ragged=ragged)
        for image in images:
            writer.add(image)
        arrays = writer.close()
    array_files.write_sizes(folder, part, arrays)
    return arrays


@pytest.mark.parametrize("channels", [(), (1,), (5,)])
@pytest.mark.parametrize("ragged", [True, False])
def test_images_come_back_as_they_were_written(tmp_path, channels, ragged):
    rng = np.random.default_rng(0)
    shapes = SHAPES if ragged else [(4, 6)] * 11
    images = [rng.integers(0, 256, (*shape, *channels), np.uint8) for shape in shapes]
    images[0] = np.asfortranarray(images[0])
    first = written(tmp_path, "images", images, ragged=ragged)
    again = array_files.read(tmp_path, "images")
    for arrays in (first, again):
        assert isinstance(arrays, Ragged) == ragged
        assert len(arrays) == len(images)
        for found, image in zip(arrays, images, strict=True):
            np.testing.assert_array_equal(found, image)
    for path in tmp_path.iterdir():
        path.unlink()
    np.testing.assert_array_equal(first[0], images[0])  # it stays mapped


def test_a_part_that_is_not_there_is_none(tmp_path):
    assert array_files.read(tmp_path, "native") is None


def sizes(change):
    def edit(folder):
        np.save(folder / "masks-sizes.npy", change(np.load(folder / "masks-sizes.npy")))

    return edit


def cut_off(name):
    def edit(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-5])

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        sizes(lambda x: x[:2]),
        sizes(lambda x: x + 1),
        sizes(lambda x: -x),
        sizes(lambda x: x.astype(np.int32)),
        sizes(lambda x: x.astype(float)),
        sizes(lambda x: x.ravel()),
        sizes(lambda x: np.full_like(x, 2**62)),
        lambda folder: np.save(folder / "masks-sizes.npy", np.array(["a"], object), allow_pickle=True),
        lambda folder: (folder / "masks-sizes.npy").write_bytes(b""),
        cut_off("masks-sizes.npy"),
        cut_off("masks.npy"),
        lambda folder: np.save(folder / "masks.npy", np.zeros(96, np.int16)),
    ],
)
def test_damaged_files_are_refused(tmp_path, damage):
    images = [np.full(shape, 7, np.uint8) for shape in SHAPES]
    written(tmp_path, "masks", images, ragged=True)
    assert len(array_files.read(tmp_path, "masks")) == 3
    damage(tmp_path)
    with pytest.raises((ValueError, OSError, EOFError)):
        array_files.read(tmp_path, "masks")
