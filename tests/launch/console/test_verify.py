"""--verify: a finished run trained again, and its weights compared."""

import json

import pytest
from rich.console import Console

from launch import cv
from launch.console import verify
from sharp_unet_jax.errors import InputError


@pytest.mark.usefixtures("tiny_models")
def test_a_run_is_verified_by_training_it_again(tmp_path, monkeypatch, dataset):
    console = Console(width=160, record=True, quiet=False)
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)
    monkeypatch.setattr(cv, "_report", lambda folder, console: None)
    arguments = ["--config=demo.py", f"--workdir={tmp_path / 'w'}", "--config.max_runs=2", "--config.epochs=2"]
    again = "--verify=sharp_unet/repeat0-fold0"
    with pytest.raises(InputError, match="no finished run of that name"):
        cv.run([*arguments, again], console)
    assert cv.run(arguments, console) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "w").rglob("*") if path.is_file()}
    assert cv.run([*arguments, again], console) == 0
    assert "the weights have the same bits" in console.export_text()
    with pytest.raises(InputError, match=r"learning_rate=0.001, not 0.01"):
        cv.run([*arguments, again, "--config.learning_rate=0.01"], console)
    assert before == {path: path.read_bytes() for path in (tmp_path / "w").rglob("*") if path.is_file()}
    path = tmp_path / "w" / "runs" / "sharp_unet" / "repeat0-fold0" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights_sha256": "0"}))
    with pytest.raises(InputError):  # the checkpoint is not that of the record
        cv.run([*arguments, again], console)
    monkeypatch.setattr(verify.trained, "load", lambda path: None)
    assert cv.run([*arguments, again], console) == 1
    assert "the weights DIFFER" in console.export_text()
