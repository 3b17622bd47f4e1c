"""The command: what it prints and writes, and what it refuses in one line."""

import json
import shutil

import numpy as np
import pytest
from rich.console import Console

from launch import choose
from sharp_unet_jax.choosing import images
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import chosen, records
from sharp_unet_jax.storage import choice as choices
from sharp_unet_jax.sweeps import pack
from tests.choosing.sources import right, source, twice
from tests.conftest import squares
from tests.edits import edit_record, killed


@pytest.fixture
def predicted(tmp_path, monkeypatch):
    """Write a sweep of two networks, and let the command predict what is made up."""
    of = source(tmp_path / "w", squares(n=36), models=("unet", "sharp_unet"))
    monkeypatch.setattr(images, "predictor", lambda *_: of.predict)
    return tmp_path / "w"


def given(folder, width=80):
    """Give the command; return what it prints."""
    console = Console(width=width, highlight=False, markup=False)
    with console.capture() as captured:
        choose.run([str(folder)], console)
    return captured.get()


def test_the_choice_is_printed_and_written(predicted):
    printed = given(predicted)
    for text in ("largest piece", "100.00, +", "n = 36, 3 runs", "best network", "all folds", "fold by fold"):
        assert text in printed
    assert "unet: 3 runs are too few to tell on test images" in printed
    assert "best network, unet: no mean of networks gains enough" in printed
    assert max(map(len, printed.partition("written")[0].splitlines())) <= 80  # what follows is a path
    sweep = records.load(predicted)
    weights = {name: record["weights_sha256"] for name, record in sweep.finished.items()}
    choice = choices.read(predicted, weights.get)
    assert choices.rule(choice["models"]["unet"]["rule"]).largest
    once = (predicted / "choice.json").read_bytes()
    left = killed(predicted / "choice.json")
    given(predicted)
    assert (predicted / "choice.json").read_bytes() == once
    left.unlink()
    assert not list(predicted.glob(".choice*"))


def test_nothing_chosen_is_said(tmp_path, monkeypatch):
    of = source(tmp_path, predict=right)
    monkeypatch.setattr(images, "predictor", lambda *_: of.predict)
    printed = " ".join(given(tmp_path).split())
    assert "unchanged: above 0.5" in printed.replace("│ ", "")
    assert "unet: no rule gains enough on the inner validation images, so masks stay as they are; no test" in printed
    assert "no gain" in printed


def test_unfinished_runs_are_named(predicted):
    shutil.rmtree(predicted / "runs/sharp_unet/repeat0-fold1")
    shutil.rmtree(predicted / "runs/unet/repeat0-fold1")
    printed = " ".join(given(predicted).split())
    assert "2 of 6 runs are not finished: unet/repeat0-fold1, sharp_unet/repeat0-fold1" in printed
    assert "unet: 2 runs are too few to tell on test images" in printed
    assert len(json.loads((predicted / "choice.json").read_text())["weights_sha256"]) == 4


@pytest.mark.parametrize(
    ("low", "high", "gain", "cell", "said"),
    [
        (0.1, 0.3, 0.2, "50.00, +20.00\n10.00 to 30.00", "more than chance explains"),
        (-0.1, 0.3, 0.1, "50.00, +10.00\n-10.00 to 30.00", "within what chance explains"),
        (-0.3, -0.1, -0.2, "50.00, -20.00\n-30.00 to -10.00", "the loss on test images is more than chance explains"),
        (None, None, 0.2, "50.00, +20.00\nno interval", "5 runs are too few"),
        (0.0, 0.0, 0.0, "50.00\nno gain", "no test image scores differently"),
        (None, None, None, "50.00\nno gain", "no test image has a score"),
    ],
)
def test_what_a_gain_says(low, high, gain, cell, said):
    test = {"jaccard": 0.5, "gain": gain, "low": low, "high": high, "images": 9, "groups": 9, "runs": 5}
    assert said in choose._verdict(test, several=False)
    assert choose._cell(test) == f"{cell}\nn = 9, 5 runs"
    if gain:
        assert "4 runs are too few to tell" in choose._verdict(test | {"runs": 4}, several=False)


def test_what_cannot_be_chosen_on_is_refused_and_nothing_is_written(predicted, tmp_path):
    source(tmp_path / "paper", protocol="paper", inner_validation=0.2)
    with pytest.raises(InputError, match="protocol=paper"):
        given(tmp_path / "paper")
    (predicted / "tables.md").write_text("")
    pack.pack(tmp_path / "packed", predicted)
    with pytest.raises(InputError, match="packed results, without images and weights"):
        given(tmp_path / "packed")
    masks = np.load(predicted / "prepared/masks.npy")
    np.save(predicted / "prepared/masks.npy", masks[::-1])
    with pytest.raises(InputError, match="or have changed: give the sweep's command again"):
        given(predicted)
    assert not list(tmp_path.rglob("choice.json"))


def test_a_packed_choice_is_shown_and_a_stale_one_is_not_packed(predicted, tmp_path):
    given(predicted)
    (predicted / "tables.md").write_text("")
    pack.pack(tmp_path / "packed", predicted)
    table = chosen.table(records.load(tmp_path / "packed"))
    assert table.frame["rule"][0] == "above 0.5, only the largest piece"
    packed = tmp_path / "packed/choice.json"
    packed.write_text(packed.read_text().replace("0.5", "0.6", 1))
    with pytest.raises(InputError, match=r"choice.json is damaged \(its bytes are not those recorded\)"):
        chosen.table(records.load(tmp_path / "packed"))
    edit_record(predicted / "runs/unet/repeat0-fold0/record.json", weights_sha256="others")
    with pytest.raises(InputError, match="was chosen with other weights of unet/repeat0-fold0"):
        pack.pack(tmp_path / "again", predicted)
    assert not (tmp_path / "again").exists()


def test_what_the_predictions_are_like(predicted):
    """The masks that the tests above choose on have a second object."""
    masks = squares(n=36).masks
    assert np.all((twice(None, masks)[..., 0] > 127).sum(axis=(1, 2)) == masks.sum(axis=(1, 2)) + 36)
