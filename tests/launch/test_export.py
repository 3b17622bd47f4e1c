"""The command: a file and its card, or one line before any work is done."""

import io

import pytest
from rich.console import Console

from launch import export
from sharp_unet_jax.errors import InputError

pytestmark = pytest.mark.usefixtures("tiny_models")

RUN = "runs/unet/repeat0-fold0"


def command(*arguments):
    said = io.StringIO()
    export.run(arguments, Console(file=said))
    return said.getvalue()


def test_a_file_and_its_card(done, tmp_path):
    said = command(f"--run={done / RUN}", "--format=safetensors", f"--output={tmp_path / 'out' / 'model'}")
    assert "out/model: 0.0 MB; see model.md" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model", "model.md"}


def test_an_output_that_cannot_be_written_is_said_before_anything_is_converted(done, tmp_path, monkeypatch):
    monkeypatch.setattr("sharp_unet_jax.export.to_onnx", lambda runs: pytest.fail("converted"))
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        command(f"--run={done / RUN}", "--format=onnx", f"--output={tmp_path / 'file' / 'model'}")
    with pytest.raises(InputError, match="is a folder"):
        command(f"--run={done / RUN}", "--format=onnx", f"--output={tmp_path}")


def test_what_fails_to_convert_leaves_nothing(done, tmp_path, monkeypatch):
    def fail(runs):
        raise InputError("cannot be converted")

    monkeypatch.setattr("sharp_unet_jax.export.to_onnx", fail)
    with pytest.raises(InputError, match="cannot be converted"):
        command(f"--run={done / RUN}", "--format=onnx", f"--output={tmp_path / 'out' / 'model'}")
    assert list((tmp_path / "out").iterdir()) == []
