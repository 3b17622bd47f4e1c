"""Runs read back: they predict what they predicted in their sweep, and damage is refused in one line."""

import dataclasses
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import sharp_unet_jax
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import trained
from sharp_unet_jax.report import records
from sharp_unet_jax.sweeps import workdir
from tests.conftest import shrink_models, squares
from tests.edits import edit_record
from tests.tiny_sweep import CONFIG, make

pytestmark = pytest.mark.usefixtures("tiny_models")

RUN = "runs/sharp_unet/repeat0-fold1"


def images_and_predictions(folder, name, dataset):
    """Return the test images of a run, and its saved predictions."""
    sweep = records.load(folder)
    return dataset.images[[dataset.ids.index(image) for image in sweep.test_ids(name)]], sweep.predictions(name)


def test_a_run_predicts_what_it_saved(finished, dataset):
    run = sharp_unet_jax.load(finished / RUN)
    images, expected = images_and_predictions(finished, run.name, dataset)
    probabilities = run.probabilities(images)
    assert (probabilities.shape, probabilities.dtype) == ((6, 16, 24, 1), np.float32)
    np.testing.assert_array_equal(np.round(255 * probabilities).astype(np.uint8), expected)
    np.testing.assert_allclose(1 / (1 + np.exp(-run.logits(images))), probabilities, rtol=1e-5)
    np.testing.assert_allclose(run.network(images / np.float32(255)), run.logits(images), rtol=1e-4, atol=1e-5)
    jitted = jax.jit(lambda weights, images: run.apply(weights, images[None])[0])
    np.testing.assert_allclose(jitted(run.weights, images[0]), run.logits(images)[0], rtol=1e-4, atol=1e-5)


def test_a_run_has_its_names_classes_and_config(finished):
    run = trained.load(finished / RUN)
    assert (run.name, run.model, run.dataset) == ("sharp_unet/repeat0-fold1", "sharp_unet", "squares")
    assert (run.classes, run.channels, run.num_classes) == (("background", "square"), 3, 1)
    assert run.config == CONFIG


def test_running_statistics_channels_and_classes_come_back(tmp_path, normed):
    dataset = squares(classes=3, channels=1)
    make(tmp_path / "w", dataset, dataclasses.replace(CONFIG, models=(normed,), skip_kernel="learnable", max_runs=1))
    run = trained.load(tmp_path / f"w/runs/{normed}/repeat0-fold0")
    images, expected = images_and_predictions(tmp_path / "w", run.name, dataset)
    assert (run.channels, run.num_classes) == (1, 3)
    assert np.abs(run.weights["stats"]["encoder"]["bn1"]["mean"]).max() > 1e-3
    np.testing.assert_array_equal(np.round(255 * run.probabilities(images)).astype(np.uint8), expected)


def test_what_predicts_is_said_in_words():
    runs = [SimpleNamespace(name=f"{model}/a", model=model) for model in ("u", "s", "u", "s", "s", "t")]
    assert trained.described(runs[:1]) == "u/a"
    assert trained.described(runs[:3:2]) == "2 runs of u"
    assert trained.described(runs[:3]) == "2 runs of u and 1 of s"
    assert trained.described(runs[1:4]) == "2 runs of s and 1 of u"
    assert trained.described(runs[-2:]) == "1 run of s and 1 of t"
    assert trained.described(runs) == "2 runs of u, 3 of s and 1 of t"


def other_digest(run):
    edit_record(run / "record.json", weights_sha256="0" * 64)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (shutil.rmtree, "is no run: name a folder such as"),
        (lambda run: (run / "record.json").unlink(), "is not finished"),
        (lambda run: (run / "record.json").write_text("{"), "sharp_unet/repeat0-fold1/record.json is damaged"),
        (lambda run: shutil.rmtree(run / "checkpoint"), "checkpoint is damaged"),
        (other_digest, r"checkpoint is damaged \(its bytes are not those recorded\)"),
        (lambda run: (run.parents[2] / "config.json").unlink(), "holds no sweep: there is no config.json"),
        (lambda run: (run.parents[2] / "folds.json").unlink(), "holds no sweep: there is no folds.json"),
    ],
)
def test_a_run_that_is_not_whole_is_refused(done, harm, message):
    harm(done / RUN)
    with pytest.raises(InputError, match=message) as caught:
        trained.load(done / RUN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["w", "w/runs", "w/runs/sharp_unet", "w/runs/sharp_unet/repeat0-fold1/checkpoint"])
def test_a_folder_beside_a_run_is_refused(finished, name):
    with pytest.raises(InputError, match="is no run"):
        trained.load(finished.parent / name)


@pytest.mark.parametrize(
    ("widths", "message"),
    [((2, 4, 8), r"has no params\."), ((4, 12), r"is \(.*\), this version's is")],
)
def test_another_network_by_the_same_name_is_refused(finished, monkeypatch, widths, message):
    shrink_models(monkeypatch, widths)
    with pytest.raises(InputError, match="is of another version of this project: .*" + message):
        trained.load(finished / RUN)


def test_a_model_of_a_later_version_is_refused(done):
    config = dataclasses.asdict(dataclasses.replace(CONFIG, models=("later_unet",)))
    workdir.write_json(done / "config.json", config)
    run = shutil.copytree(done / RUN, done / "runs/later_unet/repeat0-fold1")
    edit_record(run / "record.json", model="later_unet", run="later_unet/repeat0-fold1")
    with pytest.raises(InputError, match="no model 'later_unet'"):
        trained.load(done / "runs/later_unet/repeat0-fold1")


def test_the_runs_of_one_model_or_of_several_are_chosen(finished, tmp_path):
    for wrong, message in (
        ("", "runs of 2 models: choose one of unet, sharp_unet as the model, or several with commas between them"),
        (" ,", "runs of 2 models"),
        ("ternausnet16", "no finished run of ternausnet16: choose one of unet"),
        ("unet,ternausnet16", "no finished run of ternausnet16: choose one of unet"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            trained.load_all(finished, wrong)
        assert "\n" not in str(caught.value)
    assert [run.model for run in trained.load_all(finished, " sharp_unet,sharp_unet")] == ["sharp_unet"] * 2
    with pytest.raises(InputError, match="is a run of unet, not of unet,sharp_unet"):
        trained.load_all(finished / "runs/unet/repeat0-fold0", "unet,sharp_unet")
    assert trained.load_all(finished / "runs/unet/repeat0-fold0", "unet")[0].model == "unet"
    with pytest.raises(InputError, match="is a run of unet, not of sharp_unet"):
        trained.load_all(finished / "runs/unet/repeat0-fold0", "sharp_unet")
    with pytest.raises(InputError, match="is no run"):
        trained.load_all(tmp_path)
