"""results/replicate.py: a data set is carried unchanged, and a second call trains what the first one has not."""

import dataclasses
import json
import signal
import tarfile

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from launch.console import dataset
from results import replicate
from sharp_unet_jax import ragged
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from tests.conftest import squares


@pytest.fixture
def console():
    return Console(width=160, record=True)


@pytest.fixture(autouse=True)
def signals():
    """Leave the test's process as it was: without an alarm, and stopped by SIGTERM."""
    numbers = signal.SIGALRM, signal.SIGTERM
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    signal.alarm(0)
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 4)])
def test_a_data_set_is_carried_unchanged(tmp_path, channels, classes):
    data = squares(n=7, size=(16, 24), channels=channels, classes=classes)
    replicate.carry(data, tmp_path)
    back = replicate.carried(tmp_path, (16, 24))
    assert back.sha256 == data.sha256
    np.testing.assert_array_equal(back.images, data.images)
    assert (back.name, back.classes) == (data.name, data.classes)
    masks = np.asarray(Image.open(tmp_path / "masks.png")).copy()
    masks[0, 0] ^= 1
    Image.fromarray(masks).save(tmp_path / "masks.png")
    with pytest.raises(InputError, match="carry them again"):
        replicate.carried(tmp_path, (16, 24))


def test_images_of_their_own_sizes_and_masks_to_be_scored_by_are_carried(tmp_path):
    rng = np.random.default_rng(0)
    sizes = [(16, 24), (9, 40), (30, 5)]
    images, masks, native = (
        ragged.of([rng.integers(0, 2, (k * h, k * w, *shape), np.uint8) for h, w in sizes])
        for k, shape in ((1, (1,)), (1, ()), (2, ()))
    )
    names = ("a", "b", "c")
    data = Dataset("own", images, masks, names, names, ("background", "cell"), native=native)
    replicate.carry(data, tmp_path)
    back = replicate.carried(tmp_path, (8, 8))
    assert back.sha256 == data.sha256
    for part in ("images", "masks", "native"):
        for one, other in zip(getattr(back, part), getattr(data, part), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("tiny_programs")
def test_a_second_call_trains_what_the_first_has_not(tmp_path, monkeypatch, console):
    data = dataclasses.replace(squares(n=12, size=(16, 24)), name="cvc_clinicdb")
    monkeypatch.setattr(dataset, "load", lambda data_config, console: data)
    fields = ["--config.data.size=16,24", "--config.epochs=1", "--config.repeats=2", "--config.models=unet"]
    records = tmp_path / "back" / "records.tgz"
    replicate.main(["carry", str(tmp_path / "carried"), *fields], console)
    train = ["train", str(tmp_path / "carried"), f"--records={records}", "--seconds=300", *fields]
    replicate.main([*train, "--config.max_runs=1"], console)
    assert scores(records) == ["unet/repeat0-fold0"]
    replicate.main(train, console)
    assert scores(records) == ["unet/repeat0-fold0", "unet/repeat1-fold0"]
    assert console.export_text().count("unet/repeat0-fold0: Jaccard") == 1
    with tarfile.open(records) as archive:
        names = archive.getnames()
        config = json.load(archive.extractfile("./config.json"))
    assert (config["split"], config["monitor"]) == ("authors", "soft_jaccard")
    assert {"./tables.md", "./scores.csv", "./environment.json", "./folds.json"} <= set(names)
    assert not any(left in name for name in names for left in ("checkpoint", "resume", "predictions", ".locks"))


def scores(records):
    """The names of the runs in the archive that are finished."""
    with tarfile.open(records) as archive:
        runs = [archive.extractfile(name) for name in archive.getnames() if name.endswith("record.json")]
        return sorted(json.load(run)["run"] for run in runs)


@pytest.mark.usefixtures("tiny_programs")
def test_the_time_limit_stops_the_training(tmp_path, monkeypatch, console):
    data = dataclasses.replace(squares(n=12, size=(16, 24)), name="cvc_clinicdb")
    replicate.carry(data, tmp_path)
    monkeypatch.setattr(signal, "alarm", lambda seconds: signal.raise_signal(signal.SIGALRM))
    fields = ["--config.data.size=16,24", "--config.epochs=1"]
    replicate.main(["train", str(tmp_path), f"--records={tmp_path / 'records.tgz'}", *fields], console)
    assert "give the same command again to go on" in console.export_text()
    assert not (tmp_path / "records.tgz").exists()
