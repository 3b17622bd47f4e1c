"""Runs read back: they predict what they predicted in their sweep, and damage is refused in one line."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import sharp_unet_jax
from sharp_unet_jax import cleaning, decision
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import trained
from sharp_unet_jax.report import records
from sharp_unet_jax.sweeps import workdir
from tests import chosen
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


RULES = {"unet": (0.4, True, 9), "sharp_unet": (0.45, False, 12)}
FOLDS = {"repeat0-fold1": Rule(0.3, largest=True)}


def test_masks_follow_the_threshold_of_the_config_where_nothing_was_chosen(finished, dataset):
    run = trained.load(finished / RUN)
    assert (run.rule, run.chosen) == (Rule(0.5), None)
    expected = [decision.labels(each, 0.5) for each in run.predict(dataset.images)]
    np.testing.assert_array_equal(run.masks(dataset.images), expected)


def test_the_rule_of_choice_json_is_applied_to_a_run_and_to_the_mean_of_all(done, dataset):
    chosen.write(done, RULES, by_fold=FOLDS)
    assert trained.load(done / RUN).rule == Rule(0.3, largest=True)
    assert trained.load(done / "runs/sharp_unet/repeat0-fold0").rule == Rule(*RULES["sharp_unet"])
    for model, rule in RULES.items():
        assert [run.rule for run in trained.load_all(done, model)] == [Rule(*rule)] * 2
    (one,) = trained.load_all(done / RUN)
    assert one.rule == Rule(0.3, largest=True)
    probabilities = one.predict(dataset.images)
    expected = [cleaning.clean(decision.labels(each, 0.3), Rule(0.3, largest=True)) for each in probabilities]
    np.testing.assert_array_equal(one.masks(dataset.images), expected)


def test_plain_runs_do_not_even_read_choice_json(done):
    (done / "choice.json").write_text("{")
    for runs in ([trained.load(done / RUN, plain=True)], trained.load_all(done, "unet", plain=True)):
        assert {run.rule for run in runs} == {Rule(0.5)}
    for function, where in ((trained.load, done / RUN), (trained.load_all, done / RUN)):
        with pytest.raises(InputError, match=r"choice\.json is damaged \(.*--plain"):
            function(where)


def test_a_choice_of_other_weights_is_refused(done):
    written = chosen.write(done, RULES)
    written["weights_sha256"]["unet/repeat0-fold0"] = "0" * 64
    (done / "choice.json").write_text(json.dumps(written))
    for attempt in (lambda: trained.load(done / RUN), lambda: trained.load_all(done, "sharp_unet")):
        with pytest.raises(InputError, match=r"chosen with other weights of unet/repeat0-fold0: .*--plain") as error:
            attempt()
        assert "\n" not in str(error.value)


def test_a_choice_without_the_run_is_refused(done):
    shutil.move(done / "runs/unet/repeat0-fold1", done / "away")
    chosen.write(done, RULES)
    shutil.move(done / "away", done / "runs/unet/repeat0-fold1")
    assert len(trained.load_all(done, "sharp_unet")) == 2
    for attempt in (lambda: trained.load(done / "runs/unet/repeat0-fold1"), lambda: trained.load_all(done, "unet")):
        with pytest.raises(InputError, match=r"was chosen without unet/repeat0-fold1: .*--plain"):
            attempt()


def test_the_ensemble_of_choice_json_has_its_rule(done):
    with pytest.raises(InputError, match=r"choice\.json is missing: give launch\.choose, or name a network"):
        trained.load_all(done, "chosen")
    chosen.write(done, RULES)
    with pytest.raises(InputError, match="has no ensemble: choose one of unet, sharp_unet as the model"):
        trained.load_all(done, "chosen")
    chosen.write(done, RULES, (["sharp_unet", "unet"], (0.35, True)))
    runs = trained.load_all(done, "chosen")
    assert sorted(run.name for run in runs) == [
        f"{model}/repeat0-fold{fold}" for model in ("sharp_unet", "unet") for fold in (0, 1)
    ]
    assert {run.rule for run in runs} == {Rule(0.35, True)}
    with pytest.raises(InputError, match=r"is the ensemble of choice\.json, which is left out: name a network"):
        trained.load_all(done, "chosen", plain=True)
    chosen.write(done, RULES, (["unet"], (0.35, True)))
    assert [(run.model, run.rule) for run in trained.load_all(done, "chosen")] == [("unet", Rule(0.35, True))] * 2
    assert {run.rule for run in trained.load_all(done, "unet")} == {Rule(*RULES["unet"])}


@pytest.mark.parametrize(
    ("data", "own", "spacing", "pixels"),
    [
        ({}, (32, 72), None, 2 * 3),
        ({"fit": "letterbox"}, (32, 72), None, 3 * 3),
        ({"fit": "crop"}, (40, 30), None, 1),
        ({"fit": "crop", "scale": 0.5}, (40, 30), None, 4),
        ({"fit": "crop", "spacing": 2.0}, (40, 30), (1.0, 2.0), 2),
    ],
)
def test_the_smallest_piece_is_one_at_the_resolution_of_training(finished, data, own, spacing, pixels):
    run = trained.load(finished / RUN)
    config = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, **data))
    probabilities = np.zeros((*own, 1), np.float32)
    probabilities[2:4, 2:11] = 0.9  # 18 pixels
    for smallest, kept in ((18 / pixels, 18), (18 / pixels + 1, 0)):
        rule = Rule(0.5, smallest=int(smallest))
        labels = dataclasses.replace(run, config=config, chosen=rule).decide(probabilities, spacing)
        assert (labels.sum(), labels.dtype) == (kept, np.uint8)
