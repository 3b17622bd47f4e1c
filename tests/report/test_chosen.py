"""The table of what was decided after training: the figures of choice.json."""

import json

import pytest

from sharp_unet_jax.errors import InputError, StaleWarning
from sharp_unet_jax.report import chosen, records
from tests.edits import edit_record
from tests.report import choice_writer, sweep_writer
from tests.report.choice_writer import RULE, gain, one
from tests.report.sweep_writer import scores


def written(folder, ensemble=choice_writer.BOTH, classes=2):
    sweep_writer.write(folder, {"unet": scores(0.8), "sharp_unet": scores(0.7)}, protocol="nested", classes=classes)
    names = {}
    for path in folder.glob("runs/*/*/record.json"):
        edit_record(path, weights_sha256=str(path))
        names[json.loads(path.read_text())["run"]] = str(path)
    choice_writer.write(folder, names, ensemble)
    return records.load(folder)


def test_the_figures_are_those_of_the_file(tmp_path):
    table = chosen.table(written(tmp_path))
    rows = table.frame.to_numpy().tolist()
    assert rows == [
        ["unet", "above 0.35, holes filled, pieces from 16 pixels on", "81.23", "+1.42", "0.10 to 2.74", "80.00",
         "-0.20", "-1.01 to 0.61", "8 and 20", 10],
        ["sharp_unet", "unchanged: above 0.5", "70.00", "+0.00", "-", "-", "-", "-", "8 and 20", 10],
        ["mean of unet, sharp_unet", "unchanged: above 0.5", "83.00", "+2.00", "1.00 to 3.00", "82.00", "+1.00", "-",
         "8 and 20", 2],
    ]  # fmt: skip
    assert "Read the gain on test images" in table.note
    assert "finished runs" not in table.note


def test_several_classes_have_no_threshold(tmp_path):
    frame = chosen.table(
        written(tmp_path, ensemble=one(["unet"], RULE, *[gain(0.8, 0.0, 0.0, 0.0)] * 2), classes=3)
    ).frame
    assert frame["networks"].tolist() == ["unet", "sharp_unet", "best network, unet"]
    assert frame["rule"][0] == "most probable class, holes filled, pieces from 16 pixels on"


def test_without_a_choice_there_is_no_table(tmp_path):
    sweep = written(tmp_path, ensemble=None)
    assert len(chosen.table(sweep).frame) == 2
    (tmp_path / "choice.json").unlink()
    assert chosen.table(sweep) is None


def test_runs_that_were_finished_later_are_noted_and_other_weights_left_out(tmp_path):
    sweep = written(tmp_path)
    choice = json.loads((tmp_path / "choice.json").read_text())
    del choice["weights_sha256"]["unet/repeat1-fold4"]
    (tmp_path / "choice.json").write_text(json.dumps(choice))
    assert "**Decided with 19 of 20 finished runs.**" in chosen.table(sweep).note
    choice["weights_sha256"]["unet/repeat1-fold4"] = "others"
    (tmp_path / "choice.json").write_text(json.dumps(choice))
    with pytest.warns(
        StaleWarning, match=r"leaves it out: .* was chosen with other weights of unet/repeat1-fold4: give"
    ):
        assert chosen.table(sweep) is None
    (tmp_path / "choice.json").write_text("{}")
    with pytest.raises(InputError, match=r"choice.json is damaged"):
        chosen.table(sweep)
