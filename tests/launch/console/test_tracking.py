"""Epochs logged as they end: the rows of metrics.jsonl, and pictures of the best epochs. Records stay the same."""

import dataclasses
import io
import json
import sys
import types

import numpy as np
import pytest
from flax import nnx
from rich.console import Console
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from launch import cv
from launch.console import config as configs
from launch.console import tracking
from sharp_unet_jax import ragged
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import crops
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.sweeps import plan
from sharp_unet_jax.sweeps.events import Ended, EpochEnded, Started
from sharp_unet_jax.training import network, train
from tests.conftest import squares

ARGUMENTS = ["--config=demo.py", "--config.max_runs=1", "--config.epochs=2"]


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """Leave out the report: it takes seconds and has tests of its own."""
    monkeypatch.setattr(cv, "_report", lambda folder, console: None)


def events(folder):
    """Yield the events of the files in `folder`, which hold a length, its checksum, the event and its checksum."""
    for file in sorted(folder.glob("events*")):
        data = file.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            event = data[12 : 12 + length]
            assert int.from_bytes(data[12 + length : 16 + length], "little") == masked_crc32c(event)
            yield Event.FromString(event)
            data = data[16 + length :]


@pytest.mark.usefixtures("tiny_programs")
def test_tensorboard_gets_every_number_and_a_picture(tmp_path, monkeypatch, dataset):
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)
    for name, track in (("with", ["--track=tensorboard"]), ("without", [])):
        assert cv.run([*ARGUMENTS, *track, f"--workdir={tmp_path / name}"], Console(quiet=True)) == 0
    own, plain = (tmp_path / name / "runs/unet/repeat0-fold0" for name in ("with", "without"))
    records = [json.loads((folder / "record.json").read_text()) for folder in (own, plain)]
    assert all(record.pop("timing") and record.pop("record_sha256") for record in records)
    assert records[0] == records[1]
    assert not (plain / "tensorboard").exists()
    values = [(event.step, value) for event in events(own / "tensorboard") for value in event.summary.value]
    scalars = {(step, value.tag): value.simple_value for step, value in values if value.tag != "validation/images"}
    rows = [json.loads(line) for line in (own / "metrics.jsonl").read_text().splitlines()]
    expected = {
        (row["epoch"], key.replace("_", "/", 1)): value for row in rows for key, value in row.items() if key != "epoch"
    }
    assert scalars == pytest.approx(expected, rel=1e-6)
    pictures = [value.image for step, value in values if value.tag == "validation/images"]
    height, width = dataset.masks.shape[1:]
    assert pictures
    assert all((p.height, p.width) == (2 * (height + 4), 4 * (width + 4)) for p in pictures)


@pytest.mark.usefixtures("tiny_programs")
def test_weights_and_biases_gets_every_number_and_a_picture(tmp_path, monkeypatch, dataset):
    """A module that stores the calls stands in for the service."""
    runs = []

    class Run:
        def __init__(self, **settings):
            self.settings, self.rows, self.ended = settings, [], False
            runs.append(self)

        def log(self, row, step):
            assert not self.ended
            self.rows.append((step, row))

        def finish(self):
            self.ended = True

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=Run, Image=np.asarray))
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)
    assert cv.run([*ARGUMENTS, "--track=wandb", f"--workdir={tmp_path / 'w'}"], Console(quiet=True)) == 0
    (run,) = runs
    assert (run.settings["name"], run.settings["group"]) == ("unet/repeat0-fold0", "w")
    assert run.settings["config"]["learning_rate"] == 1e-3
    assert run.ended
    own = tmp_path / "w" / "runs" / "unet" / "repeat0-fold0"
    logged = [json.loads(line) for line in (own / "metrics.jsonl").read_text().splitlines()]
    pictures = [row.pop("validation_images", None) for _, row in run.rows]
    assert [row for _, row in run.rows] == logged
    assert [step for step, _ in run.rows] == [1, 2]
    assert any(picture is not None and picture.ndim == 3 for picture in pictures)


@pytest.mark.usefixtures("tiny_programs")
def test_a_log_that_fails_stops_no_run(tmp_path, monkeypatch, dataset):
    def init(**_):
        raise RuntimeError("no login")

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    monkeypatch.setattr("launch.console.dataset.load", lambda _, console: dataset)
    console = Console(file=io.StringIO(), width=200)
    assert cv.run([*ARGUMENTS, "--track=wandb", f"--workdir={tmp_path / 'w'}"], console) == 0
    said = console.file.getvalue()
    assert said.count("--track=wandb failed (no login); the runs go on without a log") == 1


@pytest.mark.usefixtures("tiny_programs")
@pytest.mark.parametrize("validate", [pytest.param("images", marks=pytest.mark.slow), "crops"])
def test_pictures_of_crops_are_the_first_that_validate(tmp_path, monkeypatch, dataset, validate):
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 60, (len(dataset.ids), 2))
    images = ragged.of([rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes])
    masks = ragged.of([image[..., 0] // 128 for image in images])
    data = dataclasses.replace(dataset, images=images, masks=masks)
    monkeypatch.setattr("launch.console.dataset.load", lambda _, console: data)
    drawn = []
    monkeypatch.setattr(tracking, "outlined", lambda image, mask: drawn.append((image, mask)) or np.zeros((9, 9, 3)))
    fields = ["--config.data.fit=crop", "--config.data.size=32,32", f"--config.data.validate={validate}"]
    run = ["--track=tensorboard", f"--workdir={tmp_path / 'w'}", "--config.models=unet"]
    assert cv.run([*ARGUMENTS, *fields, *run], Console(quiet=True)) == 0
    config = configs.overridden(configs.load("demo.py"), fields)
    first = plan.runs(config)[0]
    validation = plan.split(config, data)[first.repeat, first.fold].validation
    expected = train.order_of(data, config, validation, plan.seed(config, first), 0)[: tracking.PICTURES]
    for crop, (image, mask) in zip(expected, drawn, strict=False):
        own = crops.cut(images, masks, crop, (32, 32), (32, 32))
        np.testing.assert_array_equal(image, own[0])
        np.testing.assert_array_equal(mask, own[1])
    assert len(expected) == min(tracking.PICTURES, len(drawn))


@pytest.mark.usefixtures("tiny_programs")
@pytest.mark.parametrize("classes", [2, 3])
def test_pictures_show_the_decision_of_the_config(classes):
    data = squares(n=2, classes=classes)
    segmenter = network.build(Config(), "unet", num_classes=data.num_classes, channels=3, rngs=nnx.Rngs(0))
    logits = np.asarray(segmenter(data.images.astype(np.float32) / 255))
    if classes == 2:
        probabilities = 1 / (1 + np.exp(-logits[..., 0]))
        threshold = float(np.quantile(probabilities, 0.3))
        expected = probabilities > threshold
    else:
        threshold, expected = 0.5, logits.argmax(axis=-1)
    assert len(np.unique(expected)) > 1
    params, stats = network.arrays(segmenter)
    predict = tracking._predictor(Config(threshold=threshold), "unet", data)
    found = predict({"params": params, "stats": stats}, data.images)
    assert found.dtype == np.uint8
    assert np.mean(found != expected) < 0.005  # rounding


def test_without_the_package_it_is_said_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"pip install --editable '\.\[wandb\]'"):
        cv.run([*ARGUMENTS, "--track=wandb", f"--workdir={tmp_path / 'w'}"], Console(quiet=True))
    assert not (tmp_path / "w").exists()


def test_a_run_that_is_tried_again_has_a_log_of_its_own(tmp_path, monkeypatch, dataset):
    opened, closed = [], []

    class Log:
        def __init__(self, *given):
            opened.append(self)

        def log(self, row, picture):
            pass

        def close(self):
            closed.append(self)

    monkeypatch.setitem(tracking.TRACKERS, "tensorboard", Log)
    run, row = Run(0, 0, "unet"), {"epoch": 1}
    progress = types.SimpleNamespace(rows=[row], best_epoch=0)
    ended = EpochEnded(run, types.SimpleNamespace(row=row, progress=progress))
    twice = [Started(run, 1, 1, 4), ended, Started(run, 1, 1, 4), ended, Ended(run, {})]
    config = dataclasses.replace(configs.load("demo.py"), folds=2, grouped=False)
    assert list(tracking.follow(iter(twice), "tensorboard", config, dataset, tmp_path)) == twice
    assert len(opened) == 2
    assert closed == opened
