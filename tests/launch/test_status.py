"""The progress of a sweep, read only from its files."""

import io
import json
import os
import re
import shutil
import time

import pytest
from rich.console import Console

from launch import status
from sharp_unet_jax.errors import InputError

pytestmark = pytest.mark.usefixtures("tiny_models")


def shown(workdir, width=80):
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    code = status.run([str(workdir)], console)
    return code, console.file.getvalue()


@pytest.fixture
def half(done):
    """Return the finished sweep with one run that waits and one that trains: no record, and half a line."""
    shutil.rmtree(done / "runs/sharp_unet/repeat0-fold1")
    run = done / "runs/unet/repeat0-fold1"
    (run / "record.json").unlink()
    lines = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(lines + '{"epoch": 3, "learn')
    return done


def test_the_matrix_shows_what_is_done_what_trains_and_what_waits(half):
    code, text = shown(half, width=300)
    record = json.loads((half / "runs/unet/repeat0-fold0/record.json").read_text())
    last = json.loads((half / "runs/unet/repeat0-fold1/metrics.jsonl").read_text().splitlines()[-2])
    assert code == 0
    head, _, names, first, second, mean = (line.split() for line in text.splitlines())
    assert re.fullmatch(r"squares, 2 of 4 runs finished, 1 begun, about \d+:\d\d left", " ".join(head[1:]))
    assert names == ["Jaccard", "(%)", "unet", "sharp_unet"]
    assert first[:5] == ["repeat", "0", "fold", "0", f"{100 * record['jaccard']:.2f}"]
    assert second[4:] == ["epoch", f"{last['epoch']}:", f"{100 * last['validation_jaccard']:.1f}", "·"]
    assert mean[3] == f"{100 * record['jaccard']:.2f}"


def test_a_pipe_gets_one_page_when_all_runs_have_ended(done, monkeypatch):
    last = done / "runs/sharp_unet/repeat0-fold1"
    last.rename(done / "elsewhere")
    monkeypatch.setattr(time, "sleep", lambda _: (done / "elsewhere").rename(last))
    console = Console(file=io.StringIO(), width=300)
    assert status.run([str(done), "--follow"], console) == 0
    (head,) = (line for line in console.file.getvalue().splitlines() if "finished" in line)
    assert "4 of 4 runs finished" in head


def test_runs_that_ended_say_how_long_the_others_take(half):
    state = status.look(half)
    seconds = {one.run.model: status._seconds(one.record) for one in state.those("finished")}
    (begun,), (ended, _) = state.those("begun"), state.those("finished")
    rest = max(1 - begun.epochs / ended.record["epochs"], 0)
    assert status.seconds_left(state) == pytest.approx(seconds["sharp_unet"] + rest * seconds["unet"])
    assert status.seconds_left(state._replace(states=state.those("waiting"))) is None


def test_runs_that_are_silent_do_not_share_the_work(half):
    """Two runs have begun, and one of them was interrupted: only the other one trains."""
    path = half / "runs/unet/repeat0-fold1/metrics.jsonl"
    path.write_text(path.read_text().partition("\n")[0] + "\n")
    shutil.copytree(path.parent, half / "runs/sharp_unet/repeat0-fold1")
    state = status.look(half)
    assert [one.epochs for one in state.those("begun")] == [1, 1]
    os.utime(half / "runs/sharp_unet/repeat0-fold1/metrics.jsonl", (time.time() - 4000,) * 2)
    assert status.seconds_left(status.look(half)) == pytest.approx(2 * status.seconds_left(state))


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff", b'{"validation_jaccard": "high"}'])
def test_a_damaged_line_of_a_run_that_trains_is_an_epoch_without_a_score(half, line):
    (half / "runs/unet/repeat0-fold1/metrics.jsonl").write_bytes(b'{"epoch": 1}\n' + line + b"\n")
    code, text = shown(half, width=300)
    assert code == 0
    assert "epoch 2  " in text


def test_a_failure_has_its_reason_and_code_1(done, monkeypatch):
    state = status.look(done)
    record = state.states[0].record | {"status": "failed", "reason": "the training loss became NaN"}
    failed = state._replace(states=[state.states[0]._replace(record=record), *state.states[1:]])
    monkeypatch.setattr(status, "look", lambda workdir: failed)
    code, text = shown(done)
    assert code == 1
    assert "failed: unet/repeat0-fold0: the training loss became NaN" in text


def test_a_run_that_has_been_silent_is_asked_about(half):
    run = half / "runs/unet/repeat0-fold1/metrics.jsonl"
    os.utime(run, (time.time() - 4000,) * 2)
    assert "unet/repeat0-fold1: no epoch has ended for 1:06:40; was its command cut off?" in shown(half, width=300)[1]


def test_a_run_that_was_cut_off_trains_beside_no_other(half):
    state = status.look(half)
    (begun,), waiting, ended = state.those("begun"), state.those("waiting"), state.those("finished")
    quiet = begun._replace(quiet=status.SILENT + 1)
    both = state._replace(states=[begun, quiet, *waiting, *ended])
    seconds = status.seconds_left(state)
    rest = seconds - status.seconds_left(state._replace(states=[*waiting, *ended]))
    assert status.seconds_left(both) == pytest.approx(seconds + rest)
    two = state._replace(states=[begun, begun, *waiting, *ended])
    assert status.seconds_left(two) == pytest.approx((seconds + rest) / 2)


def test_a_capped_run_that_may_go_on_waits(done):
    config = json.loads((done / "config.json").read_text())
    (done / "config.json").write_text(json.dumps(config | {"epochs": config["epochs"] + 1}))
    for run in done.glob("runs/*/*/metrics.jsonl"):
        os.utime(run, (time.time() - 4000,) * 2)
    code, text = shown(done, width=300)
    assert code == 0
    assert "begun" not in text
    assert "cut off" not in text
    assert f"epoch {config['epochs']}: " in text


def test_a_narrow_terminal_gets_the_matrix_in_parts(done):
    names = [line.split()[2:] for line in shown(done, width=36)[1].splitlines() if line.startswith("Jaccard")]
    assert names == [["unet"], ["sharp_unet"]]


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no sweep"):
        status.run([str(tmp_path)], Console())
