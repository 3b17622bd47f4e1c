"""choice.json: what is damaged, of other types or of other runs is one line that says what to do."""

import json

import pytest

from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import choice
from sharp_unet_jax.storage.layout import Run
from tests.chosen import chosen

DIGESTS = {f"{model}/repeat0-fold{fold}": f"{model}{fold}" for model in ("unet", "sharp_unet") for fold in (0, 1)}
CELLS = ("repeat0-fold0", "repeat0-fold1")
RULE = Rule(0.45, True, 30, False)
OTHER = Rule(0.6)


@pytest.fixture
def workdir(tmp_path):
    """Return a workdir with a choice for two networks and for their mean."""
    content = {
        "weights_sha256": DIGESTS,
        "models": {
            "unet": chosen(RULE, ["unet"], CELLS, {"repeat0-fold1": OTHER}),
            "sharp_unet": chosen(OTHER, ["sharp_unet"], CELLS),
        },
        "ensemble": chosen(Rule(0.5, largest=True), ["unet", "sharp_unet"], CELLS),
    }
    (tmp_path / "choice.json").write_text(json.dumps(content))
    return tmp_path


def change(workdir, edit):
    content = json.loads((workdir / "choice.json").read_text())
    edit(content)
    (workdir / "choice.json").write_text(json.dumps(content))


def test_rules_come_back(workdir):
    found = choice.read(workdir, DIGESTS.get)
    assert choice.rule(choice.of_networks(found, ["unet"])["rule"]) == RULE
    assert choice.rule(choice.of_networks(found, ["sharp_unet", "unet"])["rule"]) == Rule(0.5, largest=True)
    assert choice.of_networks(found, ["unet", "sharp_unet", "kiunet"]) is None
    rules = [choice.rule(choice.of_run(found, Run(0, fold, "unet"), workdir)["rule"]) for fold in (0, 1)]
    assert rules == [RULE, OTHER]
    assert choice.ensemble(found, workdir)["networks"] == ["unet", "sharp_unet"]


def test_a_workdir_without_the_file_has_no_choice(tmp_path):
    assert choice.read(tmp_path, DIGESTS.get) is None
    with pytest.raises(InputError, match=r"choice\.json is missing: give launch\.choose, or name a network"):
        choice.ensemble(None, tmp_path)


def refused(message, function, *arguments):
    with pytest.raises(InputError, match=message) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"{}", b"\xff", b'{"weights_sha256": {}, "models": {}}'])
def test_a_damaged_file_is_named(workdir, text):
    (workdir / "choice.json").write_bytes(text)
    said = refused(r"choice\.json is damaged \(.*\): give launch\.choose again", choice.read, workdir, DIGESTS.get)
    assert "--plain" in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", "high"),
        ("threshold", 1.5),
        ("fill", 1),
        ("smallest", -1),
        ("smallest", 2.5),
        ("largest", None),
    ],
)
def test_a_rule_of_other_types_is_named(workdir, field, value):
    change(workdir, lambda content: content["models"]["unet"]["rule"].update({field: value}))
    refused(rf"choice\.json is damaged \(.*{field}", choice.read, workdir, DIGESTS.get)


@pytest.mark.parametrize("networks", [[], ["../unet"], "unet"])
def test_networks_of_other_types_are_named(workdir, networks):
    change(workdir, lambda content: content["ensemble"].update(networks=networks))
    refused(r"choice\.json is damaged \(.*networks", choice.read, workdir, DIGESTS.get)


@pytest.mark.parametrize("now", [DIGESTS | {"unet/repeat0-fold1": "other"}, {"unet/repeat0-fold0": "unet0"}])
def test_runs_that_were_trained_again_or_are_of_another_workdir_are_refused(workdir, now):
    said = refused(r"choice\.json was chosen with other weights of \w+/repeat0-fold1", choice.read, workdir, now.get)
    assert "give launch.choose again, or delete the file; commands that make masks leave it out with --plain" in said


def test_a_run_that_came_later_is_refused(workdir):
    found = choice.read(workdir, DIGESTS.get)
    for run in (Run(1, 0, "unet"), Run(0, 0, "kiunet")):
        refused(rf"was chosen without {run.name}: .*--plain", choice.of_run, found, run, workdir)
        refused(rf"was chosen without {run.name}: .*--plain", choice.check_runs, found, [run], workdir)
    del found["models"]["unet"]["folds"]["repeat0-fold1"]
    refused("was chosen without unet/repeat0-fold1", choice.of_run, found, Run(0, 1, "unet"), workdir)


def test_a_choice_for_single_networks_has_no_ensemble(workdir):
    change(workdir, lambda content: content.update(ensemble=None))
    found = choice.read(workdir, DIGESTS.get)
    refused(r"has no ensemble: choose one of unet, sharp_unet as the model", choice.ensemble, found, workdir)
    assert choice.of_networks(found, ["unet", "sharp_unet"]) is None
