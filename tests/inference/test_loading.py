"""Runs read back, one or several: damage is refused in one line, and masks follow what was chosen for them."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import sharp_unet_jax
from launch.console.runs import to_explain
from sharp_unet_jax import cleaning, decision
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import loading, predict
from sharp_unet_jax.sweeps import pack, workdir
from tests import chosen
from tests.conftest import shrink_models, squares
from tests.edits import edit_record
from tests.tiny_sweep import CONFIG

pytestmark = pytest.mark.usefixtures("tiny_models")

RUN = "runs/sharp_unet/repeat0-fold1"


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
        loading.load(done / RUN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["w/runs", "w/runs/sharp_unet", "w/runs/sharp_unet/repeat0-fold1/checkpoint"])
def test_a_folder_beside_a_run_is_refused(finished, name):
    with pytest.raises(InputError, match="is no run"):
        loading.load(finished.parent / name)


@pytest.mark.parametrize(
    ("widths", "message"),
    [((2, 4, 8), r"has no params\."), ((4, 12), r"is \(.*\), this version's is")],
)
def test_another_network_by_the_same_name_is_refused(finished, monkeypatch, widths, message):
    shrink_models(monkeypatch, widths)
    with pytest.raises(InputError, match="is of another version of this project: .*" + message):
        loading.load(finished / RUN)


def test_a_model_of_a_later_version_is_refused(done):
    config = dataclasses.asdict(dataclasses.replace(CONFIG, models=("later_unet",)))
    workdir.write_json(done / "config.json", config)
    run = shutil.copytree(done / RUN, done / "runs/later_unet/repeat0-fold1")
    edit_record(run / "record.json", model="later_unet", run="later_unet/repeat0-fold1")
    with pytest.raises(InputError, match="no model 'later_unet'"):
        loading.load(done / "runs/later_unet/repeat0-fold1")


def test_the_runs_of_one_model_or_of_several_are_chosen(finished, tmp_path):
    for wrong, message in (
        ("", "runs of 2 models: choose one of unet, sharp_unet as the model, or several with commas between them"),
        (" ,", "runs of 2 models"),
        ("ternausnet16", "no finished run of ternausnet16: choose one of unet"),
        ("unet,ternausnet16", "no finished run of ternausnet16: choose one of unet"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            loading.load_all(finished, wrong)
        assert "\n" not in str(caught.value)
    assert [run.model for run in loading.load_all(finished, " sharp_unet,sharp_unet")] == ["sharp_unet"] * 2
    with pytest.raises(InputError, match="is a run of unet, not of unet,sharp_unet"):
        loading.load_all(finished / "runs/unet/repeat0-fold0", "unet,sharp_unet")
    assert loading.load_all(finished / "runs/unet/repeat0-fold0", "unet")[0].model == "unet"
    with pytest.raises(InputError, match="is a run of unet, not of sharp_unet"):
        loading.load_all(finished / "runs/unet/repeat0-fold0", "sharp_unet")
    with pytest.raises(InputError, match="is no run"):
        loading.load_all(tmp_path)


def test_a_workdir_is_the_mean_of_its_runs(finished):
    both = sharp_unet_jax.load(finished, "unet")
    assert [run.name for run in both.runs] == ["unet/repeat0-fold0", "unet/repeat0-fold1"]
    images = squares().images[:3]
    each = [run.predict(images) for run in both.runs]
    np.testing.assert_allclose(both.predict(images), np.mean(each, axis=0), atol=1e-6)
    np.testing.assert_equal(both.predict(images), list(predict.predict(both.runs, images)))
    expected = [probabilities[..., 0] > 0.5 for probabilities in both.predict(images)]
    np.testing.assert_array_equal(both.masks(images), expected)
    assert (both.classes, both.config) == (both.runs[0].classes, both.runs[0].config)


def test_it_is_five_lines_that_claim_no_score_of_the_mean(finished):
    both = sharp_unet_jax.load(finished, "unet,sharp_unet")
    network, _, named, scores, masks = repr(both).splitlines()
    parameters = sum(run.record["parameters"] for run in both.runs)
    assert network == f"mean of 2 runs of unet and 2 of sharp_unet, {parameters:,} parameters"
    assert (named, masks) == ("  classes: background, square", "  masks: above 0.5")
    mean = 100 * np.mean([run.record["jaccard"] for run in both.runs])
    assert scores.startswith(f"  scores: Jaccard {mean:.1f} %, Dice ")
    assert scores.endswith(": means over the runs, each on its own test images")
    assert both._repr_html_() == f"<pre>{both!r}</pre>"


RULES = {"unet": (0.4, True, 9), "sharp_unet": (0.45, False, 12)}
FOLDS = {"repeat0-fold1": Rule(0.3, largest=True)}


def test_the_rule_of_choice_json_is_applied_to_a_run_and_to_the_mean_of_all(done, dataset):
    chosen.write(done, RULES, by_fold=FOLDS)
    assert loading.load(done / RUN).rule == Rule(0.3, largest=True)
    assert loading.load(done / "runs/sharp_unet/repeat0-fold0").rule == Rule(*RULES["sharp_unet"])
    for model, rule in RULES.items():
        assert [run.rule for run in loading.load_all(done, model)] == [Rule(*rule)] * 2
    (one,) = loading.load_all(done / RUN)
    assert one.rule == Rule(0.3, largest=True)
    probabilities = one.predict(dataset.images)
    expected = [cleaning.clean(decision.labels(each, 0.3), Rule(0.3, largest=True)) for each in probabilities]
    np.testing.assert_array_equal(one.masks(dataset.images), expected)


def test_plain_runs_do_not_even_read_choice_json(done):
    (done / "choice.json").write_text("{")
    for runs in ([loading.load(done / RUN, plain=True)], loading.load_all(done, "unet", plain=True)):
        assert {run.rule for run in runs} == {Rule(0.5)}
    for function, where in ((loading.load, done / RUN), (loading.load_all, done / RUN)):
        with pytest.raises(InputError, match=r"choice\.json is damaged \(.*--plain"):
            function(where)


def test_a_choice_of_other_weights_is_refused(done):
    written = chosen.write(done, RULES)
    written["weights_sha256"]["unet/repeat0-fold0"] = "0" * 64
    (done / "choice.json").write_text(json.dumps(written))
    for attempt in (lambda: loading.load(done / RUN), lambda: loading.load_all(done, "sharp_unet")):
        with pytest.raises(InputError, match=r"chosen with other weights of unet/repeat0-fold0: .*--plain") as error:
            attempt()
        assert "\n" not in str(error.value)


def test_a_choice_without_the_run_is_refused(done):
    shutil.move(done / "runs/unet/repeat0-fold1", done / "away")
    chosen.write(done, RULES)
    shutil.move(done / "away", done / "runs/unet/repeat0-fold1")
    assert len(loading.load_all(done, "sharp_unet")) == 2
    for attempt in (lambda: loading.load(done / "runs/unet/repeat0-fold1"), lambda: loading.load_all(done, "unet")):
        with pytest.raises(InputError, match=r"was chosen without unet/repeat0-fold1: .*--plain"):
            attempt()


def test_the_ensemble_of_choice_json_has_its_rule(done):
    with pytest.raises(InputError, match=r"choice\.json is missing: give launch\.choose, or name a network"):
        loading.load_all(done, "chosen")
    chosen.write(done, RULES)
    with pytest.raises(InputError, match="has no ensemble: choose one of unet, sharp_unet as the model"):
        loading.load_all(done, "chosen")
    chosen.write(done, RULES, (["sharp_unet", "unet"], (0.35, True)))
    runs = loading.load_all(done, "chosen")
    assert sorted(run.name for run in runs) == [
        f"{model}/repeat0-fold{fold}" for model in ("sharp_unet", "unet") for fold in (0, 1)
    ]
    assert {run.rule for run in runs} == {Rule(0.35, True)}
    with pytest.raises(InputError, match=r"is the ensemble of choice\.json, which is left out: name a network"):
        loading.load_all(done, "chosen", plain=True)
    chosen.write(done, RULES, (["unet"], (0.35, True)))
    assert [(run.model, run.rule) for run in loading.load_all(done, "chosen")] == [("unet", Rule(0.35, True))] * 2
    assert {run.rule for run in loading.load_all(done, "unet")} == {Rule(*RULES["unet"])}


def test_packed_results_have_no_weights(done, tmp_path):
    (done / "tables.md").touch()
    pack.pack(tmp_path / "packed", done)
    with pytest.raises(InputError, match=r"packed holds packed results, without images and weights: name the sweep's"):
        sharp_unet_jax.load(tmp_path / "packed", "unet")
    with pytest.raises(InputError, match="packed results, without images and weights"):
        to_explain(tmp_path / "packed", (), "003")
