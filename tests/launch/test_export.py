"""The command: a file and its model card, or one line before any work is done."""

import io
import json

import pytest
from rich.console import Console
from safetensors import safe_open

from launch import export
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from tests import chosen
from tests.edits import killed

pytestmark = pytest.mark.usefixtures("tiny_models")

RUN = "runs/unet/repeat0-fold0"


def command(*arguments):
    said = io.StringIO()
    export.run(arguments, Console(file=said))
    return said.getvalue()


def test_a_file_and_its_card(done, tmp_path):
    killed(tmp_path / "out" / "model")
    said = command(f"--run={done / RUN}", "--format=safetensors", f"--output={tmp_path / 'out' / 'model'}")
    assert "out/model: 0.0 MB; see model.md" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model", "model.md"}


def test_the_rule_of_choice_json_is_said_and_plain_leaves_it_out(done, tmp_path):
    chosen.write(done, {"unet": (0.45, True), "sharp_unet": (0.5,)})
    given = [f"--run={done / RUN}", "--format=safetensors", f"--output={tmp_path / 'model'}"]
    for more, said, metadata in (
        ([], "0.0 MB; masks by choice.json: above 0.45, holes filled; see", (0.45, True)),
        (["--plain"], "0.0 MB; see", (0.5,)),
    ):
        assert said in " ".join(command(*given, *more).split())
        with safe_open(tmp_path / "model", "numpy") as file:
            assert json.loads(file.metadata()["rule"]) == Rule(*metadata)._asdict()
        assert f"is: {Rule(*metadata).words(True)}." in (tmp_path / "model.md").read_text()


def test_an_output_that_cannot_be_written_is_said_before_anything_is_converted(done, tmp_path, monkeypatch):
    monkeypatch.setattr("sharp_unet_jax.inference.export.to_onnx", lambda runs: pytest.fail("converted"))
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        command(f"--run={done / RUN}", "--format=onnx", f"--output={tmp_path / 'file' / 'model'}")
    with pytest.raises(InputError, match="is a folder"):
        command(f"--run={done / RUN}", "--format=onnx", f"--output={tmp_path}")


def test_what_fails_to_convert_leaves_nothing(done, tmp_path, monkeypatch):
    def fail(runs):
        raise InputError("cannot be converted")

    monkeypatch.setattr("sharp_unet_jax.inference.export.to_onnx", fail)
    with pytest.raises(InputError, match="cannot be converted"):
        command(f"--run={done / RUN}", "--format=onnx", f"--output={tmp_path / 'out' / 'model'}")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["w", f"w/{RUN}"])
def test_a_home_is_found_behind_an_equals_sign(done, tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sharp_unet_jax.inference.export.to_onnx", lambda runs: b"model")
    command(f"--run=~/{name}", "--model=unet", "--format=onnx", "--output=~/out/model")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model", "model.md"}


@pytest.mark.parametrize("change", [{"images": None}, {"jaccard": "high"}])
def test_a_damaged_record_is_said_before_anything_is_converted(done, tmp_path, monkeypatch, change):
    monkeypatch.setattr("sharp_unet_jax.inference.export.to_onnx", lambda runs: pytest.fail("converted"))
    path = done / RUN / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match="record") as error:
        command(f"--run={done / RUN}", "--format=onnx", f"--output={tmp_path / 'out' / 'model'}")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_model_is_not_left_without_its_card(done, tmp_path):
    (tmp_path / "out" / "model.md").mkdir(parents=True)
    with pytest.raises(OSError, match=r"model\.md"):
        command(f"--run={done / RUN}", "--format=safetensors", f"--output={tmp_path / 'out' / 'model'}")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.md"]
