"""Data Science Bowl 2018: the nuclei of an image are merged."""

import zipfile

import numpy as np
import pytest

from tests.datasets import writers


def check(built):
    assert built.classes == ["background", "nucleus"]
    assert built.ids == built.groups == ["00ab", "0c1d", "f2"]
    for seed, (image, mask) in enumerate(zip(built.images, built.masks, strict=True)):
        np.testing.assert_array_equal(image, writers.picture(seed, channels=4)[..., :3])
        np.testing.assert_array_equal(mask[..., 0] * 255, writers.blob(seed) | writers.blob(seed + 10))


def test_folder(tmp_path, build_and_read):
    check(build_and_read("dsb2018", manual_dir=writers.dsb2018().write(tmp_path / "manual")))


@pytest.mark.parametrize("prefix", ["", "stage1_train/"])
def test_zip(prefix, tmp_path, build_and_read):
    layout = writers.dsb2018(prefix)
    check(build_and_read("dsb2018", manual_dir=layout.zip(tmp_path / "manual" / layout.zip_name).parent))


def test_download(tmp_path, build_and_read, serve, capfd):
    writers.dsb2018("").zip(tmp_path / "served" / "stage1_train.zip")
    url = serve("dsb2018", tmp_path / "served")
    check(build_and_read("dsb2018"))
    assert capfd.readouterr().err == f"downloading {url}stage1_train.zip\n"


def test_a_download_that_is_no_archive_is_named(tmp_path, build_and_read, serve):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "stage1_train.zip").write_text("<html>moved</html>")
    serve("dsb2018", tmp_path / "served")
    with pytest.raises(ValueError, match=r"stage1_train.*not a zip archive"):
        build_and_read("dsb2018")


def test_real_images(real_data, tmp_path, build_and_read):
    """A tenth of the images: decoding all takes 10 s."""
    with zipfile.ZipFile(real_data / "manual" / "stage1_train.zip") as archive:
        ids = sorted({name.partition("/")[0] for name in archive.namelist()})[::10]
        archive.extractall(
            tmp_path / "manual" / "stage1_train", [name for name in archive.namelist() if name.partition("/")[0] in ids]
        )
    built = build_and_read("dsb2018", manual_dir=tmp_path / "manual")
    assert sorted(built.ids) == ids
    assert all(0 < mask.mean() < 0.6 for mask in built.masks)
