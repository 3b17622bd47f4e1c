"""The output folder: its files, what it refuses, and the record of its prediction."""

import json
import os
import platform
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from datasets.formats import dicom, nifti, picture, tif
from datasets.formats.search import Input
from launch.prediction import output
from launch.prediction.output import Output
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError

OPTIONS = {"flips": False, "rotations": False, "tile": (16, 16)}


def member(value=0.0, threshold=0.5, chosen=False, **rule):
    weights = {"params": {"w": np.full(3, value, np.float32)}, "stats": {}}
    rule = Rule(threshold, **rule)
    fields = {"name": "unet/repeat0-fold0", "classes": ("background", "cell"), "weights": weights}
    return SimpleNamespace(**fields, rule=rule, chosen=rule if chosen else None)


@pytest.fixture
def one(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").touch()
    return Input("a", (tmp_path / "in/a.png",), picture)


@pytest.fixture
def holding(tmp_path):
    """Return a folder with a mask that an earlier command has written."""
    (tmp_path / "out/masks").mkdir(parents=True)
    (tmp_path / "out/masks/a.png").write_bytes(b"x")
    return tmp_path / "out"


def test_each_format_has_its_files(tmp_path):
    extras = ("probabilities", "overlays", "disagreement", "disagreement_overlays")
    for family, suffixes in (
        (picture, "png tif png tif png"),
        (tif, "tif tif tif tif tif"),
        (nifti, "nii.gz nii.gz tif nii.gz tif"),
        (dicom, "dcm dcm tif tif tif"),
    ):
        found = output.paths(Output(tmp_path, extras), Input("x/a", (), family))
        kinds = zip(("masks", *extras), suffixes.split(), strict=True)
        assert found == [tmp_path / kind / f"x/a.{suffix}" for kind, suffix in kinds]
    assert output.paths(Output(tmp_path), Input("a", (), tif)) == [tmp_path / "masks/a.tif"]


def test_an_input_is_written_when_all_its_files_are_there_and_none_is_empty(tmp_path, one):
    with_overlays = Output(tmp_path, ("overlays",))
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/a.png").write_bytes(b"x")
    (tmp_path / "overlays/a.png").mkdir(parents=True)
    assert not output.is_written(with_overlays, one), "a folder is no file"
    (tmp_path / "overlays/a.png").rmdir()
    for content in (b"", b"x"):
        (tmp_path / "overlays/a.png").write_bytes(content)
        assert output.is_written(with_overlays, one) == bool(content)


@pytest.mark.parametrize("name", ["../a", "../../a", "x/../../../a", "x/../a", "/../a"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, one, name):
    """Names come from files and folders, and formats may add some that come from within files."""
    for family in (picture, tif, nifti):
        other = one._replace(name=name, family=family)
        with pytest.raises(InputError, match="leads elsewhere, by a link or by its name"):
            output.paths(Output(tmp_path / "out"), other)
        with pytest.raises(InputError, match="leads elsewhere"):
            output.begin(Output(tmp_path / "out"), [member()], [other], OPTIONS)
    assert not (tmp_path / "out").exists()
    inside = output.paths(Output(tmp_path / "out"), one._replace(name="/etc/a"))
    assert inside == [tmp_path / "out/masks/etc/a.png"]


@pytest.mark.parametrize("link", ["masks", "masks/deep", "overlays"])
def test_a_folder_that_is_a_link_is_refused(tmp_path, one, link):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/masks").mkdir(parents=True)
    (tmp_path / "other").symlink_to(tmp_path / "out")
    deep = one._replace(name="deep/a")
    output.paths(Output(tmp_path / "other", ("overlays",)), deep)  # the output itself may be one
    if link == "masks":
        (tmp_path / "out/masks").rmdir()
    (tmp_path / "out" / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="leads elsewhere, by a link"):
        output.paths(Output(tmp_path / "other", ("overlays",)), deep)


def test_what_a_killed_command_left_is_cleared(tmp_path, one):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = [f"out/{folder}.b.png.part.{platform.node()}.{ended.pid}" for folder in ("", "masks/deep/", "overlays/")]
    for name in left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    mine = tmp_path / f"out/masks/.c.png.part.{platform.node()}.{os.getpid()}"
    mine.touch()
    output.begin(Output(tmp_path / "out"), [member()], [one], OPTIONS)
    assert not any((tmp_path / name).exists() for name in left)
    assert mine.exists()


def test_names_that_differ_in_case_need_a_disk_that_sees_it(holding, tmp_path, one, monkeypatch):
    for name in ("A", "\u00e9", "e\u0301"):
        output.begin(Output(holding), [member()], [one._replace(name=name)], OPTIONS)
    monkeypatch.setattr(output, "_ignores_case", lambda _: True)
    with pytest.raises(
        InputError, match="\u00e9 and e\u0301 would be one file on a disk that ignores case: rename one"
    ):
        output.begin(Output(holding), [member()], [], OPTIONS)
    with pytest.raises(InputError, match="A and a would be one file"):
        output.begin(Output(tmp_path / "new"), [member()], [one._replace(name="A"), one], OPTIONS)


@pytest.mark.parametrize("text", ["{", "[]", "null", "1", "{}", '{"inputs": []}', b"\xff", b""])
def test_a_damaged_prediction_json_is_named(tmp_path, one, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/prediction.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(
        InputError, match=r"out/prediction\.json is damaged \(.*\): name another folder, or delete"
    ) as end:
        output.begin(Output(tmp_path / "out"), [member()], [one], OPTIONS)
    assert "\n" not in str(end.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("inputs", []),
        ("inputs", {"a": 1}),
        ("runs", []),
        ("classes", "ab"),
        ("rule", {"threshold": 0.5}),
        ("tile", {}),
        ("flips", 2),
    ],
)
def test_a_damaged_field_of_prediction_json_is_named(tmp_path, one, field, value):
    output.begin(Output(tmp_path), [member()], [one], OPTIONS)
    path = tmp_path / "prediction.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(InputError, match=rf"prediction\.json is damaged \(.*{field}"):
        output.begin(Output(tmp_path), [member()], [one], OPTIONS)


def test_the_same_prediction_may_go_on_with_more_inputs(holding, tmp_path, one):
    output.begin(Output(holding), [member()], [one], OPTIONS)
    other = Input("b", (tmp_path / "x/1.dcm", tmp_path / "x/2.dcm"), picture)
    output.begin(Output(holding), [member()], [other], OPTIONS)
    said = json.loads((holding / "prediction.json").read_text())
    assert said["inputs"] == {"a": str(tmp_path / "in/a.png"), "b": f"{tmp_path / 'x'} (2 files)"}
    assert said["rule"] == {"threshold": 0.5, "fill": False, "smallest": 0, "largest": False}
    assert (said["classes"], said["tile"]) == (["background", "cell"], [16, 16])


@pytest.mark.parametrize(
    ("members", "options", "field"),
    [
        ([member(1.0)], {}, "runs"),
        ([member(threshold=0.6)], {}, r"rule \(now that of the config, without choice.json\)"),
        ([member(smallest=9)], {}, r"rule \(now that of the config, without choice.json\)"),
        ([member(smallest=9, chosen=True)], {}, r"rule \(now that of choice\.json, which --plain leaves out\): name"),
        ([member()], {"flips": True}, "flips"),
        ([member()], {"tile": None}, "tile"),
    ],
)
def test_another_prediction_is_refused(holding, tmp_path, one, members, options, field):
    output.begin(Output(holding), [member()], [one], OPTIONS)
    before = (holding / "prediction.json").read_bytes()
    with pytest.raises(InputError, match=f"holds a prediction with other {field}"):
        output.begin(Output(holding), members, [one], OPTIONS | options)
    assert (holding / "prediction.json").read_bytes() == before


def test_another_file_of_the_same_name_is_refused(holding, tmp_path, one):
    output.begin(Output(holding), [member()], [one], OPTIONS)
    other = one._replace(paths=(tmp_path / "elsewhere/a.png",))
    with pytest.raises(InputError, match=rf"holds a of {tmp_path}/in/a.png, and now it is {tmp_path}/elsewhere/a.png"):
        output.begin(Output(holding), [member()], [other], OPTIONS)


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


def test_a_command_that_failed_early_leaves_the_folder_to_another(tmp_path, one):
    output.begin(Output(tmp_path / "out"), [member()], [one], OPTIONS)
    output.begin(Output(tmp_path / "out"), [member()], [one], OPTIONS | {"flips": True})
    (tmp_path / "out/areas.csv").write_text("input,slice\na,0\n")
    with pytest.raises(InputError, match="other flips"):
        output.begin(Output(tmp_path / "out"), [member()], [one], OPTIONS)


def test_an_input_that_was_replaced_is_newer_than_its_mask(tmp_path, one):
    mask = tmp_path / "masks/a.png"
    mask.parent.mkdir()
    mask.write_bytes(b"x")
    now = time.time_ns()
    for of_mask, of_input, older in ((-20, -30, False), (-20, -10, True), (-20, 3600, False)):  # seconds from now
        os.utime(mask, ns=(now + of_mask * 10**9,) * 2)
        os.utime(one.paths[0], ns=(now + of_input * 10**9,) * 2)
        assert output.is_older(Output(tmp_path), one) == older
