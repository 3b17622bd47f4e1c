"""The command on folders that are fine, unusual, broken and no data set at all."""

import errno
import functools
import io
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from datasets.errors import DataError
from launch import prepare
from launch.console import config as configs
from launch.console import cv_arguments, dataset
from sharp_unet_jax.advice import duration, memory
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.sweeps import plan
from tests.advice.test_profile import pictures
from tests.launch.preview.pairs import squares, write

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture(autouse=True)
def traced_once(monkeypatch, traced):
    """Trace the memory need of each model and size once for all tests, and time no steps: they take seconds."""
    monkeypatch.setattr(memory, "need", traced)
    monkeypatch.setattr(duration, "measure", lambda config, model, **options: duration.Pace(0.0, 2.0, 0.5))


@pytest.fixture(scope="module")
def traced():
    return functools.cache(memory.need)


@pytest.fixture
def mine(tmp_path):
    return write(tmp_path / "mine", pictures(12), squares(12))


@pytest.fixture
def check(tmp_path):
    """Return a function that runs the command and returns its exit code, its output and its folder."""

    def give(folder, *more):
        console = Console(width=160, record=True, markup=False, file=io.StringIO())
        arguments = ["--config=folder.py", f"--config.data.images={folder}", f"--output={tmp_path / 'out'}", *more]
        code = prepare.run(arguments, console)
        return code, console.export_text(), tmp_path / "out"

    return give


def suggested(text):
    """Return the config and the arguments of the suggested command."""
    *_, last = [line for line in text.splitlines() if line.startswith("python -m launch.cv")]
    arguments = shlex.split(last)[3:]
    return cv_arguments.parse(arguments).config, arguments


def test_a_folder_that_is_fine(mine, check):
    code, text, out = check(mine)
    assert code == 0
    assert "Nothing would keep launch.cv from training" in text
    for words in ("12 images in", "12 PNG RGB", "48x40", "no copies", "no groups are known"):
        assert words in text
    config, arguments = suggested(text)
    assert config.data.size == (40, 48)
    assert config.batch_size == 1
    assert f"--config.data.images={mine}" in arguments
    assert {path.name for path in out.iterdir()} == {"report.md", "contact.png", "images.csv"}
    report = (out / "report.md").read_text()
    assert shlex.join(["python", "-m", "launch.cv", *arguments]) in report
    assert "10 runs of 150 epochs would take" in " ".join(text.split())
    assert "(2 s per step of 1 images), one after another. Early stopping" in report  # on several devices
    table = pd.read_csv(out / "images.csv")
    assert table["id"].tolist() == [f"{chr(97 + index)}_i" for index in range(12)]
    assert table["share of foreground"].tolist() == pytest.approx((squares(12) > 0).mean(axis=(1, 2)), abs=1e-6)


def test_what_is_suggested_can_be_trained(mine, check, tmp_path):
    for index in (3, 4):
        (mine / f"images/{chr(97 + index)}_i.png").write_bytes((mine / "images/a_i.png").read_bytes())
    code, text, _ = check(mine, f"--config.data.data_dir={tmp_path / 'tfds'}")
    assert code == 0
    config, _ = suggested(text)
    assert config.grouped
    data = dataset.load(config.data, Console(file=io.StringIO()))
    splits = plan.split(config, data)
    assert len(splits) == config.folds
    assert data.images.shape == (12, *config.data.size, 3)


def coco(masks, crowd):
    """Return a COCO file of the rectangles `masks`; of the first image, `crowd` = (left, top, right, bottom) is one."""
    objects = []
    for number, mask in enumerate(masks):
        (top, bottom), (left, right) = (np.flatnonzero(mask.any(axis=1 - axis))[[0, -1]] + [0, 1] for axis in (0, 1))
        objects.append((number, 0, (left, top, right, bottom)))
    return {
        "images": [
            {"id": n, "file_name": f"{chr(97 + n)}_i.png", "width": 48, "height": 40} for n, _ in enumerate(masks)
        ],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": 1,
                "iscrowd": many,
                "segmentation": [np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]).ravel().tolist()],
            }
            for number, (image, many, (x0, y0, x1, y1)) in enumerate([*objects, (0, 1, crowd)])
        ],
    }


def test_a_coco_file_with_a_crowd_is_prepared_as_it_is_trained(mine, check, tmp_path):
    annotations = tmp_path / "instances.json"
    annotations.write_text(json.dumps(coco(squares(12), (30, 0, 48, 40))))
    where = f"--config.data.masks={annotations}"
    code, text, out = check(mine / "images", where, f"--config.data.data_dir={tmp_path / 'tfds'}")
    assert code == 0
    text = " ".join(text.split())
    assert "annotations of instances.json are labels: 0 is background, 1 is cell; not scored: crowds" in text
    assert "3.1% of all pixels, in 1 of 12 masks, are ignored: neither trained on nor scored" in text
    table = pd.read_csv(out / "images.csv")
    assert table["share ignored"].tolist() == pytest.approx([18 / 48, *[0] * 11], abs=1e-6)
    config = configs.override(configs.load("folder.py"), "data.images", str(mine / "images"))
    for field, value in (("masks", annotations), ("data_dir", tmp_path / "tfds"), ("size", "40,48")):
        config = configs.override(config, f"data.{field}", str(value))
    data = dataset.load(config.data, Console(file=io.StringIO()))
    expected = squares(12, value=1)
    expected[0, :, 30:] = IGNORE
    np.testing.assert_array_equal(data.masks, expected)


def test_copies_are_named_and_grouped(mine, check):
    (mine / "images/d_i.png").write_bytes((mine / "images/b_i.png").read_bytes())
    code, text, out = check(mine)
    assert code == 0
    assert "1 images are copies of others, pixel by pixel: b_i = d_i" in text
    assert "the masks of b_i and d_i differ" in text
    groups = pd.read_csv(out / "groups.csv").set_index("id")["group"]
    assert groups["b_i"] == groups["d_i"]
    assert groups.nunique() == 11
    config, _ = suggested(text)
    assert config.grouped
    assert config.data.groups == str(out / "groups.csv")
    table, listed = (out / "groups.csv").read_text(), (out / "images.csv").read_text()
    (out / "groups.csv").write_text(table.replace("c_i,c_i", "c_i,a_i"))  # the user adds a relation
    assert "kept as it is there" in check(mine)[1]
    assert "c_i,a_i" in (out / "groups.csv").read_text()
    (out / "groups.csv").write_text(table.replace("c_i,c_i", "c_i,ä_i"), encoding="utf-16")  # as Excel may save it
    assert "kept as it is there" in check(mine)[1]
    (mine / "images/e_i.png").write_bytes((mine / "images/b_i.png").read_bytes())
    for name in ("images/f_i", "masks/f_i_mask"):
        (mine / f"{name}.png").unlink()
    text = " ".join(check(mine)[1].split())
    assert "changed by hand, but" in text
    assert "no image is called f_i" in text
    assert "ä_i" in (out / "groups.csv").read_text(encoding="utf-16")
    (out / "groups.csv").write_text(table)  # as both were written, of other images
    (out / "images.csv").write_text(listed)
    check(mine)
    assert (out / "groups.csv").read_text().count(",b_i\n") == 3
    code, text, _ = check(mine, f"--config.data.groups={out / 'groups.csv'}")  # these are the groups
    assert "9 groups, the largest b_i with 3 of 11 images" in text
    assert suggested(text)[0].grouped


def test_everything_that_is_wrong_is_said_at_once(mine, check):
    (mine / "images/a_i.png").write_bytes((mine / "images/a_i.png").read_bytes()[:-600])
    (mine / "images/b_i.png").write_text("no image")
    (mine / "masks/c_i_mask.png").unlink()
    Image.fromarray(squares(1)[0, :20]).save(mine / "masks/d_i_mask.png")
    code, text, out = check(mine)
    assert code == 1
    flat = " ".join(text.split())
    for words in ("launch.cv would refuse this", "a_i.png: cannot be read", "b_i.png: cannot be read",
                  "no mask in", "for c_i.png", "d_i.png is 48x40 but its mask"):  # fmt: skip
        assert words in flat
    assert "9 images in" in flat
    assert "give this command again" in flat
    with Image.open(out / "contact.png") as sheet:
        assert sheet.size[0] > 1000


def test_masks_that_launch_cv_would_refuse_get_names(tmp_path, check):
    code, text, _ = check(write(tmp_path / "mine", pictures(12), squares(12, value=100)))
    assert code == 1
    config, _ = suggested(text)
    assert config.data.classes == ("background", "foreground")
    code, *_ = check(tmp_path / "mine", "--config.data.classes=background,cell")
    assert code == 0


def test_too_few_images(tmp_path, check):
    four = write(tmp_path / "four", pictures(4), squares(4))
    code, text, _ = check(four)
    assert code == 1
    assert "4 images cannot fill 5 folds" in text
    assert suggested(text)[0].folds == 4
    code, text, _ = check(four, "--config.folds=4")
    assert code == 0
    code, text, _ = check(write(tmp_path / "one", pictures(1), squares(1)))
    assert code == 1
    assert "1 images cannot fill" in text
    assert "python -m launch.cv" not in text


def test_images_without_red_are_no_masks(tmp_path, check, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    images = pictures(12) * np.array([0, 1, 1], np.uint8)
    images[3] = (0, 9, 200)
    code, text, _ = check(write(tmp_path / "mine", images, squares(12)), "--output=~/seen")
    assert code == 0
    assert "1 images are of one colour all over: d_i" in text
    assert "are they masks?" not in text
    assert (tmp_path / "seen/report.md").is_file()


def test_fields_that_were_given_stay(mine, check):
    _, text, _ = check(mine, "--config.data.size=48,64", "--config.batch_size=2", "--config.data.fit=stretch")
    config, _ = suggested(text)
    assert (config.data.size, config.batch_size, config.data.fit) == ((48, 64), 2, "stretch")


def test_all_empty_masks_and_none_at_all(tmp_path, check):
    code, text, _ = check(write(tmp_path / "mine", pictures(3), squares(3, value=0)))
    assert code == 1
    assert "all 3 masks are empty" in " ".join(text.split())
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="holds no folder 'images'"):
        check(tmp_path / "bare")
    with pytest.raises(DataError, match=r"--config\.data\.images=FOLDER"):
        check("")
    with pytest.raises(InputError, match=r"did you mean --config\.data\.masks"):
        check(tmp_path / "mine", "--config.data.mask=x")


def test_files_that_do_not_pair_get_a_command_by_which_they_do(tmp_path, check):
    root = write(tmp_path / "mine", pictures(12), squares(12))
    for path in (root / "masks").iterdir():
        path.rename(path.with_name(f"{path.stem}_outlined{path.suffix}"))
    code, text, _ = check(root)
    assert code == 1
    assert "--config.data.mask_suffix=" in " ".join(text.split("launch.cv would refuse")[1].split())
    config, _ = suggested(text)
    assert config.data.mask_suffix.endswith("_outlined")
    code, text, _ = check(root, f"--config.data.mask_suffix={config.data.mask_suffix}")
    assert code == 0


def test_objects_that_vanish_at_the_training_size(tmp_path, check):
    masks = np.zeros((12, 128, 128), np.uint8)
    masks[:, 51, 51] = 255
    mine = write(tmp_path / "mine", pictures(12, size=(128, 128)), masks)
    code, text, _ = check(mine, "--config.data.size=16,16")
    assert code == 1
    assert "at 16x16 all masks are empty" in text


@pytest.mark.parametrize("name", ["images.csv", "contact.png", "groups.csv", "report.md"])
def test_a_full_disk_is_named(name, mine, check, tmp_path, monkeypatch):
    """The error of a full disk names no file."""
    (mine / "images/d_i.png").write_bytes((mine / "images/b_i.png").read_bytes())  # a copy: groups are suggested
    writers = {Path: ("write_text", Path.write_text, 0), Image.Image: ("save", Image.Image.save, 1)}
    for kind, (method, original, place) in writers.items():

        def full(*arguments, original=original, place=place, **options):
            if f".{name}." in str(arguments[place]):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(*arguments, **options)

        monkeypatch.setattr(kind, method, full)
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path / 'out' / name}'"):
        check(mine)
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".") or path.name == name]


def test_what_a_killed_command_left_is_cleared(mine, check, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f".contact.png.part.{platform.node()}.{ended.pid}").touch()
    assert check(mine)[0] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.md", "contact.png", "images.csv"}


def test_a_data_set_with_a_builder(tmp_path):
    console = Console(width=160, record=True, markup=False, file=io.StringIO())
    arguments = ["--config=demo.py", f"--config.data.data_dir={tmp_path}", f"--output={tmp_path / 'out'}"]
    assert prepare.run(arguments, console) == 0
    text = console.export_text()
    assert "60 images" in text
    assert "20 groups" in text
    config, _ = suggested(text)
    assert config.grouped
    assert config.data.size == configs.load("demo.py").data.size
