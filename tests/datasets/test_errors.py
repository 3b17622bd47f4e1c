"""Faults in the files: one line that names the file, and nothing left behind."""

import numpy as np
import pytest

from datasets import files
from datasets.build import build
from datasets.errors import DataError
from tests.datasets import writers

NAMES = sorted(writers.LAYOUTS)
PAIRED = ("cvc_clinicdb", "isic2018")  # one image file, one mask file; the others have tests of their own


def refusal(name, folder, **options):
    """Return the message of the refusal; check that it is one line and that nothing was left behind."""
    data_dir = folder.parent / "data_dir"
    with pytest.raises(DataError) as caught:
        build(name, data_dir=data_dir, manual_dir=folder, **options)
    assert "\n" not in str(caught.value)
    assert not list(data_dir.rglob("*.array_record*"))
    assert not list(data_dir.rglob("*1.0.0*"))
    return str(caught.value)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Send downloads to a port where nobody listens."""
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("isbi2012", "isic2018", "dsb2018"):
        monkeypatch.setattr(f"datasets.{name}.{name}_dataset_builder.URL", "http://127.0.0.1:9/")


@pytest.mark.parametrize("other_files", [False, True])
def test_no_data(other_files, tmp_path):
    folder = tmp_path / "manual"
    folder.mkdir()
    if other_files:
        (folder / "notes.txt").write_text("nothing of interest")
    message = refusal("cvc_clinicdb", folder)
    assert all(word in message for word in (str(folder), "https://", "Original", "Ground Truth"))


@pytest.mark.parametrize("name", ["isbi2012", "isic2018", "dsb2018"])
def test_no_data_and_no_network(name, tmp_path, capfd):
    (tmp_path / "manual").mkdir()
    message = refusal(name, tmp_path / "manual")
    assert "cannot download http://127.0.0.1:9/" in message
    assert "by hand" in message
    assert "downloading http://127.0.0.1:9/" in capfd.readouterr().err


def test_half_of_isic(tmp_path):
    only_masks = {name: content for name, content in writers.isic2018().files.items() if writers.MASKS in name}
    folder = writers.Layout(only_masks, "", "").write(tmp_path / "manual")
    assert f"no '{writers.IMAGES}'" in refusal("isic2018", folder)


@pytest.mark.parametrize("name", PAIRED)
def test_image_without_mask(name, tmp_path):
    layout = writers.LAYOUTS[name]()
    message = refusal(name, layout.changed(mask=None).write(tmp_path / "manual"))
    assert f"no mask for {tmp_path / 'manual' / layout.image}" in message


@pytest.mark.parametrize("name", PAIRED)
def test_mask_without_image(name, tmp_path):
    layout = writers.LAYOUTS[name]()
    message = refusal(name, layout.changed(image=None).write(tmp_path / "manual"))
    assert f"no image for {tmp_path / 'manual' / layout.mask}" in message


def test_many_without_mask_names_the_first(tmp_path):
    layout = writers.cvc_clinicdb(frames=tuple(range(1, 9)))
    without = {name: content for name, content in layout.files.items() if "Original" in name or "/1." in name}
    message = refusal("cvc_clinicdb", writers.Layout(without, "", "").write(tmp_path / "manual"))
    assert "2.tif" in message
    assert "4.tif and 4 more" in message
    assert "5.tif" not in message


@pytest.mark.parametrize("name", PAIRED)
def test_sizes_differ(name, tmp_path):
    layout = writers.LAYOUTS[name]()
    wrong = writers.encode(writers.blob(0, 30, 40), layout.mask[-4:])
    height = 25 if name == "isic2018" else 24
    message = refusal(name, layout.changed(mask=wrong).write(tmp_path / "manual"))
    assert layout.image in message
    assert f"32x{height}" in message
    assert "40x30" in message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("which", ["image", "mask"])
@pytest.mark.parametrize("damage", ["cut", "text"])
def test_damaged_file(name, which, damage, tmp_path):
    layout = writers.LAYOUTS[name]()
    path = getattr(layout, which)
    content = layout.files[path]
    damaged = content[: len(content) * 2 // 3] if damage == "cut" else b"no image at all"
    message = refusal(name, layout.changed(**{which: damaged}).write(tmp_path / "manual"))
    assert str(tmp_path / "manual" / path).rpartition("-")[0] in message
    # A stack of many pages that is cut short is read as a shorter stack.
    assert "cannot be read as an image" in message or (name == "isbi2012" and "(24, 32)" in message)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_file_in_a_zip(name, tmp_path):
    layout = writers.LAYOUTS[name]()
    folder = tmp_path / "manual"
    layout.changed(image=layout.files[layout.image][:100]).zip(folder / (layout.zip_name or f"{writers.IMAGES}.zip"))
    assert f".zip: {layout.image}: cannot be read" in refusal(name, folder)


@pytest.mark.parametrize("name", NAMES)
def test_all_masks_empty(name, tmp_path):
    layout = writers.LAYOUTS[name]()
    black = dict(layout.files)
    for path, content in layout.files.items():
        if path.endswith(layout.mask[-4:]) and ("ground" in path.lower() or "mask" in path or path == layout.mask):
            mask = files.read_image(files.File(path, path, lambda content=content: content))
            black[path] = writers.encode(np.zeros_like(mask), path[-4:])
    message = refusal(name, writers.Layout(black, "", "").write(tmp_path / "manual"))
    assert "masks are empty" in message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"", b"<html>please log in</html>", "cut", "empty"])
def test_not_an_archive(name, content, tmp_path):
    layout = writers.LAYOUTS[name]()
    path = tmp_path / "manual" / (layout.zip_name or f"{writers.IMAGES}.zip")
    if content == "empty":
        writers.Layout({}, "", "").zip(path)
    elif content == "cut":
        whole = layout.zip(path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    else:
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    message = refusal(name, tmp_path / "manual")
    assert message.startswith(f"{path}: ")
    assert ("the archive is empty" if content == "empty" else "not a zip archive") in message


def test_two_files_of_one_name(tmp_path):
    layout = writers.cvc_clinicdb()
    extra = layout.files | {"Original/1.png": writers.encode(writers.picture(0), ".png")}
    message = refusal("cvc_clinicdb", writers.Layout(extra, "", "").write(tmp_path / "manual"))
    assert "1.tif" in message
    assert "1.png" in message


@pytest.mark.parametrize("frame", ["613", "polyp"])
def test_not_a_frame_of_cvc(frame, tmp_path):
    layout = writers.cvc_clinicdb()
    extra = {f"{kind}/{frame}.tif": layout.files[f"{kind}/1.tif"] for kind in ("Original", "Ground Truth")}
    message = refusal("cvc_clinicdb", writers.Layout(layout.files | extra, "", "").write(tmp_path / "manual"))
    assert f"{frame}.tif" in message
    assert "1 to 612" in message


def test_isbi_stacks_differ(tmp_path):
    layout = writers.isbi2012(slices=8).changed(mask=writers.isbi2012(slices=7).files["train-labels.tif"])
    message = refusal("isbi2012", layout.write(tmp_path / "manual"))
    assert "(8, 24, 32)" in message
    assert "(7, 24, 32)" in message


@pytest.mark.parametrize("which", ["train-volume", "train-labels"])
def test_half_of_isbi(which, tmp_path):
    layout = writers.isbi2012().changed(**{"image" if which == "train-volume" else "mask": None})
    assert f"no '{which}.tif'" in refusal("isbi2012", layout.write(tmp_path / "manual"))


def test_dsb_image_without_nuclei(tmp_path):
    layout = writers.dsb2018()
    content = {name: value for name, value in layout.files.items() if "0c1d/masks" not in name}
    message = refusal("dsb2018", writers.Layout(content, "", "").write(tmp_path / "manual"))
    assert "no mask for" in message
    assert "0c1d.png" in message


def test_dsb_nucleus_of_another_size(tmp_path):
    layout = writers.dsb2018()
    layout = layout.changed(mask=writers.encode(writers.blob(0, 30, 40), ".png"))
    message = refusal("dsb2018", layout.write(tmp_path / "manual"))
    assert layout.mask in message
    assert "40x30" in message


def test_a_failed_rebuild_says_why_and_leaves_nothing_half_built(tmp_path):
    layout = writers.cvc_clinicdb()
    build("cvc_clinicdb", data_dir=tmp_path / "data_dir", manual_dir=layout.write(tmp_path / "manual"))
    (tmp_path / "manual" / layout.image).write_bytes(b"broken")
    with pytest.raises(DataError, match="cannot be read"):
        build("cvc_clinicdb", data_dir=tmp_path / "data_dir", manual_dir=tmp_path / "manual", rebuild=True)
    kept = build("cvc_clinicdb", data_dir=tmp_path / "data_dir")  # the earlier build
    assert kept.info.splits["train"].num_examples > 0
    assert [path.name for path in (tmp_path / "data_dir" / "cvc_clinicdb").iterdir()] == ["1.0.0"]
