"""ISBI 2012: two stacks, as slices."""

import numpy as np
import pytest

from datasets import files
from tests.datasets import writers


def check(built):
    assert built.classes == ["membrane", "cell"]
    assert built.ids == [f"slice-{index:02d}" for index in range(8)]
    assert built.volumes == built.groups == ["slices-00-05"] * 6 + ["slices-06-07"] * 2
    for index, (image, mask) in enumerate(zip(built.images, built.masks, strict=True)):
        np.testing.assert_array_equal(image[..., 0], writers.picture(index, channels=1))
        np.testing.assert_array_equal(mask[..., 0], writers.blob(index) == 0)


@pytest.mark.parametrize("prefix", ["", "isbi2012/", "ISBI-2012-challenge/"])
def test_folders(prefix, tmp_path, build_and_read):
    check(build_and_read("isbi2012", manual_dir=writers.isbi2012(prefix).write(tmp_path / "manual")))


@pytest.mark.parametrize("prefix", ["", "ISBI-2012-challenge/"])
def test_zip(prefix, tmp_path, build_and_read):
    layout = writers.isbi2012(prefix)
    check(build_and_read("isbi2012", manual_dir=layout.zip(tmp_path / "manual" / layout.zip_name).parent))


def test_download(tmp_path, build_and_read, serve, capfd):
    layout = writers.isbi2012()
    layout.zip(tmp_path / "served" / layout.zip_name)
    url = serve("isbi2012", tmp_path / "served")
    check(build_and_read("isbi2012"))
    assert capfd.readouterr().err == f"downloading {url}{layout.zip_name}\n"


def test_real_stack(real_data, build_and_read):
    built = build_and_read("isbi2012", manual_dir=real_data / "manual")
    assert len(built.ids) == 30
    assert sorted(set(built.groups)) == [f"slices-{first:02d}-{first + 5:02d}" for first in range(0, 30, 6)]
    volume, labels = (files.read_image(real_data / f"manual/isbi2012/train-{n}.tif") for n in ("volume", "labels"))
    np.testing.assert_array_equal(np.stack(built.images)[..., 0], volume)
    np.testing.assert_array_equal(np.stack(built.masks)[..., 0] * 255, labels)
    assert 0.77 < np.mean(built.masks) < 0.79  # cells are the foreground, as in the paper
