"""A data set read pair by pair: what can be read, and the faults of the rest."""

import io

import numpy as np
import pytest
from rich.console import Console

from datasets.errors import DataError, MissingError
from launch.preview import source
from sharp_unet_jax.config import Data
from tests.advice.test_profile import pictures
from tests.launch.preview.pairs import squares, write


@pytest.fixture
def console():
    return Console(file=io.StringIO())


def test_pairs_of_a_folder(tmp_path, console):
    images, masks = pictures(3), squares(3)
    top = write(tmp_path / "my cells", images, masks)
    (tmp_path / "groups.csv").write_text("id,group\na_i,x\nb_i,x\nc_i,y\n")
    found, profile = source.inspect(
        Data(builder="folder", images=str(top), groups=str(tmp_path / "groups.csv")), console
    )
    assert (found.name, found.ids, found.groups) == ("my cells", ["a_i", "b_i", "c_i"], ["x", "x", "y"])
    assert (found.classes, found.channels, found.kinds) == (("background", "foreground"), 3, {"PNG RGB": 3})
    assert found.faults == found.notes == []
    assert "3 images in" in found.description
    for index in range(3):
        image, mask = found.read(index)
        np.testing.assert_array_equal(image, images[index])
        np.testing.assert_array_equal(mask, masks[index] // 255)
    assert profile.ids == found.ids
    np.testing.assert_array_equal(profile.counts[:, 1], (masks > 0).sum(axis=(1, 2)))


def test_an_image_that_cannot_be_decoded_is_a_fault_and_the_rest_is_read(tmp_path, console):
    images = pictures(3)
    top = write(tmp_path / "mine", images, squares(3))
    path = top / "images/b_i.png"
    path.write_bytes(path.read_bytes()[:-600])  # its header is whole
    found, profile = source.inspect(Data(builder="folder", images=str(top)), console)
    assert found.ids == profile.ids == ["a_i", "c_i"]
    assert len(profile.images) == 2
    (fault,) = found.faults
    assert "b_i.png: cannot be read" in fault
    np.testing.assert_array_equal(found.read(1)[0], images[2])


def test_refused_masks_come_with_names_that_would_do(tmp_path, console):
    top = write(tmp_path / "mine", pictures(3), squares(3, value=100))
    found, _ = source.inspect(Data(builder="folder", images=str(top)), console)
    assert len(found.faults) == 1
    assert found.proposed == {"classes": ("background", "foreground")}


def test_nothing_that_can_be_read(tmp_path, console):
    top = write(tmp_path / "mine", pictures(2), squares(2, size=(20, 20)))
    found, profile = source.inspect(Data(builder="folder", images=str(top)), console)
    assert found.ids == profile.ids == []
    assert len(found.faults) == 2
    with pytest.raises(MissingError, match=r"--config\.data\.images=FOLDER"):
        source.inspect(Data(builder="folder"), console)
    with pytest.raises(DataError, match="no such folder"):
        source.inspect(Data(builder="folder", images=str(tmp_path / "nowhere")), console)


def test_a_folder_that_launch_cv_would_refuse_to_build_in(tmp_path, console):
    top = write(tmp_path / "mine", pictures(3), squares(3))
    with pytest.raises(DataError, match=r"gs://x: is an address"):
        source.inspect(Data(builder="folder", images=str(top), data_dir="gs://x"), console)


def test_a_data_set_with_a_builder(tmp_path, console):
    found, profile = source.inspect(Data(builder="phantom/multiclass", data_dir=str(tmp_path)), console)
    assert (found.name, len(found.ids), len(set(found.groups))) == ("phantom/multiclass", 60, 20)
    assert (found.classes, found.channels) == (("background", "lesion", "spot"), 3)
    image, mask = found.read(7)
    assert (image.shape, mask.shape) == ((64, 64, 3), (64, 64))
    np.testing.assert_array_equal(profile.counts[7], np.bincount(mask.ravel(), minlength=3))
