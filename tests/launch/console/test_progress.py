"""A sweep's events on a terminal and in plain lines."""

import io
import time

from rich.console import Console

from launch.console import progress
from sharp_unet_jax import metrics
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.sweeps.events import Ended, EpochEnded, Started, Warned
from sharp_unet_jax.training import train


def test_a_terminal_shows_every_run_that_is_training():
    """A bar for the run of each device group, and one that counts runs."""
    runs = [Run(0, fold, "unet") for fold in range(3)]
    row = {"epoch": 1, "learning_rate": 0.001, "train_loss": 0.1, "validation_loss": 0.2}
    row |= {f"validation_{name}": 0.5 for name in metrics.OVERLAPS}
    epoch = train.Epoch(row, 1.0, 1.0, None)
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    seen = []

    def events():
        for number, run in enumerate(runs[:2], 1):
            yield Started(run, number, 3, 10)
        for run in runs[:2]:
            yield EpochEnded(run, epoch)
        yield Warned("both are training")
        time.sleep(0.6)  # two looks of the display
        seen.append(console.file.getvalue())
        for run in runs[:2]:
            yield Ended(run, {"status": "failed", "reason": "none"})

    records = progress.show(events(), console, 5, 2)
    assert len(records) == 2
    assert all(f"run {number} of 3: {run.name}" in seen[0] for number, run in enumerate(runs[:2], 1))
    assert runs[2].name not in seen[0]


def test_an_epoch_with_compiling_says_so(monkeypatch):
    """Its speed and the time left are far from those of the epochs to come."""
    monkeypatch.setattr(progress, "PLAIN_SECONDS", -1)
    console = Console(file=io.StringIO(), width=300)

    def events():
        yield Started(Run(0, 0, "unet"), 1, 1, 10, "crops")
        for epoch in 1, 2:
            row = {"epoch": epoch, "validation_jaccard": 0.5, "train_loss": 0.1, "validation_loss": 0.2}
            yield EpochEnded(Run(0, 0, "unet"), train.Epoch(row, 1.0, 1.0, None), epoch == 1)

    progress.show(events(), console, 2, 1)
    lines = [line for line in console.file.getvalue().splitlines() if "10.0 crops/s" in line]
    assert ["with compiling" in line for line in lines] == [True, False]
    assert ["at most 0:00 left" in line for line in lines] == [False, True]
    assert "left" not in lines[0]  # its time predicts nothing


def test_the_time_left_holds_the_compiling_of_networks_to_come(monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_SECONDS", -1)
    console = Console(file=io.StringIO(), width=300)

    def events():
        yield Started(Run(0, 0, "unet"), 1, 3, 10)
        for epoch in 1, 2:
            row = {"epoch": epoch, "validation_jaccard": 0.5, "train_loss": 0.1, "validation_loss": 0.2}
            yield EpochEnded(Run(0, 0, "unet"), train.Epoch(row, 31.0 if epoch == 1 else 1.0, 1.0, None), epoch == 1)

    progress.show(events(), console, 10, 1, networks=3)
    assert "at most 1:56 left" in console.file.getvalue()  # 28 epochs of 2 s, and two networks of 30 s


def test_items_are_passed_on_and_counted_in_plain_lines(monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_SECONDS", -1)
    console = Console(file=io.StringIO(), width=100)
    assert list(progress.track(console, "reading")("abc", 3)) == ["a", "b", "c"]
    assert console.file.getvalue().splitlines() == [f"reading: {number} of 3" for number in (1, 2, 3)]
