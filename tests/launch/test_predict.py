"""The command: masks of every format, nothing predicted twice, and no file that stops the others."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from rich.console import Console

from datasets.formats import picture
from launch import predict
from launch.prediction import pipeline
from sharp_unet_jax import decision
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference.trained import load_all
from tests.edits import edit, follow

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture
def console():
    return Console(width=1000, record=True)


@pytest.fixture
def inputs(tmp_path, dataset):
    """Return a folder of three pictures, one of them in a subfolder, and a TIF of two pages."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for name, index in (("a.png", 0), ("b.bmp", 1), ("deep/c.png", 2)):
        Image.fromarray(np.kron(dataset.images[index], np.ones((2, 3, 1), np.uint8))).save(folder / name)
    tifffile.imwrite(folder / "pages.tif", dataset.images[3:5], photometric="rgb")
    return folder


def table(output):
    with open(output / "areas.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_masks_of_a_folder(finished, inputs, tmp_path, console, dataset):
    run, output = finished / "runs/sharp_unet/repeat0-fold1", tmp_path / "out"
    assert predict.run([f"--run={run}", "--overlays", "--probabilities", str(inputs), str(output)], console) == 0
    found = sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())
    stems = ("a", "b", "deep/c", "pages")
    assert found == sorted(
        ["areas.csv", "prediction.json"]
        + [f"masks/{stem}.{'tif' if stem == 'pages' else 'png'}" for stem in stems]
        + [f"overlays/{stem}.{'tif' if stem == 'pages' else 'png'}" for stem in stems]
        + [f"probabilities/{stem}.tif" for stem in stems]
    )
    (trained,) = load_all(run)
    (expected,) = trained.predict([np.kron(dataset.images[2], np.ones((2, 3, 1), np.uint8))])
    mask = np.asarray(Image.open(output / "masks/deep/c.png"))
    np.testing.assert_array_equal(mask, decision.labels(expected, 0.5))
    np.testing.assert_allclose(tifffile.imread(output / "probabilities/deep/c.tif"), expected[..., 0], atol=1e-6)
    assert tifffile.imread(output / "masks/pages.tif").shape == (2, 16, 24)
    rows = table(output)
    assert [(row["input"], row["slice"]) for row in rows] == [
        ("a", "0"),
        ("b", "0"),
        ("deep/c", "0"),
        ("pages", "0"),
        ("pages", "1"),
    ]
    assert int(rows[2]["pixels"]) == mask.sum()
    assert "5 images in" in console.export_text()


def test_what_is_done_is_not_done_again(finished, inputs, tmp_path, console, monkeypatch):
    arguments = [f"--run={finished}", "--model=unet", str(inputs), str(tmp_path / "out")]
    assert predict.run(arguments, console) == 0
    before = table(tmp_path / "out")
    (tmp_path / "out/masks/b.png").unlink()
    with open(tmp_path / "out/areas.csv", "a", encoding="utf-8") as file:
        file.write("deep/c,0,squ")  # cut off in the middle of a line
    read, times = picture.read, []
    monkeypatch.setattr(picture, "read", lambda paths: times.append(paths[0].name) or read(paths))
    assert predict.run(arguments, console) == 0
    assert times == ["b.bmp"]
    assert table(tmp_path / "out") == before
    assert "4 inputs, 3 of them done before; by 2 runs of unet" in console.export_text()
    assert predict.run([*arguments[:2], "--overlays", *arguments[2:]], console) == 0
    assert sorted(times) == ["a.png", "b.bmp", "b.bmp", "c.png"], "overlays are added"


def test_an_output_is_added_to(finished, inputs, tmp_path, console):
    for name in ("b.bmp", "a.png"):
        arguments = [f"--run={finished / 'runs/unet/repeat0-fold0'}", str(inputs / name), str(tmp_path / "out")]
        assert predict.run(arguments, console) == 0
    assert [row["input"] for row in table(tmp_path / "out")] == ["b", "a"]


def test_a_mask_is_not_taken_for_that_of_another_file(finished, inputs, tmp_path, console, monkeypatch):
    run, output = f"--run={finished / 'runs/unet/repeat0-fold0'}", tmp_path / "out"
    assert predict.run([run, str(inputs / "a.png"), str(output)], console) == 0
    other = tmp_path / "other" / "a.bmp"
    other.parent.mkdir()
    shutil.copy(inputs / "b.bmp", other)
    with pytest.raises(InputError, match=rf"holds a of {inputs}/a.png, and now it is {other}: name another folder"):
        predict.run([run, str(other), str(output)], console)
    monkeypatch.chdir(inputs)
    assert predict.run([run, "a.png", str(output)], console) == 0, "the same file, given otherwise"
    said = json.loads((output / "prediction.json").read_text())
    assert said.pop("inputs") == {"a": str(inputs / "a.png")}
    (output / "prediction.json").write_text(json.dumps(said))  # a file that names no inputs
    assert predict.run([run, "a.png", str(output)], console) == 0
    assert "1 inputs, 1 of them done before" in console.export_text()


def test_an_earlier_output_is_no_input(finished, inputs, console):
    for name in ("out", "deep/out"):
        arguments = [f"--run={finished / 'runs/unet/repeat0-fold0'}", "--overlays", str(inputs), str(inputs / name)]
        assert predict.run(arguments, console) == 0
        assert {row["input"] for row in table(inputs / name)} == {"a", "b", "deep/c", "pages"}


def test_rows_of_what_is_made_again_are_replaced(finished, inputs, tmp_path, console):
    """Another kind of device may differ in a few pixels."""
    output = tmp_path / "out"
    arguments = [f"--run={finished / 'runs/unet/repeat0-fold0'}", str(inputs), str(output)]
    assert predict.run(arguments, console) == 0
    before = table(output)
    rows = [{**row, "pixels": "9999"} for row in before]
    with open(output / "areas.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    assert predict.run(arguments, console) == 0
    assert table(output) == rows
    assert predict.run([*arguments[:1], "--overlays", *arguments[1:]], console) == 0
    assert table(output) == before


def test_masks_of_other_runs_or_options_are_not_mixed(finished, inputs, tmp_path, console):
    rest = [str(inputs / "a.png"), str(tmp_path / "out")]
    assert predict.run([f"--run={finished}", "--model=unet", *rest], console) == 0
    for other in (["--model=sharp_unet"], ["--model=unet", "--flips"], ["--model=unet", "--tile=16,16"]):
        with pytest.raises(InputError, match="holds masks predicted with other"):
            predict.run([f"--run={finished}", *other, *rest], console)


def test_bad_files_do_not_stop_the_rest_and_are_listed(finished, inputs, tmp_path, console):
    (inputs / "text.png").write_text("not a picture")
    whole = (inputs / "a.png").read_bytes()
    (inputs / "cut.png").write_bytes(whole[: len(whole) // 2])
    tifffile.imwrite(inputs / "deep.tif", np.zeros((4, 4), np.uint16))
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 2), np.uint8), np.eye(4)), inputs / "four.nii.gz")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(inputs / "grey.png")
    run, output = finished / "runs/unet/repeat0-fold0", tmp_path / "out"
    assert predict.run([f"--run={run}", str(inputs), str(output)], console) == 1
    lines = [line for line in console.export_text().splitlines() if line.startswith("failed: ")]
    assert [Path(line.split(":")[1].strip()).name for line in lines] == [
        "cut.png",
        "deep.tif",
        "four.nii.gz",
        "text.png",
    ]
    assert all(line.count(str(inputs)) == 1 for line in lines)
    assert "trained on 8 bits" in lines[1]
    written = {
        path.relative_to(output / "masks").as_posix() for path in (output / "masks").rglob("*") if path.is_file()
    }
    assert written == {"a.png", "b.png", "deep/c.png", "grey.png", "pages.tif"}
    assert {row["input"] for row in table(output)} == {"a", "b", "deep/c", "grey", "pages"}


def test_a_turn_in_exif_is_not_applied(finished, dataset, tmp_path, console):
    """The mask lies on the pixels as they are stored, as in training."""
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    for name, options in (("stored.png", {}), ("turned.png", {"exif": exif})):
        Image.fromarray(dataset.images[0]).save(tmp_path / name, **options)
    run = finished / "runs/unet/repeat0-fold0"
    arguments = [f"--run={run}", "--overlays", str(tmp_path / "*.png"), str(tmp_path / "out")]
    assert predict.run(arguments, console) == 0
    for kind in ("masks", "overlays"):
        stored, turned = (np.asarray(Image.open(tmp_path / "out" / kind / f"{n}.png")) for n in ("stored", "turned"))
        assert stored.shape[:2] == (16, 24)
        np.testing.assert_array_equal(turned, stored)


def test_what_is_named_and_no_image_stops_nothing(finished, inputs, tmp_path, console):
    (inputs / "notes.txt").write_text("x")
    run, given = finished / "runs/unet/repeat0-fold0", [str(path) for path in inputs.iterdir()]  # as a shell's inputs/*
    assert predict.run([f"--run={run}", *given, str(tmp_path / "out")], console) == 1
    assert {row["input"] for row in table(tmp_path / "out")} == {"a", "b", "deep/c", "pages"}
    (line,) = (line for line in console.export_text().splitlines() if line.startswith("failed: "))
    assert line.startswith(f"failed: {inputs}/notes.txt: is of no format known here")


@pytest.mark.skipif(sys.platform != "linux", reason="there are no such names elsewhere")
def test_names_that_are_not_utf8(finished, dataset, tmp_path, monkeypatch, capsys):
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    Image.fromarray(dataset.images[0]).save(folder / os.fsdecode(b"\xe9.png"))
    (folder / os.fsdecode(b"\xff.png")).write_text("not a picture")
    run = finished / "runs/unet/repeat0-fold0"
    monkeypatch.setattr(sys, "argv", ["predict", f"--run={run}", str(folder), str(output)])
    for _ in range(2):  # the second reads what the first wrote
        with pytest.raises(SystemExit) as ended:
            predict.main()
        assert ended.value.code == 1
        assert f"failed: {folder}/\\udcff.png: cannot be read as an image" in capsys.readouterr().out
        assert [line.split(b",")[0] for line in (output / "areas.csv").read_bytes().splitlines()] == [b"input", b"\xe9"]


def test_only_bad_files(finished, tmp_path, console):
    (tmp_path / "text.png").write_text("x")
    run = finished / "runs/unet/repeat0-fold0"
    assert predict.run([f"--run={run}", str(tmp_path / "text.png"), str(tmp_path / "out")], console) == 1


def test_a_mask_that_cannot_be_written_is_listed(finished, inputs, tmp_path, console):
    run = finished / "runs/unet/repeat0-fold0"
    assert predict.run([f"--run={run}", str(inputs / "a.png"), str(tmp_path / "out")], console) == 0
    (tmp_path / "out/masks/deep").write_text("a file where a folder is needed")
    assert predict.run([f"--run={run}", str(inputs), str(tmp_path / "out")], console) == 1
    assert len(list((tmp_path / "out/masks").glob("*.png"))) == 2
    assert {row["input"] for row in table(tmp_path / "out")} == {"a", "b", "pages"}


def test_interrupted_it_goes_on(finished, inputs, tmp_path, console, monkeypatch):
    """Ctrl-C comes while the command waits for the third input."""
    arguments = [f"--run={finished / 'runs/unet/repeat0-fold0'}", str(inputs), str(tmp_path / "out")]
    monkeypatch.setattr(pipeline, "THREADS", 1)

    def interrupted(outcomes, total):
        yield next(outcomes)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(predict, "track", lambda console, what: interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict.run(arguments, console)
    assert not list((tmp_path / "out").rglob(".*"))
    assert predict.run(arguments, console) == 0
    assert {row["input"] for row in table(tmp_path / "out")} == {"a", "b", "deep/c", "pages"}


def test_areas_are_in_square_millimetres_where_the_file_says(finished, tmp_path, console):
    image = nibabel.Nifti1Image(np.full((24, 16, 2), 255, np.uint8), np.diag([0.5, 0.5, 4, 1]))
    nibabel.save(image, tmp_path / "v.nii.gz")
    run = finished / "runs/unet/repeat0-fold0"
    assert predict.run([f"--run={run}", str(tmp_path / "v.nii.gz"), str(tmp_path / "out")], console) == 0
    rows = table(tmp_path / "out")
    assert [row["slice"] for row in rows] == ["0", "1"]
    mask = np.asarray(nibabel.load(tmp_path / "out/masks/v.nii.gz").dataobj)
    assert [float(row["mm2"]) for row in rows] == pytest.approx(0.25 * mask.sum(axis=(0, 1)))


def test_a_ct_volume_whose_header_turns_it_away_from_training_is_refused(done, dataset, tmp_path, console):
    """The lung CT volumes hold slice, row, column, and their headers need not say it."""
    edit(done / "folds.json", dataset="lung_ct/volumes")
    for name, shape in (("turned", (5, 24, 24)), ("fine", (24, 24, 5))):
        nibabel.save(nibabel.Nifti1Image(np.full(shape, 255, np.uint8), np.eye(4)), tmp_path / f"{name}.nii.gz")
        command = [f"--run={done / 'runs/unet/repeat0-fold0'}", str(tmp_path / f"{name}.nii.gz"), str(tmp_path / name)]
        assert predict.run(command, console) == (name == "turned")


def test_a_ct_from_hounsfield_units_to_its_masks(done, dataset, tmp_path, console):
    """A run trained on a window of CT predicts pydicom's own slice, and the same pixels as a NIfTI volume."""
    edit(done / "folds.json", window=[-1000.0, 400.0])
    follow(done)
    run, folder, output = done / "runs/sharp_unet/repeat0-fold1", tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    shutil.copy(Path(pydicom.data.__file__).parent / "test_files/CT_small.dcm", folder / "slice.dcm")
    file = pydicom.dcmread(folder / "slice.dcm")
    units = file.pixel_array.astype(np.int16) - 1024
    volume = nibabel.Nifti1Image(np.stack([units.T, units.T], axis=-1), np.diag([-0.5, -2.0, 3.0, 1.0]))
    nibabel.save(volume, folder / "volume.nii.gz")
    assert predict.run([f"--run={run}", str(folder), str(output)], console) == 0
    (trained,) = load_all(run)
    (expected,) = trained.masks([np.rint((np.clip(units, -1000, 400) + 1000) / 1400 * 255).astype(np.uint8)])
    assert 0 < expected.sum() < expected.size
    mask = highdicom.seg.segread(output / "masks/slice.dcm")
    found = mask.get_pixels_by_source_instance([file.SOPInstanceUID], combine_segments=True)
    np.testing.assert_array_equal(found, expected[None])
    mask = nibabel.load(output / "masks/volume.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.stack([expected.T, expected.T], axis=-1))
    np.testing.assert_array_equal(mask.affine, volume.affine)
    sizes = {"slice": 0.661468**2, "volume": 1.0}  # of a pixel, mm²
    rows = table(output)
    assert [(row["input"], row["slice"]) for row in rows] == [("slice", "0"), ("volume", "0"), ("volume", "1")]
    for row in rows:
        assert float(row["mm2"]) == pytest.approx(expected.sum() * sizes[row["input"]], abs=1e-3)


@pytest.mark.parametrize("name", ["areas.csv", "overlays"])
def test_files_of_the_user_are_not_written_over(finished, inputs, tmp_path, console, name):
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(InputError, match=f"{name} was not written by this command"):
        predict.run(
            [f"--run={finished / 'runs/unet/repeat0-fold0'}", "--overlays", str(inputs), str(tmp_path / "out")], console
        )
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_a_damaged_prediction_json_is_named(finished, inputs, tmp_path, console):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/prediction.json").write_text("{")
    with pytest.raises(InputError, match=r"prediction\.json is damaged .*: name another folder"):
        predict.run([f"--run={finished / 'runs/unet/repeat0-fold0'}", str(inputs), str(tmp_path / "out")], console)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run={run}", "--tile=64", "{inputs}", "out"], "--tile=64: give a height and a width"),
        (["--run={run}", "{inputs}/none.png", "out"], "there is no such file"),
        (["--run={inputs}", "{inputs}", "out"], "is no run"),
        (["--run={run}", "{inputs}", "{inputs}/a.png"], "is a file: name a folder"),
        (["--run={run}", "{inputs}", "{inputs}/"], "is the input as well as the output"),
        (["--run={run}", "{inputs}/a.png", "{inputs}/deep/.."], "masks was not written by this command"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_written(finished, inputs, console, arguments, message):
    run = finished / "runs/unet/repeat0-fold0"
    (inputs / "masks").mkdir()  # the user's own
    before = sorted(inputs.rglob("*"))
    with pytest.raises(InputError, match=message):
        predict.run([text.format(run=run, inputs=inputs) for text in arguments], console)
    assert sorted(inputs.rglob("*")) == before


def test_as_a_user_gives_it(tmp_path):
    """An error ends in one line and exit code 1."""
    ended = subprocess.run(
        [sys.executable, "-m", "launch.predict", f"--run={tmp_path}", str(tmp_path), str(tmp_path / "out")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
