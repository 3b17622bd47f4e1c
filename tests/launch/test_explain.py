"""The command: the pictures it writes, and what it refuses in one line."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from datasets.errors import DataError
from launch import explain
from launch.console import image, runs
from sharp_unet_jax.data.resize import resize_image
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.sweeps import plan, workdir
from tests.conftest import squares
from tests.edits import edit_config, edit_folds, follow
from tests.tiny_sweep import CONFIG

pytestmark = pytest.mark.usefixtures("tiny_models")

PLAIN, SHARP = "runs/unet/repeat0-fold0", "runs/sharp_unet/repeat0-fold0"


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    monkeypatch.setattr(explain, "DPI", 30)


@pytest.fixture
def prepared(done, tmp_path):
    """Return the finished sweep with its prepared images on disk."""
    dataset = squares()
    (tmp_path / "prepared").mkdir()
    for part in ("images", "masks"):
        np.save(tmp_path / "prepared" / f"{part}.npy", getattr(dataset, part))
    (done / "data.json").write_text(json.dumps({"prepared": str(tmp_path / "prepared")}))
    return done


def test_plain_beside_sharp(prepared, tmp_path, capsys):
    runs = [f"--run={prepared / name}" for name in (PLAIN, SHARP)]
    explain.run([*runs, "--image=003", "--region=2,4,8,10", f"--output={tmp_path / 'out'}"])
    names = {"gradcam-003", "sharp-sharp_unet-repeat0-fold0-003"}
    files = {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == files
    text = (tmp_path / "out" / "gradcam-003.svg").read_text()
    for word in ("unet", "sharp_unet", "square", "first"):
        assert re.search(rf"<!-- .*\b{word}\b.* -->", text)
    assert np.asarray(Image.open(tmp_path / "out" / "gradcam-003.png")).std() > 10
    assert "gradcam-003" in capsys.readouterr().out


def test_a_workdir_stands_for_a_run_of_each_model_that_tests_the_image(prepared, tmp_path):
    cells = {cell["fold"]: cell["test"] for cell in json.loads((prepared / "folds.json").read_text())["folds"]}
    (fold,) = (fold for fold, images in cells.items() if "003" in images)
    explain.run([f"--run={prepared}", "--image=003", f"--output={tmp_path / 'out'}"])
    names = {path.stem for path in (tmp_path / "out").iterdir()}
    assert names == {"gradcam-003", f"sharp-sharp_unet-repeat0-fold{fold}-003"}
    assert [path.parent.name for path in runs.to_explain(prepared, [], "003")] == ["unet", "sharp_unet"]
    for fold, images in cells.items():
        assert {path.name for path in runs.to_explain(prepared, [], images[0])} == {f"repeat0-fold{fold}"}
    assert [path.name for path in runs.to_explain(prepared, ["unet"], "elsewhere.png")] == ["repeat0-fold0"]
    with pytest.raises(InputError, match="has no finished run of kiunet, but of unet, sharp_unet"):
        runs.to_explain(prepared, ["kiunet"], "003")
    with pytest.raises(InputError, match="is not a run of unet; leave it out, or name a workdir"):
        runs.to_explain(prepared / SHARP, ["unet"], "003")


def test_a_map_that_joins_several_times_is_drawn_once(prepared, tmp_path, monkeypatch):
    """UNet++ joins a map at several places."""
    found, drawn = explain.explain.skips, []
    monkeypatch.setattr(explain.explain, "skips", lambda run, picture: 2 * found(run, picture))
    draw = explain.saliency.sharp_block
    monkeypatch.setattr(explain.saliency, "sharp_block", lambda *given: drawn.append(given) or draw(*given))
    explain.run([f"--run={prepared / SHARP}", "--image=003", f"--output={tmp_path / 'out'}"])
    ((_, before, after, spectra),) = drawn
    shapes = [each.shape for each in before]
    assert len(shapes) == len(set(shapes)) == len(after) == len(spectra)


def test_ids_that_look_like_file_names_keep_what_tells_them_apart(prepared, tmp_path):
    names = ("scan.1", "scan.2", "b/scan.1")
    dataset = dataclasses.replace(squares(), ids=(*names, *squares().ids[3:]))
    folds = workdir.folds_of(dataset, plan.split(CONFIG, dataset))
    (prepared / "folds.json").write_text(json.dumps(folds))
    follow(prepared)
    for name in names:
        explain.run([f"--run={prepared / PLAIN}", f"--image={name}", "--region=image", f"--output={tmp_path / 'out'}"])
    pictures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert pictures == {f"gradcam-{name}.png" for name in ("scan.1", "scan.2", "b-scan.1")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image=003", "--class=cat"], "no such class; the runs know background, square"),
        (["--image=999"], r"nor id in squares; test images are \d{3}, "),
        (["--image=003", "--region=2,4"], "give prediction, image, or TOP"),
        (["--image=003", "--region=9,4,8,8"], "within 16x24 pixels"),
    ],
)
def test_wrong_input_is_answered_in_a_line_and_leaves_nothing(prepared, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        explain.run([f"--run={prepared / SHARP}", f"--output={tmp_path / 'out'}", *arguments])
    assert not (tmp_path / "out").exists()


def test_an_image_file_is_brought_to_the_size_of_training(finished, tmp_path):
    Image.fromarray(squares(n=1, size=(32, 48)).images[0]).save(tmp_path / "mine.png")
    run = explain.loading.load(finished / SHARP)
    loaded, mask = image.load(finished / SHARP, run, str(tmp_path / "mine.png"))
    assert (loaded.shape, mask) == ((16, 24, 3), None)
    with pytest.raises(InputError, match="the images of squares are not at hand"):
        image.load(finished / SHARP, run, "003")


def test_a_deep_image_is_read_by_the_runs_window(finished, tmp_path):
    wanted = squares(n=1, size=(32, 48)).images[0, ..., 0]
    Image.fromarray((wanted * np.int32(4) - 512)[8:24]).save(tmp_path / "mine.tif")  # a part, of other percentiles
    run = dataclasses.replace(explain.loading.load(finished / SHARP), window=(-512.0, 508.0))
    loaded, _ = image.load(finished / SHARP, run, str(tmp_path / "mine.tif"))
    np.testing.assert_array_equal(loaded, resize_image(wanted[8:24, :, None].repeat(3, axis=2), (16, 24), "stretch"))
    with pytest.raises(InputError, match=r"mine\.tif: .* trained on 8 bits"):
        image.load(finished / SHARP, dataclasses.replace(run, window=None), str(tmp_path / "mine.tif"))


def test_an_image_whose_channels_are_files_is_named_by_any_of_them(finished, tmp_path):
    wanted, endings = squares(n=1).images[0], ("_DAPI", "_GFP", "_RFP")
    files = [tmp_path / f"mine{ending}.png" for ending in endings]
    for path, plane in zip(files, np.moveaxis(wanted, -1, 0), strict=True):
        Image.fromarray(plane).save(path)
    run = explain.loading.load(finished / SHARP)
    data = dataclasses.replace(run.config.data, channel_files=endings)
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, data=data))
    for path in files:
        np.testing.assert_array_equal(image.load(finished / SHARP, run, str(path))[0], wanted)
    Image.fromarray(wanted).save(tmp_path / "whole.png")
    np.testing.assert_array_equal(image.load(finished / SHARP, run, str(tmp_path / "whole.png"))[0], wanted)
    files[1].unlink()
    with pytest.raises(DataError, match=r"mine_DAPI\.png: the image has no file of _GFP; add it"):
        image.load(finished / SHARP, run, str(files[0]))


@pytest.mark.parametrize(
    ("edited", "change", "message"),
    [
        (edit_folds, {"window": [-512.0, 512.0]}, r"window, None and \(-512\.0, 512\.0\)"),
        (edit_config, {"data": {"size": [16, 32]}}, r"size, \(16, 24\) and \(16, 32\)"),
        (edit_config, {"data": {"fit": "letterbox"}}, "fit, stretch and letterbox"),
    ],
)
def test_runs_that_see_images_differently_are_not_drawn_together(
    prepared, tmp_path, monkeypatch, edited, change, message
):
    monkeypatch.setenv("HOME", str(tmp_path))
    other = shutil.copytree(prepared, tmp_path / "other")
    edited(other, **change)
    with pytest.raises(InputError, match=f"differ in {message}: compare apart"):
        explain.run([f"--run={prepared / PLAIN}", f"--run=~/other/{SHARP}", "--image=003", "--output=~/out"])
    assert not (tmp_path / "out").exists()


def test_a_home_is_found_behind_an_equals_sign(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    explain.run([f"--run=~/{prepared.name}/{PLAIN}", "--image=003", "--region=image", "--output=~/out"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"gradcam-003.png", "gradcam-003.svg"}


def test_runs_of_one_model_are_told_apart(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "again")
    other = [f"--run={prepared / SHARP.replace('fold0', 'fold1')}"]
    for name, given, said in (
        ("folds", other, "sharp_unet/repeat0-fold1"),
        ("workdirs", [f"--run={tmp_path / 'again' / SHARP}"], "again/sharp_unet/repeat0-fold0"),
    ):
        explain.run([f"--run={prepared / SHARP}", *given, "--image=003", f"--output={tmp_path / name}"])
        drawn = {path.stem for path in (tmp_path / name).iterdir()}
        assert len(drawn) == 3
        assert f"sharp-{said.replace('/', '-')}-003" in drawn
        assert said in (tmp_path / name / "gradcam-003.svg").read_text()
