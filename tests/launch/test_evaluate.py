"""The command: the figures of scikit-learn on the written masks, and each refusal in one line."""

import argparse
import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import tifffile
from PIL import Image
from rich.console import Console

from datasets.errors import DataError
from launch import evaluate, predict
from launch.evaluation import truth
from launch.prediction import pipeline
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import evaluated, statistics
from tests import chosen, crop_runs
from tests.conftest import shrink_models, squares
from tests.datasets.formats.test_dicom import write_slice
from tests.inference.test_export import fresh_run
from tests.tiny_sweep import CONFIG, make

pytestmark = pytest.mark.usefixtures("tiny_models")

SKLEARN = {
    "jaccard": sklearn.metrics.jaccard_score,
    "dice": sklearn.metrics.f1_score,
    "sensitivity": sklearn.metrics.recall_score,
    "precision": sklearn.metrics.precision_score,
}
RUN = "runs/sharp_unet/repeat0-fold0"


@pytest.fixture
def console():
    return Console(width=1000, record=True)


def write(folder, *, classes=2, values=(0, 255), n=4):
    """Write unseen images of another size than that of training, and their masks, the first of them empty."""
    data = squares(n, (24, 40), classes=classes, seed=7)
    data.masks[0] = 0
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for name, image, mask in zip("abcdefghijkl", data.images, data.masks, strict=False):
        Image.fromarray(image).save(folder / f"images/{name}.png")
        Image.fromarray(np.array(values, np.uint8)[mask]).save(folder / f"masks/{name}.png")
    return folder


@pytest.fixture
def held_out(tmp_path):
    return write(tmp_path / "held_out")


def arguments(folder, **more):
    options = {"images": folder / "images", "masks": folder / "masks"} | more
    return [f"--{name}={value}" for name, value in options.items()]


def masks(folder):
    return {path.stem: np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))}


def rows(output):
    return pd.read_csv(output / "per_image.csv", dtype={"id": str, "group": str}).set_index(["id", "class"])


def check_overlaps(truth, predicted, row, positive=1):
    """Compare a row with scikit-learn's figures of two masks of flat labels."""
    for name, score in SKLEARN.items():
        # 0/0 scores 1 only where the masks are alike.
        alike = np.array_equal(truth == positive, predicted == positive)
        expected = score(truth == positive, predicted == positive, zero_division=float(alike))
        assert row[name] == pytest.approx(expected, abs=1e-12), name


def test_figures_are_those_of_scikit_learn_on_the_written_masks(finished, held_out, tmp_path, console):
    output = tmp_path / "out"
    evaluate.run([f"--run={finished / RUN}", *arguments(held_out, output=output)], console)
    assert sorted(path.name for path in output.iterdir()) == sorted(evaluate.WRITTEN)
    truth, predicted, table = masks(held_out / "masks"), masks(output / "masks"), rows(output)
    assert list(truth) == list(predicted) == ["a", "b", "c", "d"]
    assert any(mask.any() for mask in predicted.values()), "the tiny network predicts something"
    for name, mask in truth.items():
        assert predicted[name].shape == mask.shape == (24, 40)
        check_overlaps(mask.ravel() > 0, predicted[name].ravel(), table.loc[name, "square"])
    found = json.loads((output / "scores.json").read_text())
    jaccard = [
        sklearn.metrics.jaccard_score(truth[name].ravel() > 0, predicted[name].ravel(), zero_division=1)
        for name in truth
    ]
    assert found["headline"] == "square"
    assert found["scores"]["square"]["jaccard"]["mean"] == pytest.approx(np.mean(jaccard), abs=1e-12)
    low, high = statistics.cluster_interval(jaccard, list(truth))
    assert found["scores"]["square"]["jaccard"]["low"] == pytest.approx(max(low, 0))
    assert found["scores"]["square"]["jaccard"]["high"] == pytest.approx(min(high, 1))
    assert f"{100 * np.mean(jaccard):.2f}" in console.export_text()
    assert f"{100 * np.mean(jaccard):.2f} %" in (output / "evaluation.html").read_text()


def test_a_workdir_is_scored_as_an_ensemble_and_by_default_beside_its_runs(finished, held_out, tmp_path, console):
    work = shutil.copytree(finished, tmp_path / "w")
    given = [f"--run={work}", "--model=unet", *arguments(held_out)]
    evaluate.run(given, console)
    output = work / "evaluation-held_out-unet"
    found = json.loads((output / "scores.json").read_text())
    assert list(found["weights_sha256"]) == ["unet/repeat0-fold0", "unet/repeat0-fold1"]
    assert found["what"]["predicted by"] == "the mean probability of 2 runs of unet"
    assert "Disagreement" not in (output / "evaluation.html").read_text(), "four images are too few"
    assert "disagreement" not in found
    before = {path.name: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    (output / "masks/old.png").touch()
    evaluate.run(given, console)
    assert {path.name: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    evaluate.run([f"--run={work / RUN}", *arguments(held_out)], console)
    assert (work / "evaluation-held_out-sharp_unet-repeat0-fold0/scores.json").exists()


@pytest.mark.filterwarnings("ignore::sharp_unet_jax.errors.ResolutionWarning")
def test_the_rule_of_choice_json_and_the_options_are_applied_and_said(done, held_out, tmp_path, console):
    """They do what they do in launch.predict."""
    rule = chosen.write(done, {"unet": (0.4,), "sharp_unet": (0.45, True, 30)})["models"]["sharp_unet"]["rule"]
    how = [f"--run={done / RUN}", "--flips", "--tile=16,32"]
    evaluate.run([*how, *arguments(held_out)], console)
    output = done / "evaluation-held_out-sharp_unet-repeat0-fold0-flips-tile16x32"
    predict.run([*how, str(held_out / "images"), str(tmp_path / "out")], console)
    expected = masks(tmp_path / "out/masks")
    for name, mask in masks(output / "masks").items():
        np.testing.assert_array_equal(mask, expected[name])
    found = json.loads((output / "scores.json").read_text())
    assert found["rule"] == rule
    assert found["options"] == {"flips": True, "rotations": False, "tile": [16, 32]}
    assert (found["what"]["averaged over"], found["what"]["tiles"]) == ("mirrored images", "16x32 (height x width)")
    words = "above 0.45, holes filled, pieces from 30 pixels on"
    said = f"foreground where the probability is {words} (pixels at the resolution of training)"
    assert found["what"]["decision"].startswith(f"{said}; chosen on inner validation images")
    assert said in (output / "evaluation.html").read_text()
    evaluate.run([how[0], "--plain", *arguments(held_out)], console)
    plain = json.loads((done / "evaluation-held_out-sharp_unet-repeat0-fold0-plain/scores.json").read_text())
    assert plain["rule"] == Rule(0.5)._asdict()
    assert plain["what"]["decision"] == "foreground where the probability is above 0.5"
    assert console.export_text().count(f"\nmasks by the rule of launch.choose: {words}\n") == 1


def test_the_page_says_whether_disagreement_tells_bad_masks(finished, tmp_path, console):
    """The number of an image is that of `launch.predict`, and its correlation with the Jaccard that of ranks."""
    folder, models = write(tmp_path / "many", n=12), "--model=unet,sharp_unet"
    evaluate.run([f"--run={finished}", models, *arguments(folder, output=tmp_path / "e")], console)
    facts = json.loads((tmp_path / "e/scores.json").read_text())
    assert facts["what"]["predicted by"] == "the mean probability of 2 runs of unet and 2 of sharp_unet"
    beside = evaluate._default(argparse.Namespace(run=finished, model="unet, sharp_unet"), [None], "many")
    assert beside == finished / "evaluation-many-unet-sharp_unet"
    (tmp_path / "config.json").touch()  # of a shared model: there is no folds.json
    for shared in (tmp_path, "hf://owner/name"):
        given = argparse.Namespace(run=shared, model="")
        assert evaluate._default(given, [None], "many") == Path("evaluation-many")
    assert predict.run([f"--run={finished}", models, str(folder / "images"), str(tmp_path / "p")], console) == 0
    areas = pd.read_csv(tmp_path / "p/areas.csv").set_index("input")["disagreement"]
    found = rows(tmp_path / "e").xs("square", level="class")
    np.testing.assert_allclose(found["disagreement"], areas, atol=1e-4)
    assert rows(tmp_path / "e").xs("background", level="class")["disagreement"].isna().all()
    rho = found["disagreement"].rank().corr(found["jaccard"].rank())
    assert facts["disagreement"] == {"spearman": pytest.approx(rho), "images": 12}
    assert (
        f"how much the runs disagree on it is {rho:.2f}, n = 12 images" in (tmp_path / "e/evaluation.html").read_text()
    )


def test_masks_of_any_program_have_the_same_figures(finished, held_out, tmp_path, console):
    evaluate.run([f"--run={finished / RUN}", *arguments(held_out, output=tmp_path / "run")], console)
    written = tmp_path / "run/masks"
    white = tmp_path / "white"
    white.mkdir()
    for name, mask in masks(written).items():
        Image.fromarray(mask * np.uint8(255)).save(white / f"{name}_mask.png")
    for number, folder in enumerate((written, white)):
        output = tmp_path / f"out{number}"
        evaluate.run(arguments(held_out, classes="background,square", predictions=folder, output=output), console)
        pd.testing.assert_frame_equal(rows(output), rows(tmp_path / "run"))
        assert not (output / "masks").exists()
        one, other = (json.loads((path / "scores.json").read_text()) for path in (output, tmp_path / "run"))
        assert one["scores"] == other["scores"]


def test_several_classes_and_pixels_that_are_not_scored(tmp_path, console):
    data = write(tmp_path / "data", classes=3, values=(0, 100, 200))
    rng = np.random.default_rng(0)
    (tmp_path / "predicted").mkdir()
    for name, mask in masks(data / "masks").items():
        ignoring = np.where(rng.random(mask.shape) < 0.2, 255, mask).astype(np.uint8)
        Image.fromarray(ignoring).save(data / f"masks/{name}.png")
        guess = np.where(rng.random(mask.shape) < 0.3, 1, mask // 100).astype(np.uint8)
        Image.fromarray(guess).save(tmp_path / f"predicted/{name}.png")
    output = tmp_path / "out"
    options = {"classes": "ground=0,one=100,two=200", "ignore": "255", "predictions": tmp_path / "predicted"}
    evaluate.run(arguments(data, output=output, **options), console)
    table, guesses = rows(output), masks(tmp_path / "predicted")
    for name, mask in masks(data / "masks").items():
        scored = mask != 255
        for label, called in enumerate(("ground", "one", "two")):
            check_overlaps(mask[scored] // 100, guesses[name][scored], table.loc[name, called], label)
        assert table.loc[name, "one"]["pixels"] == scored.sum()
    found = json.loads((output / "scores.json").read_text())["scores"]
    assert list(found) == ["mean of all 3 classes", "mean without ground", "ground", "one", "two"]
    foreground = table["dice"].unstack()[["one", "two"]].mean(axis=1).mean()
    assert found["mean without ground"]["dice"]["mean"] == pytest.approx(foreground)


def test_groups_widen_the_interval_and_have_scores(tmp_path, console):
    """Images of a group are the same, so n images say as much as their groups do."""
    data = write(tmp_path / "data", n=6)
    (tmp_path / "predicted").mkdir()
    names = list(masks(data / "masks"))
    with (tmp_path / "groups.csv").open("w") as file:
        csv.writer(file).writerows([("id", "group"), *((name, f"p{index // 2}") for index, name in enumerate(names))])
    for name, mask in masks(data / "masks").items():
        Image.fromarray(np.roll(mask, names.index(name) // 2, 1)).save(tmp_path / f"predicted/{name}.png")
    means = {}
    for called, more in (("alone", {}), ("grouped", {"groups": tmp_path / "groups.csv"})):
        given = arguments(data, predictions=tmp_path / "predicted", output=tmp_path / called, empty="nan", **more)
        evaluate.run(given, console)
        means[called] = json.loads((tmp_path / called / "scores.json").read_text())
    assert means["alone"]["groups"] == 6
    assert "by_group" not in means["alone"]
    one, other = (means[name]["scores"]["foreground"]["jaccard"] for name in ("alone", "grouped"))
    assert one["mean"] == other["mean"]
    assert one["n"] == other["n"] == 5, "the empty image is left out"
    assert (one["low"], one["high"]) != (other["low"], other["high"])
    table = rows(tmp_path / "grouped").xs("foreground", level="class")
    second = table[table["group"] == "p1"]
    by_group = means["grouped"]["by_group"]["p1"]
    assert by_group["dice"] == pytest.approx(second["dice"].mean())
    total = second[["intersection", "truth", "predicted"]].sum()
    assert by_group["pooled_dice"] == pytest.approx(2 * total.intersection / (total.truth + total.predicted))
    assert "By group" in (tmp_path / "grouped/evaluation.html").read_text()


def test_a_table_names_the_pairs_and_predictions_have_the_names_of_either(held_out, tmp_path, console):
    lines = [("image", "mask", "group")]
    for number, name in enumerate("abcd"):
        (held_out / f"masks/{name}.png").rename(held_out / f"masks/m{number}.png")
        lines.append((f"images/{name}.png", f"masks/m{number}.png", f"p{number // 2}"))
    with (held_out / "table.csv").open("w") as file:
        csv.writer(file).writerows(lines)
    (tmp_path / "by_image").mkdir()
    for number, name in enumerate("abcd"):
        shutil.copy(held_out / f"masks/m{number}.png", tmp_path / f"by_image/{name}.png")
    for folder in (tmp_path / "by_image", held_out / "masks"):
        output = tmp_path / f"out_{folder.name}"
        evaluate.run([f"--table={held_out / 'table.csv'}", f"--predictions={folder}", f"--output={output}"], console)
        table = rows(output).xs("foreground", level="class")
        assert (table["dice"] == 1).all()
        assert table["group"].tolist() == ["p0", "p0", "p1", "p1"]


def test_volumes_are_scored_by_slice_in_mm_and_grouped(tmp_path, console):
    truth = np.zeros((12, 10, 3), np.uint8)
    truth[2:6, 3:8] = 1
    moved = np.roll(truth, 2, axis=1)
    for kind, array in (("images", truth * 9 + 1), ("masks", truth), ("predicted", moved)):
        (tmp_path / kind).mkdir()
        name = "v_0000" if kind == "images" else "v"  # as nnU-Net names them
        volume = nibabel.Nifti1Image(array.astype(np.uint8), np.diag([-0.5, -2.0, 4.0, 1]))
        nibabel.save(volume, tmp_path / kind / f"{name}.nii.gz")
    output = tmp_path / "out"
    evaluate.run(arguments(tmp_path, predictions=tmp_path / "predicted", output=output), console)
    table = rows(output).xs("foreground", level="class")
    assert list(table.index) == ["v-000", "v-001", "v-002"]
    assert set(table["group"]) == {"v"}
    assert set(table["unit"]) == {"mm"}
    assert table["hd95"].tolist() == pytest.approx([2 * 2.0] * 3), "two voxels of 2 mm"
    assert table["dice"].tolist() == pytest.approx([0.6] * 3)


def test_predicted_volumes_lie_in_the_grid_of_a_dicom_series(tmp_path, console):
    """They may be stored in other axes than the truth, and this series is sagittal."""
    truth = np.zeros((6, 6, 6), np.uint8)  # slice from left to right, row from top to bottom, column to the back
    truth[1:3, 2:5, 1:4] = 1
    for k in range(6):
        write_slice(
            tmp_path / f"images/v/{k}.dcm", truth[k], (-2.0 * k, 0, 0), number=k, orientation=(0, 1, 0, 0, 0, -1)
        )
    affine = np.array([[0, 0, 2.0, 0], [-0.8, 0, 0, 0], [0, -0.5, 0, 0], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(truth.transpose(2, 1, 0), affine)
    for folder in ("masks", "predicted"):
        (tmp_path / folder).mkdir()
    nibabel.save(image, tmp_path / "masks/v.nii.gz")
    output, predicted = tmp_path / "out", tmp_path / "predicted/v.nii.gz"
    given = arguments(tmp_path, predictions=tmp_path / "predicted", output=output)
    nibabel.save(nibabel.as_closest_canonical(image), predicted)
    evaluate.run(given, console)
    table = rows(output).xs("foreground", level="class")
    assert (table["dice"] == 1).all()
    nibabel.save(nibabel.Nifti1Image(truth.transpose(2, 1, 0), np.diag([0.8, 0.5, 2.0, 1])), predicted)
    refused(given, r"v\.nii\.gz: lies [\d.]+ mm from 0\.dcm, by their affines", console)


def test_masks_are_read_as_the_run_was_trained_on_them(held_out, tmp_path, console, monkeypatch):
    """A run of the builder "folder" says what masks hold; so the test set needs no settings."""
    shrink_models(monkeypatch)
    data = dataclasses.replace(CONFIG.data, builder="folder", classes=("ground=255", "square=0"), images="x")
    config = dataclasses.replace(CONFIG, data=data, models=("unet",), epochs=1)
    make(tmp_path / "w", dataclasses.replace(squares(), classes=("ground", "square")), config)
    evaluate.run([f"--run={tmp_path / 'w'}", *arguments(held_out)], console)
    table = rows(tmp_path / "w/evaluation-held_out")
    assert table.loc["a", "square"]["truth"] == 24 * 40, "black is the square"


def test_what_a_run_was_not_told_of_pages_may_be_said():
    """A run on a folder of the Decathlon has channels that its dataset.json named."""
    given = {"images": "x", "pages": "channels"}
    for pages in ("", "slices"):
        run = SimpleNamespace(config=Config(data=Data(builder="folder", pages=pages)), classes=("ground", "square"))
        if pages:
            with pytest.raises(InputError, match="--pages: images are read as the run was trained on them"):
                truth.settings_of(given, run)
        else:
            assert (read := truth.settings_of(given, run)).pages == "channels"
            assert truth.reading_as(read, fresh_run()).config.data.pages == "channels", "the images are read so, too"
    with pytest.raises(InputError, match="--axis: images are read as the run was trained on them"):
        truth.settings_of({"images": "x", "axis": "coronal"}, run)


def test_images_are_read_by_pages_as_the_test_set_is(finished, held_out, tmp_path, console):
    given = [f"--run={finished / RUN}"]
    evaluate.run([*given, *arguments(held_out, output=tmp_path / "png")], console)
    (paged := tmp_path / "paged").mkdir()
    for path in (held_out / "images").iterdir():
        pages = np.moveaxis(np.asarray(Image.open(path)), -1, 0)
        tifffile.imwrite(paged / f"{path.stem}.tif", pages, photometric="minisblack", metadata=None)
    evaluate.run([*given, *arguments(held_out, images=paged, pages="channels", output=tmp_path / "tif")], console)
    pd.testing.assert_frame_equal(rows(tmp_path / "png"), rows(tmp_path / "tif"))


@pytest.mark.slow
def test_a_run_on_crops_is_scored_on_whole_images_of_all_sizes(tmp_path, console):
    crop_runs.make(tmp_path / "w", crop_runs.examples(classes=3), classes=3, folds=2)
    for one in crop_runs.examples(5, classes=3):
        for kind, array in (("images", one["image"]), ("masks", one["mask"][..., 0])):
            (tmp_path / "test" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "test" / kind / f"{one['id']}.png")
    output = tmp_path / "out"
    evaluate.run([f"--run={tmp_path / 'w'}", *arguments(tmp_path / "test", output=output)], console)
    truth, predicted, table = masks(tmp_path / "test/masks"), masks(output / "masks"), rows(output)
    assert [mask.shape for mask in predicted.values()] == list(crop_runs.SIZES)
    for name, mask in truth.items():
        for label, called in enumerate(("background", "square", "other")):
            check_overlaps(mask.ravel(), predicted[name].ravel(), table.loc[name, called], label)
    assert "crops of 16x24" in (output / "evaluation.html").read_text()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "give one of --run=WORKDIR_OR_RUN, to predict, and --predictions=FOLDER"),
        (["--run=x", "--predictions=y"], "give one of --run"),
        (["--run=x", "--empty=one"], "--empty: a run has a rule of its own"),
        (["--predictions=y", "--model=unet"], "--model: is for --run"),
        (["--predictions=y", "--flips"], "--flips: is for --run"),
        (["--predictions=y", "--tile=9,9"], "--tile: is for --run"),
        (["--predictions=y", "--plain"], "--plain: is for --run"),
        (["--run=x", "--tile=9"], "--tile=9: give a height and a width in pixels"),
        (["--predictions=y"], "--images: name the folder of the images"),
        (["--predictions=y", "--images=z", "--labels=all"], "--labels=all: expected one of classes, any"),
    ],
)
def test_options_that_are_wrong(given, message, console):
    with pytest.raises(InputError, match=re.escape(message)):
        evaluate.run(given, console)


def refused(given, message, console, error=DataError):
    with pytest.raises(error, match=message) as found:
        evaluate.run(given, console)
    assert "\n" not in str(found.value)
    assert "data." not in str(found.value)


def test_files_that_do_not_pair(held_out, tmp_path, console):
    predicted = shutil.copytree(held_out / "masks", tmp_path / "predicted")
    given = arguments(held_out, predictions=predicted, output=tmp_path / "out")
    (predicted / "b.png").rename(predicted / "x.png")
    refused(given, r"predicted: holds no predicted mask for b.png; add what is missing", console)
    shutil.copy(predicted / "x.png", predicted / "b.png")
    refused(given, r"predicted: x.png belong to no image of the test set", console)
    (held_out / "masks/b.png").unlink()
    refused(given, r"no mask in .*/masks for b.png.*or name the pairs in --table", console)
    for name in "acd":
        (held_out / f"masks/{name}.png").rename(held_out / f"masks/{name}.roi.png")
    refused(given, r"--mask_suffix=.roi", console)
    assert not (tmp_path / "out").exists()


def test_sizes_that_differ(held_out, tmp_path, console):
    predicted = shutil.copytree(held_out / "masks", tmp_path / "predicted")
    given = arguments(held_out, predictions=predicted, output=tmp_path / "out")
    Image.fromarray(np.zeros((24, 41), np.uint8)).save(predicted / "c.png")
    refused(given, r"predicted/c.png has 41x24 predicted pixels but .*masks/c.png is 40x24", console)
    Image.fromarray(np.zeros((23, 40), np.uint8)).save(held_out / "masks/c.png")
    refused(given, r"c.png is 40x24 but its mask c.png is 40x23", console)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "nothing half written is left"


def test_classes_that_differ(finished, held_out, tmp_path, console):
    given = [f"--run={finished / RUN}", *arguments(held_out, classes="background,disc", output=tmp_path / "out")]
    message = (
        "the classes of the test set are background, disc, and those of the run background, square: name the "
        "run's, in its order, with --classes=background,square"
    )
    refused(given, message, console)
    predicted = shutil.copytree(held_out / "masks", tmp_path / "predicted")
    Image.fromarray(np.full((24, 40), 30, np.uint8)).save(predicted / "c.png")
    given = arguments(held_out, predictions=predicted, output=tmp_path / "out")
    message = r"c.png: holds 30, which are not the classes of the test set: .* or as 0 background, 1 foreground"
    refused(given, message, console)


def test_predicted_values_that_could_be_both(tmp_path, console):
    data = write(tmp_path / "data", classes=3, values=(0, 2, 1))
    predicted = tmp_path / "predicted"
    predicted.mkdir()
    for name, mask in masks(data / "masks").items():
        Image.fromarray(mask).save(predicted / f"{name}.png")
    options = {"classes": "ground=0,one=2,two=1", "predictions": predicted, "output": tmp_path / "out"}
    refused(arguments(data, **options), "hold 0, 1, 2, which may be values of the true masks, or 0 ground", console)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_palette_that_begins_with_white_is_no_list_of_classes(held_out, tmp_path, console, suffix):
    """Programs that reduce colours put any colour first: only the colours say what is foreground."""
    predicted = tmp_path / "predicted"
    predicted.mkdir()
    for name, mask in masks(held_out / "masks").items():
        image = Image.fromarray((mask == 0).astype(np.uint8))
        image.putpalette([255, 255, 255, 0, 0, 0])
        image.save(predicted / f"{name}{suffix}")
    evaluate.run(arguments(held_out, predictions=predicted, output=tmp_path / "out"), console)
    assert (rows(tmp_path / "out")["jaccard"] == 1).all()


def test_a_folder_of_others_is_not_replaced(held_out, tmp_path, console):
    given = arguments(held_out, predictions=held_out / "masks")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    message = "mine holds thesis.txt, not written by this command: name another folder as --output"
    refused([*given, f"--output={tmp_path / 'mine'}"], message, console, InputError)
    message = "held_out/images lies in .*held_out, which this command replaces"
    refused([*given, f"--output={held_out}"], message, console, InputError)
    assert (held_out / "masks/a.png").exists()


def test_nothing_is_written_after_ctrl_c(finished, held_out, tmp_path, console, monkeypatch):
    output = tmp_path / "out"
    given = [f"--run={finished / RUN}", *arguments(held_out, output=output)]
    evaluate.run(given, console)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluated, "per_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(given, console)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_image_that_the_run_cannot_read_is_named(finished, held_out, tmp_path, console, monkeypatch):
    def fail(*_, **__):
        raise InputError("of another kind")

    monkeypatch.setattr(pipeline, "as_trained", fail)
    given = [f"--run={finished / RUN}", *arguments(held_out, output=tmp_path / "out")]
    refused(given, r"images/a.png: of another kind", console, InputError)


def test_scores_of_other_files_are_not_replaced_unasked(held_out, tmp_path, console, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(held_out / "masks", tmp_path / "others")
    given = [f"--images={held_out / 'images'}", f"--masks={held_out / 'masks'}"]
    first = [f"--predictions={held_out / 'masks'}", *given]
    evaluate.run(first, console)
    evaluate.run(first, console)  # the same command replaces them
    before = (tmp_path / "evaluation" / "scores.json").read_bytes()
    with pytest.raises(InputError, match=r"evaluation holds the scores of .*masks: name another"):
        evaluate.run(["--predictions=others", *given], console)
    assert (tmp_path / "evaluation" / "scores.json").read_bytes() == before
    evaluate.run(["--predictions=others", *given, "--output=evaluation"], console)  # it was asked for
