"""The command: masks of every format, nothing predicted twice, and no file that stops the others."""

import csv
import itertools
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import warnings
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
from launch.prediction import areas, pipeline
from sharp_unet_jax import cleaning, decision
from sharp_unet_jax.advice import memory
from sharp_unet_jax.data.resize import resize_image, restore
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import predict as predictor
from sharp_unet_jax.inference.loading import load_all
from sharp_unet_jax.storage import spreadsheet
from tests import chosen
from tests.datasets.formats.test_dicom import write_slice
from tests.edits import edit_folds

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


def test_the_disagreement_of_several_networks(finished, tmp_path, console, dataset):
    """A volume, its map with the same affine, and the numbers of its slices: against NumPy on each run's own masks."""
    pictures = np.stack([np.kron(one[..., 0], np.ones((2, 2), np.uint8)) for one in dataset.images[:2]], axis=-1)
    volume = nibabel.Nifti1Image(pictures.transpose(1, 0, 2), np.diag([-0.5, -0.5, 3, 1]))
    nibabel.save(volume, tmp_path / "v.nii.gz")
    arguments = [f"--run={finished}", "--model=unet,sharp_unet", str(tmp_path / "v.nii.gz"), str(tmp_path / "out")]
    assert predict.run(arguments, console) == 0
    before = table(tmp_path / "out")
    assert predict.run([*arguments[:2], "--disagreement", "--probabilities", *arguments[2:]], console) == 0
    assert table(tmp_path / "out") == before, "it is in the table without being asked for"
    said = console.export_text()
    assert "1 inputs, 0 of them done before; by 2 runs of unet and 2 of sharp_unet, trained on squares" in said
    members = load_all(finished, "unet,sharp_unet")
    small = np.stack([resize_image(pictures[..., n : n + 1], (16, 24), "stretch") for n in range(2)])
    each = np.stack([member.probabilities(np.repeat(small, 3, axis=-1)) for member in members])
    expected = [restore(one.std(axis=0, ddof=1), (32, 48), "stretch") for one in each.swapaxes(0, 1)]
    found = nibabel.load(tmp_path / "out/disagreement/v.nii.gz")
    np.testing.assert_array_equal(found.affine, volume.affine)
    assert found.get_data_dtype() == np.float32
    np.testing.assert_allclose(
        np.asarray(found.dataobj), np.concatenate(expected, axis=-1).transpose(1, 0, 2), atol=1e-6
    )
    assert tifffile.imread(tmp_path / "out/disagreement_overlays/v.tif").shape == (2, 32, 48, 3)
    for row, masks in zip(before, (each[..., 0] > 0.5).swapaxes(0, 1), strict=True):
        pairs = list(itertools.combinations(masks, 2))
        apart, both = (
            sum(f(a, b) for a, b in pairs) for f in (lambda a, b: (a ^ b).sum(), lambda a, b: (a + 0 + b).sum())
        )
        assert float(row["disagreement"]) == pytest.approx(apart / both, abs=1e-4)
        assert 0 < float(row["disagreement"]) < 1


def test_one_run_has_no_disagreement(finished, inputs, tmp_path, console):
    arguments = [f"--run={finished / 'runs/unet/repeat0-fold0'}", str(inputs / "a.png"), str(tmp_path / "out")]
    with pytest.raises(InputError, match="--disagreement is between runs, and unet/repeat0-fold0 is one") as caught:
        predict.run(["--disagreement", *arguments], console)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert predict.run(arguments, console) == 0
    assert [row["disagreement"] for row in table(tmp_path / "out")] == [""]


def test_what_is_done_is_not_done_again(finished, inputs, tmp_path, console, monkeypatch):
    arguments = [f"--run={finished}", "--model=unet", str(inputs), str(tmp_path / "out")]
    assert predict.run(arguments, console) == 0
    before = table(tmp_path / "out")
    (tmp_path / "out/masks/b.png").unlink()
    with open(tmp_path / "out/areas.csv", "a", encoding="utf-8") as file:
        file.write("deep/c,0,squ")  # cut off in the middle of a line
    read, times = picture.read, []
    monkeypatch.setattr(picture, "read", lambda paths, how: times.append(paths[0].name) or read(paths, how))
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
    assert said["inputs"] == {"a": str(inputs / "a.png")}
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
        with pytest.raises(InputError, match="holds a prediction with other"):
            predict.run([f"--run={finished}", *other, *rest], console)


def test_the_rule_of_choice_json_makes_the_masks_and_plain_leaves_it_out(done, inputs, tmp_path, console):
    """The pictures are six times as large as those of training, in pixels."""
    rule = chosen.write(done, {"unet": (0.35, True, 9), "sharp_unet": (0.5,)})["models"]["unet"]["rule"]
    given = [f"--run={done}", "--model=unet", str(inputs)]
    for name, more, said in (("out", [], rule), ("plain", ["--plain"], Rule(0.5)._asdict())):
        assert predict.run([*given, *more, str(tmp_path / name)], console) == 0
        assert json.loads((tmp_path / name / "prediction.json").read_text())["rule"] == said
    with pytest.raises(InputError, match=r"with other rule \(now that of the config, without choice.json\): name"):
        predict.run([*given, "--plain", str(tmp_path / "out")], console)
    predict.run([*given[:1], "--model=unet,sharp_unet", given[2], str(tmp_path / "mean")], console)
    first, other, mean = (line for line in console.export_text().splitlines() if "inputs" in line)
    assert mean.endswith("; masks by the threshold of the config: choice.json has no rule for the mean of these models")
    assert first.endswith("; masks by the rule of launch.choose: above 0.35, holes filled, pieces from 9 pixels on")
    assert "choice.json" not in other
    image = np.asarray(Image.open(inputs / "deep/c.png"))
    (probabilities,) = predictor.predict(load_all(done, "unet"), [image])
    plain = decision.labels(probabilities, 0.5)
    expected = cleaning.clean(decision.labels(probabilities, 0.35), Rule(0.35, True, 9), pixels=6)
    assert (expected != plain).any()
    for name, mask in (("out", expected), ("plain", plain)):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / name / "masks/deep/c.png")), mask)


def test_inputs_in_which_nothing_is_found_are_named(done, inputs, tmp_path, console):
    chosen.write(done, {"unet": (0.5, True, 10**6)})
    given = [f"--run={done}", "--model=unet", str(inputs)]
    assert predict.run([*given, str(tmp_path / "none")], console) == 0
    assert not np.asarray(Image.open(tmp_path / "none/masks/a.png")).any()
    assert "note: nothing but background was found in all 4 inputs" in console.export_text()
    assert predict.run([*given, "--plain", str(tmp_path / "some")], console) == 0
    assert "nothing but background" not in console.export_text()


def test_the_ensemble_of_choice_json_predicts(done, inputs, tmp_path, console):
    chosen.write(done, {"unet": (0.4,), "sharp_unet": (0.5,)}, (["unet"], (0.3, False, 0, True)))
    given = [f"--run={done}", str(inputs / "a.png"), str(tmp_path / "out")]
    assert predict.run([*given, "--model=chosen"], console) == 0
    assert "2 runs of unet" in console.export_text(clear=False)
    assert "masks by the rule of launch.choose: above 0.3, only the largest piece" in console.export_text()
    with pytest.raises(InputError, match=r"ensemble of choice\.json, which is left out"):
        predict.run([*given, "--model=chosen", "--plain"], console)


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
    edit_folds(done, dataset="lung_ct/volumes")
    for name, shape in (("turned", (5, 24, 24)), ("fine", (24, 24, 5))):
        nibabel.save(nibabel.Nifti1Image(np.full(shape, 255, np.uint8), np.eye(4)), tmp_path / f"{name}.nii.gz")
        command = [f"--run={done / 'runs/unet/repeat0-fold0'}", str(tmp_path / f"{name}.nii.gz"), str(tmp_path / name)]
        assert predict.run(command, console) == (name == "turned")


def test_a_ct_from_hounsfield_units_to_its_masks(done, dataset, tmp_path, console):
    """A run trained on a window of CT predicts pydicom's own slice, and the same pixels as a NIfTI volume."""
    edit_folds(done, window=[-1000.0, 400.0])
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


def failures(console):
    return [line.removeprefix("failed: ") for line in console.export_text().splitlines() if line.startswith("failed: ")]


def test_a_volume_of_no_slices_is_named_and_the_rest_is_done(finished, inputs, tmp_path, console):
    """Between other inputs, and as the last one."""
    header = bytearray(nibabel.Nifti1Image(np.zeros((20, 24, 3), np.uint8), np.eye(4)).to_bytes())
    struct.pack_into("<h", header, 46, 0)  # the third dimension
    for name in ("b0.nii", "z.nii"):
        (inputs / name).write_bytes(header)
    command = [f"--run={finished / 'runs/unet/repeat0-fold0'}", str(inputs), str(tmp_path / "out")]
    assert predict.run(command, console) == 1
    assert [line.split(",")[0] for line in failures(console)] == [
        f"{inputs}/{name}: holds no pictures" for name in ("b0.nii", "z.nii")
    ]
    assert {row["input"] for row in table(tmp_path / "out")} == {"a", "b", "deep/c", "pages"}


def write_ct(path, pixels, uid, number, **elements):
    """Write a CT slice of 8 bits, with elements that the standard may forbid."""
    write_slice(path, pixels.astype(np.uint16), position=float(number), series="1.2.3", number=number)
    file = pydicom.dcmread(path)
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.RescaleIntercept, file.PixelData = 7, 0, pixels.tobytes()
    with warnings.catch_warnings(action="ignore"):
        file.SeriesInstanceUID = uid
        for name, value in elements.items():
            setattr(file, name, value)
        file.save_as(path)


@pytest.mark.parametrize("uid", ["../../escaped", "../masks/b", "{tmp_path}/escaped", "..", "x/y"])
def test_a_uid_decides_nothing_outside_the_output(finished, dataset, tmp_path, console, uid):
    """Two series in one folder are named by their UIDs, which whoever made the files has chosen."""
    for name, series in (("a", uid.format(tmp_path=tmp_path)), ("b", "1.2.3.5")):
        for number in range(2):
            write_ct(tmp_path / "in" / f"{name}{number}.dcm", dataset.images[number, ..., 0], series, number)
    before = set(tmp_path.rglob("*"))
    extras = ["--overlays", "--probabilities"]
    command = [
        f"--run={finished / 'runs/unet/repeat0-fold0'}",
        *extras,
        str(tmp_path / "in"),
        str(tmp_path / "deep/out"),
    ]
    for _ in range(2):
        assert predict.run(command, console) == 0
    assert "2 inputs, 2 of them done before" in console.export_text()
    written = set(tmp_path.rglob("*")) - before - {tmp_path / "deep"}
    assert all(path.is_relative_to(tmp_path / "deep/out") for path in written)
    assert len(list((tmp_path / "deep/out/masks").glob("*.dcm"))) == 2
    names = {row["input"] for row in table(tmp_path / "deep/out")}
    assert len(names) == 2
    assert "1.2.3.5" in names


@pytest.mark.parametrize("spacing", [[-1, 1], [0, 0], ["1e200", "1e200"]])
def test_impossible_spacing_gives_no_square_millimetres_and_a_note(finished, dataset, tmp_path, console, spacing):
    write_ct(tmp_path / "in/fine.dcm", dataset.images[0, ..., 0], "1.2.1", 0)
    write_ct(tmp_path / "in/odd.dcm", dataset.images[0, ..., 0], "1.2.2", 0, PixelSpacing=spacing)
    command = [f"--run={finished / 'runs/unet/repeat0-fold0'}", str(tmp_path / "in"), str(tmp_path / "out")]
    assert predict.run(command, console) == 0
    fine, odd = table(tmp_path / "out")
    assert float(fine["mm2"]) == pytest.approx(0.4 * int(fine["pixels"]))
    assert (odd["pixels"], odd["mm2"]) == (fine["pixels"], "")
    (note,) = (line for line in console.export_text().splitlines() if line.startswith("note: "))
    assert note.startswith(
        f"note: no mm2 in areas.csv for {tmp_path}/in/odd.dcm: their pixel spacing is not finite and"
    )


def test_areas_and_masks_that_are_lost_are_made_again(finished, inputs, tmp_path, console):
    output = tmp_path / "out"
    command = [f"--run={finished / 'runs/unet/repeat0-fold0'}", str(inputs), str(output)]
    assert predict.run(command, console) == 0
    whole = (output / "areas.csv").read_bytes()

    def damage(change):
        change()
        assert predict.run(command, console) == 0
        assert (output / "areas.csv").read_bytes() == whole
        written = list((output / "masks").rglob("*.*"))
        assert len(written) == 4
        assert all(path.stat().st_size for path in written)
        return int(re.search(r"4 inputs, (\d) of them done before", console.export_text()).group(1))

    assert damage(lambda: (output / "areas.csv").unlink()) == 0
    assert damage(lambda: (output / "areas.csv").write_bytes(b"")) == 0
    assert damage(lambda: (output / "areas.csv").write_bytes(whole[:-20])) == 3  # within a row of the last input
    assert damage(lambda: (output / "areas.csv").write_bytes(whole[: whole[:-1].rindex(b"\n") + 1])) == 3  # a row less
    assert damage(lambda: (output / "masks/a.png").write_bytes(b"")) == 3
    assert damage(lambda: (output / "masks/pages.tif").unlink()) == 3
    assert damage(lambda: os.utime(inputs / "a.png")) == 3  # as if it were another image
    assert damage(lambda: None) == 4


def test_rows_that_another_command_took_away_are_said(finished, inputs, tmp_path, console, monkeypatch):
    """Two commands write to one folder, and one sorts the table while the other adds to it."""
    append = areas.append
    monkeypatch.setattr(areas, "append", lambda output, rows: None if rows[0][0] == "b" else append(output, rows))
    command = [f"--run={finished / 'runs/unet/repeat0-fold0'}", str(inputs), str(tmp_path / "out")]
    assert predict.run(command, console) == 1
    assert failures(console) == [f"{inputs}/b.bmp: its files or rows are gone again; give the same command again"]


def test_failures_are_listed_where_the_memory_ends_too(finished, inputs, tmp_path, console, monkeypatch):
    (inputs / "0.png").write_text("not a picture")
    monkeypatch.setattr(pipeline, "_decide", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(InputError, match=rf"{inputs}/a.png: there is too little memory to predict it"):
        predict.run([f"--run={finished / 'runs/unet/repeat0-fold0'}", str(inputs), str(tmp_path / "out")], console)
    assert [line.split(":")[0] for line in failures(console)] == [f"{inputs}/0.png"]


def test_names_that_spreadsheets_or_terminals_would_run(finished, dataset, tmp_path, console):
    (tmp_path / "in").mkdir()
    names = ["=cmd|' &C calc'!A0", "+1", "@x", "-a", "\x1b[31m", "a\rb", "'=b"]
    for name in names:
        Image.fromarray(dataset.images[0]).save(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in/\x1b]0;title\x07.png").write_text("no picture")
    command = [f"--run={finished / 'runs/unet/repeat0-fold0'}", str(tmp_path / "in"), str(tmp_path / "out")]
    for _ in range(2):
        assert predict.run(command, console) == 1
        text = console.export_text()
        assert "\\x1b]0;title\\x07.png: cannot be read" in text
        assert not set("\x1b\x07") & set(text)
    assert "8 inputs, 7 of them done before" in text
    cells = [row["input"] for row in table(tmp_path / "out")]
    assert sorted(map(spreadsheet.original, cells)) == sorted(names)
    assert not [cell for cell in cells if cell.startswith(("=", "@", "-"))]


@pytest.mark.filterwarnings("ignore::sharp_unet_jax.errors.ResolutionWarning")
def test_too_little_memory_is_one_line(finished, inputs, tmp_path, monkeypatch, capsys):
    run, whole = f"--run={finished / 'runs/unet/repeat0-fold0'}", [str(inputs), str(tmp_path / "out")]
    monkeypatch.setattr(memory, "free", lambda: 2**27)
    for tile in ("--tile=2000,2000", "--tile=99999999999,16"):
        monkeypatch.setattr(sys, "argv", ["predict", run, tile, str(inputs), str(tmp_path / tile)])
        with pytest.raises(SystemExit) as ended:
            predict.main()
        expected = r"error: .* GB of memory, and 0.1 GB are free: give a smaller tile \(--tile=512,512\).*"
        assert re.fullmatch(expected, ended.value.code)
    for at in ("load_all", None):
        with monkeypatch.context() as patch:
            if at:
                patch.setattr(predict.loading, at, lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
            else:
                patch.setattr(picture, "read", lambda *_: (_ for _ in ()).throw(MemoryError()))
            patch.setattr(sys, "argv", ["predict", run, *whole])
            with pytest.raises(SystemExit) as ended:
                predict.main()
        said = ended.value.code if at else capsys.readouterr().out  # Python prints a text that is no number
        assert "there is too little memory" in said
        assert "damaged" not in said


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
        (["--run={run}", f"--tile={5000 * '9'},9", "{inputs}", "out"], "9,9: give a height and a width"),
        (["--run={run}", "--tile=0,-9", "{inputs}", "out"], "--tile=0,-9: give a height and a width"),
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


def test_values_outside_those_of_the_training_are_noted(done, tmp_path, console):
    """Fractions and a range of 16 bits, for a run that was trained on 12 bits: by image, at the end, in areas.csv."""
    edit_folds(done, window=[0.0, 4095.0], clipped=[0.02, 0.01])
    scene = np.kron(np.random.default_rng(0).integers(0, 4000, (5, 6)), np.ones((4, 5), np.int64))
    (tmp_path / "in").mkdir()
    images = {
        "fine": scene.astype(np.uint16),
        "full": (scene * 16).astype(np.uint16),
        "part": (scene / 4095).astype("f"),
    }
    for name, image in images.items():
        tifffile.imwrite(tmp_path / f"in/{name}.tif", image)
    assert predict.run([f"--run={done}", "--model=unet", str(tmp_path / "in"), str(tmp_path / "out")], console) == 0
    text = " ".join(console.export_text().split())
    assert re.search(
        r"full.tif: [5-9]\d% of the values are at or above the high end of the range of the training", text
    )
    assert "part.tif: 100% of the values are at or below the low end" in text
    assert "note: 2 of 3 inputs do not hold values as the run was trained on" in text
    notes = {row["input"]: row["note"][-70:] for row in table(tmp_path / "out")}
    ends = {"full": "at or above the high", "part": "at or below the low"}
    assert notes == {"fine": ""} | {
        name: f"% of the values are {end} end of the range of the training"[-70:] for name, end in ends.items()
    }


def test_what_no_dicom_seg_can_hold_is_said_before_it_is_predicted(finished, tmp_path, console, monkeypatch):
    """A film and a picture of ultrasound: the masks are a TIF and a PNG, and the command resumes."""
    (tmp_path / "in").mkdir()
    files = Path(pydicom.data.__file__).parent / "test_files"
    for name in ("examples_ybr_color", "examples_rgb_color"):
        shutil.copy(files / f"{name}.dcm", tmp_path / "in")
    picture = pydicom.dcmread(tmp_path / "in/examples_rgb_color.dcm")
    del picture.StudyInstanceUID
    picture.save_as(tmp_path / "in/examples_rgb_color.dcm")
    arguments = [f"--run={finished / 'runs/sharp_unet/repeat0-fold1'}", str(tmp_path / "in"), str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "predict_files", lambda *_: (_ for _ in ()))
        predict.run(arguments, console)
    said = console.export_text()
    assert re.search(r"note: .*examples_ybr_color.dcm: masks are \.tif files, .*\(Only a single frame", said)
    assert re.search(r"note: .*examples_rgb_color.dcm: masks are \.png files, .*\(it has no StudyInstanceUID", said)
    assert predict.run(arguments, console) == 0
    assert tifffile.imread(tmp_path / "out/masks/examples_ybr_color.tif").shape == (30, 240, 320)
    with Image.open(tmp_path / "out/masks/examples_rgb_color.png") as mask:
        assert mask.size == (320, 240)
    assert predict.run(arguments, console) == 0
    assert "2 inputs, 2 of them done before" in console.export_text()
