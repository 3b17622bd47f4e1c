"""The output folder: its files, what it refuses, and the record of its prediction."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from datasets.formats import nifti, picture, tif
from datasets.formats.search import Input
from launch.prediction import output
from launch.prediction.output import Output
from sharp_unet_jax.errors import InputError

OPTIONS = {"flips": False, "rotations": False, "tile": (16, 16)}


def member(value=0.0, threshold=0.5):
    weights = {"params": {"w": np.full(3, value, np.float32)}, "stats": {}}
    config = SimpleNamespace(threshold=threshold)
    return SimpleNamespace(name="unet/repeat0-fold0", classes=("background", "cell"), config=config, weights=weights)


@pytest.fixture
def one(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").touch()
    return Input("a", (tmp_path / "in/a.png",), picture)


def test_each_format_has_its_files(tmp_path):
    extras = ("probabilities", "overlays")
    for family, suffixes in ((picture, "png tif png"), (tif, "tif tif tif"), (nifti, "nii.gz nii.gz tif")):
        found = output.paths(Output(tmp_path, extras), Input("x/a", (), family))
        kinds = zip(("masks", *extras), suffixes.split(), strict=True)
        assert found == [tmp_path / kind / f"x/a.{suffix}" for kind, suffix in kinds]
    assert output.paths(Output(tmp_path), Input("a", (), tif)) == [tmp_path / "masks/a.tif"]


def test_an_input_is_done_when_all_its_files_are_there(tmp_path, one):
    with_overlays = Output(tmp_path, ("overlays",))
    for kind, done in (("masks", False), ("overlays", True)):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "a.png").touch()
        assert output.is_done(with_overlays, one) == done


def test_the_same_prediction_may_go_on_with_more_inputs(tmp_path, one):
    output.begin(Output(tmp_path / "out"), [member()], [one], OPTIONS)
    other = Input("b", (tmp_path / "x/1.dcm", tmp_path / "x/2.dcm"), picture)
    output.begin(Output(tmp_path / "out"), [member()], [other], OPTIONS)
    said = json.loads((tmp_path / "out/prediction.json").read_text())
    assert said["inputs"] == {"a": str(tmp_path / "in/a.png"), "b": f"{tmp_path / 'x'} (2 files)"}
    assert (said["classes"], said["threshold"], said["tile"]) == (["background", "cell"], 0.5, [16, 16])


@pytest.mark.parametrize(
    ("members", "options", "field"),
    [
        ([member(1.0)], {}, "runs"),
        ([member(threshold=0.6)], {}, "threshold"),
        ([member()], {"flips": True}, "flips"),
        ([member()], {"tile": None}, "tile"),
    ],
)
def test_another_prediction_is_refused(tmp_path, one, members, options, field):
    output.begin(Output(tmp_path / "out"), [member()], [one], OPTIONS)
    before = (tmp_path / "out/prediction.json").read_bytes()
    with pytest.raises(InputError, match=f"holds masks predicted with other {field}"):
        output.begin(Output(tmp_path / "out"), members, [one], OPTIONS | options)
    assert (tmp_path / "out/prediction.json").read_bytes() == before


def test_another_file_of_the_same_name_is_refused(tmp_path, one):
    output.begin(Output(tmp_path / "out"), [member()], [one], OPTIONS)
    other = one._replace(paths=(tmp_path / "elsewhere/a.png",))
    with pytest.raises(InputError, match=rf"holds a of {tmp_path}/in/a.png, and now it is {tmp_path}/elsewhere/a.png"):
        output.begin(Output(tmp_path / "out"), [member()], [other], OPTIONS)


def test_files_of_the_user_are_refused(tmp_path, one):
    given = [str(tmp_path / "in")]
    output.check(Output(tmp_path / "out"), given)
    with pytest.raises(InputError, match="is the input as well as the output"):
        output.check(Output(tmp_path / "in"), given)
    with pytest.raises(InputError, match="is a file: name a folder"):
        output.check(Output(one.paths[0]), given)
    (tmp_path / "out/overlays").mkdir(parents=True)
    output.check(Output(tmp_path / "out"), given)  # overlays are not asked for
    with pytest.raises(InputError, match="overlays was not written by this command"):
        output.check(Output(tmp_path / "out", ("overlays",)), given)
    (tmp_path / "out/prediction.json").touch()
    output.check(Output(tmp_path / "out", ("overlays",)), given)
