"""--verify: a finished run trained again, and its weights compared."""

import json
import signal
import threading
import types

import pytest
from rich.console import Console

from launch import cv
from launch.console import verify
from sharp_unet_jax.config import Config
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.sweeps.events import Ended, Started
from tests.edits import edit_record
from tests.tiny_sweep import CONFIG, files


@pytest.mark.usefixtures("tiny_programs")
def test_a_run_is_verified_by_training_it_again(done, tmp_path, monkeypatch, dataset):
    console = Console(width=160, record=True, quiet=False)
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)
    monkeypatch.setattr("launch.console.config.load", lambda name: CONFIG)
    arguments, again = ["--config=tiny.py", f"--workdir={done}"], "--verify=sharp_unet/repeat0-fold0"
    with pytest.raises(InputError, match="holds no sweep"):
        cv.run(["--config=tiny.py", f"--workdir={tmp_path / 'nowhere'}", again], console)
    (done / "runs" / "sharp_unet" / "repeat0-fold1" / "record.json").unlink()
    with pytest.raises(InputError, match="no finished run of that name"):
        cv.run([*arguments, "--verify=sharp_unet/repeat0-fold1"], console)
    before = {path: path.read_bytes() for path in done.rglob("*") if path.is_file()}
    assert cv.run([*arguments, again], console) == 0
    assert "the weights have the same bits" in console.export_text()
    with pytest.raises(InputError, match=r"--verify=sharp_unet/repeat0-fold0: .* holds a sweep with epochs=2, not 3"):
        cv.run([*arguments, again, "--config.epochs=3"], console)
    with pytest.raises(InputError, match=r"learning_rate=0.001, not 0.01"):
        cv.run([*arguments, again, "--config.learning_rate=0.01"], console)
    assert before == {path: path.read_bytes() for path in done.rglob("*") if path.is_file()}
    edit_record(done / "runs" / "sharp_unet" / "repeat0-fold0" / "record.json", weights_sha256="0")
    with pytest.raises(InputError, match="its bytes are not those recorded"):  # the checkpoint's
        cv.run([*arguments, again], console)


@pytest.mark.usefixtures("tiny_programs")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_stops_it_at_the_end_of_the_epoch(done, monkeypatch, dataset, number, code):
    console, before = Console(width=160, record=True, quiet=False), files(done)
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)
    monkeypatch.setattr("launch.console.config.load", lambda name: CONFIG)

    def show(events, *_, **options):
        for event in events:
            if isinstance(event, Started):
                signal.raise_signal(number)

    monkeypatch.setattr("launch.console.progress.show", show)
    assert cv.run(["--config=tiny.py", f"--workdir={done}", "--verify=unet/repeat0-fold0"], console) == code
    assert "stopped; the workdir is as it was" in console.export_text()
    assert files(done) == before


def test_other_weights_are_exit_code_1(tmp_path, monkeypatch, dataset):
    """The run's record and its second training stand for themselves: nothing is trained."""
    run, console = Run(0, 0, "unet"), Console(width=160, record=True, quiet=False)
    record = {"status": "finished", "weights_sha256": "a", "jaccard": 0.5, "dice": 0.5, "best_epoch": 1, "epochs": 1}
    monkeypatch.setattr(verify.workdir, "check", lambda *_: None)
    monkeypatch.setattr(verify.workdir, "read_config", lambda _: Config(folds=2))
    monkeypatch.setattr(verify.description, "read", lambda _: None)
    monkeypatch.setattr(verify, "read_record", lambda *_: record)
    monkeypatch.setattr(verify.loading, "load_run", lambda path, *, plain: None)
    for digest, code, words in (("a", 0, "have the same bits"), ("b", 1, "DIFFER")):
        events = [Started(run, 1, 1, 8), Ended(run, record | {"weights_sha256": digest})]
        monkeypatch.setattr(verify.sweep, "train", lambda *_, events=events, **__: (event for event in events))
        assert verify.verify(Config(folds=2), dataset, tmp_path, run.name, [], console, threading.Event()) == code
        assert f"unet/repeat0-fold0: trained again, the weights {words}" in console.export_text()


@pytest.mark.usefixtures("tiny_models")
def test_weights_that_were_replaced_are_told_before_any_training(done, monkeypatch, dataset):
    (done / "weights.json").write_text(json.dumps({"unet": "those of then"}))
    other = types.SimpleNamespace(sha256="those of today")
    monkeypatch.setattr(verify.epochs, "pretrained", lambda config, model, data: other)
    with pytest.raises(InputError, match="whose unet started from other weights"):
        verify.verify(CONFIG, dataset, done, "unet/repeat0-fold0", [], Console(quiet=True), threading.Event())
