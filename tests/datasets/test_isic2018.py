"""ISIC 2018: JPEGs are kept byte for byte."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from datasets import files
from tests.datasets import writers


def check(built):
    assert built.classes == ["background", "lesion"]
    assert built.ids == built.groups == [f"ISIC_{number:07d}" for number in range(4)]
    undecoded = built.builder.as_data_source(split="train", decoders={"image": tfds.decode.SkipDecoding()})
    layout = writers.isic2018()
    for number, (example, mask) in enumerate(zip(undecoded, built.masks, strict=True)):
        assert example["image"] == layout.files[f"{writers.IMAGES}/ISIC_{number:07d}.jpg"]
        np.testing.assert_array_equal(mask[..., 0] * 255, writers.blob(number, 24 + number))


def test_folders(tmp_path, build_and_read):
    check(build_and_read("isic2018", manual_dir=writers.isic2018().write(tmp_path / "manual")))


@pytest.mark.parametrize("top", [True, False])
def test_the_two_zips(top, tmp_path, build_and_read):
    for folder in (writers.IMAGES, writers.MASKS):
        content = {n if top else n.partition("/")[2]: c for n, c in writers.isic2018().files.items() if folder in n}
        writers.Layout(content, "", "").zip(tmp_path / "manual" / f"{folder}.zip")
    check(build_and_read("isic2018", manual_dir=tmp_path / "manual"))


def test_a_zip_beside_a_folder(tmp_path, build_and_read):
    layout = writers.isic2018()
    images = {name: content for name, content in layout.files.items() if writers.IMAGES in name}
    masks = {name: content for name, content in layout.files.items() if writers.MASKS in name}
    writers.Layout(images, "", "").zip(tmp_path / "manual" / f"{writers.IMAGES}.zip")
    check(build_and_read("isic2018", manual_dir=writers.Layout(masks, "", "").write(tmp_path / "manual")))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_that_is_not_rgb_is_converted(mode, tmp_path, build_and_read):
    layout = writers.isic2018()
    folder = layout.write(tmp_path / "manual")
    with Image.open(folder / layout.image) as image:
        image.convert(mode).save(folder / layout.image)
    built = build_and_read("isic2018", manual_dir=folder)
    np.testing.assert_array_equal(built.images[1], files.read_image(folder / layout.image, "RGB"))


def test_download(tmp_path, build_and_read, serve, capfd):
    for folder in (writers.IMAGES, writers.MASKS):
        content = {name: value for name, value in writers.isic2018().files.items() if folder in name}
        writers.Layout(content, "", "").zip(tmp_path / "served" / f"{folder}.zip")
    url = serve("isic2018", tmp_path / "served")
    check(build_and_read("isic2018"))
    assert capfd.readouterr().err == f"downloading {url}{writers.IMAGES}.zip and {url}{writers.MASKS}.zip\n"


def test_real_images_of_native_size(real_data, build_and_read):
    built = build_and_read("isic2018", manual_dir=real_data / "samples" / "isic_fullres")
    assert len(built.ids) == 3
    assert all(image.shape[0] * image.shape[1] > 1_000_000 for image in built.images)


def test_real_shrunk_images_are_paired(real_data):
    tree = files.Tree(real_data / "manual")
    assert len(files.pairs(tree.below(writers.IMAGES), tree.below(writers.MASKS), "_segmentation")) == 300
