"""The live display: what it says of a run before, during and after compiling, and how far the sweep is."""

import io
import time

import jax.monitoring
import pytest
from rich.console import Console

from launch.console import live
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.sweeps.events import EpochEnded, Started
from sharp_unet_jax.training import train

OVERLAPS = ("jaccard", "dice", "sensitivity", "precision", "specificity")
ROW = {"epoch": 3, "learning_rate": 1e-3, "train_loss": 0.25, "validation_loss": 0.5}
ROW |= {f"validation_{name}": 0.1 * number for number, name in enumerate(OVERLAPS, 5)}
STARTED = Started(Run(0, 1, "sharp_attention_unet"), 2, 4, 40)


def ended(compiled=False):
    return EpochEnded(STARTED.run, train.Epoch(ROW, 8.0, 2.0, None), compiled)


def shown(*on, width=80, groups=1, done=1, compiling=0.0):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(live.view(on, done, 4, 10, groups, compiling, time.monotonic() - 60, width))
    return console.file.getvalue().splitlines()


def test_a_run_that_has_not_compiled_says_so_until_it_has(monkeypatch):
    monkeypatch.setattr(live, "_compiled", [0.0])  # other tests compile
    one = live.Training(STARTED, time.monotonic() - 5)
    head, bar, sweep = shown(one)
    assert head == "run 2 of 4: sharp_attention_unet/repeat0-fold1"
    assert bar.startswith("epoch 1 of at most 10 ")
    assert bar.rstrip().endswith("compiling")
    assert sweep == "sweep: 1 of 4 runs done, 1:00 so far"
    monkeypatch.setattr(live, "_compiled", [time.monotonic()])
    assert shown(one)[1].rstrip().endswith("first epoch")


def test_a_program_that_was_compiled_or_kept_ends_compiling(monkeypatch):
    monkeypatch.setattr(live, "_compiled", [0.0])
    live.watch_compiling()
    for event, seconds, counts in (
        ("/jax/core/compile/backend_compile_duration", 0.1, False),  # a small program
        ("/jax/core/compile/backend_compile_duration", 9.0, True),
        ("/jax/compilation_cache/compile_time_saved_sec", 9.0, True),  # read from the folder of compiled programs
    ):
        live._compiled[0] = 0.0
        jax.monitoring.record_event_duration_secs(event, seconds)
        assert (live._compiled[0] > 0) == counts


def test_a_resumed_run_shows_the_epoch_that_it_goes_on_with(monkeypatch):
    monkeypatch.setattr(live, "_compiled", [time.monotonic() + 1])
    _, bar, _ = shown(live.Training(STARTED._replace(epochs=6), time.monotonic()))
    assert bar.startswith("epoch 7 of at most 10 ")
    assert bar.rstrip().endswith(" resumed")


def test_an_epoch_predicts_the_time_that_is_left():
    one = live.Training(STARTED, 0, ended(), time.monotonic() - 5)
    _, bar, scores, sweep = shown(one)
    assert bar.startswith("epoch 4 of at most 10 ")
    assert bar.rstrip().endswith("5.0 images/s, at most 1:10 left")  # 7 epochs of 10 s
    assert scores == "validation: jaccard 0.5000, loss 0.5000 (training 0.2500)"
    assert sweep == "sweep: 1 of 4 runs done, 1:00 so far, at most 4:30 left"  # 27 epochs


def test_networks_that_have_not_been_compiled_count_too():
    one = live.Training(STARTED, 0, ended(), time.monotonic() - 5)
    assert shown(one, compiling=30.0)[-1].endswith("at most 5:00 left")  # 27 epochs of 10 s, and compiling


def test_what_compiling_took_is_known_after_the_next_epoch():
    first = ended(compiled=True)
    first = first._replace(epoch=first.epoch._replace(train_seconds=50.0))
    assert live.seconds_of_compiling(first, ended()) == 42  # 52 s and 10 s
    assert live.seconds_of_compiling(ended(), ended()) == live.seconds_of_compiling(None, first) == 0
    assert live.seconds_of_compiling(first, first) == 0  # an encoder is thawed: another program


def test_after_its_last_epoch_a_run_scores_test_images():
    last = ended()
    last = last._replace(epoch=last.epoch._replace(row=ROW | {"epoch": 10}))
    _, bar, _, _ = shown(live.Training(STARTED, 0, last, time.monotonic() - 5))
    assert bar.startswith("epoch 10 of at most 10 ")
    assert bar.rstrip().endswith("ended; scoring test images")


def test_seconds_with_compiling_predict_nothing():
    lines = shown(live.Training(STARTED, 0, ended(compiled=True), time.monotonic()))
    assert not any("left" in line for line in lines)
    assert lines[1].startswith("epoch 4 of at most 10 ")
    assert lines[1].rstrip().endswith(" first epoch without compiling")


def test_a_wide_terminal_shows_all_metrics():
    _, _, overlaps, losses, _ = shown(live.Training(STARTED, 0, ended(), time.monotonic()), width=130)
    assert all(f"{name} 0.{number}000" in overlaps for number, name in enumerate(OVERLAPS, 5))
    assert losses == "loss 0.5000 (training 0.2500), learning rate 0.001"


@pytest.mark.parametrize("width", [60, 80, 130])
def test_no_line_is_broken(width):
    first, second = live.Training(STARTED, 0, ended(), time.monotonic() - 5), live.Training(STARTED, 0)
    lines = shown(first, second, width=width)
    assert len(lines) == (7 if width > live.WIDE else 6)
    assert max(map(len, lines)) <= width
    assert sum("━" in line for line in lines) == 2


def test_runs_side_by_side_share_what_waits():
    both = [live.Training(STARTED._replace(number=number), 0, ended(), time.monotonic()) for number in (1, 2)]
    assert shown(*both, groups=2, done=0)[-1].endswith("at most 2:50 left")  # 7 epochs and one round of 10
