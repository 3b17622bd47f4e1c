"""Images of five channels from training to masks: one image, one mask."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console

import sharp_unet_jax
from launch import augmentations, cv, predict
from sharp_unet_jax import decision
from sharp_unet_jax.inference.trained import load_all
from tests.conftest import squares

pytestmark = pytest.mark.usefixtures("tiny_models")

DATA = squares(n=8, size=(32, 32), channels=5)
CONSOLE = Console(quiet=True)


def files(folder: Path, endings: tuple[str, ...]) -> Path:
    """Write three images, a file a channel."""
    folder.mkdir()
    for name, image in zip("abc", DATA.images[:3], strict=True):
        for ending, plane in zip(endings, np.moveaxis(image, -1, 0), strict=True):
            Image.fromarray(plane).save(folder / f"{name}{ending}.png")
    return folder


def check_masks(run: Path, output: Path, suffix: str = ".png") -> None:
    """Compare the masks of the three images with those of the arrays, by the runs in `run`."""
    members = load_all(run)
    probabilities = np.mean([one.predict(DATA.images[:3]) for one in members], axis=0)
    assert sorted(path.name for path in (output / "masks").iterdir()) == [f"{name}{suffix}" for name in "abc"]
    for name, expected in zip("abc", probabilities, strict=True):
        mask = np.asarray(Image.open(output / f"masks/{name}{suffix}"))
        np.testing.assert_array_equal(mask, decision.labels(expected, 0.5))
        assert np.asarray(Image.open(output / f"overlays/{name}{suffix}")).shape == (32, 32, 3)


@pytest.fixture
def pictures(tmp_path):
    """Return a folder of eight TIFs of five channels, beside each other in the file, and their masks."""
    for kind in ("images", "masks"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
    for name, image, mask in zip("abcdefgh", DATA.images, DATA.masks, strict=True):
        options = {"photometric": "minisblack", "planarconfig": "contig"}
        tifffile.imwrite(tmp_path / "mine" / "images" / f"{name}.tif", image, **options)
        Image.fromarray(mask * np.uint8(255)).save(tmp_path / "mine" / "masks" / f"{name}.png")
    return tmp_path / "mine"


@pytest.fixture
def settings(pictures, tmp_path):
    given = {"models": "sharp_unet", "folds": 2, "repeats": 1, "epochs": 1, "data.size": "32,32"}
    given |= {"data.images": pictures, "data.data_dir": tmp_path / "data"}
    return ["--config=folder.py", *(f"--config.{name}={value}" for name, value in given.items())]


def test_a_sweep_predicts_a_mask_an_image(pictures, settings, tmp_path):
    console, run = Console(record=True, width=1000), tmp_path / "w"
    assert cv.run([*settings, f"--workdir={run}"], console) == 0
    assert ", 5 channels; " in console.export_text()
    assert (run / "report/report.html").is_file()
    given = [str(pictures / "images" / f"{name}.tif") for name in "abc"]
    assert predict.run([f"--run={run}", "--overlays", *given, str(tmp_path / "out")], CONSOLE) == 0
    check_masks(run, tmp_path / "out", ".tif")
    assert augmentations.run([*settings, f"--output={tmp_path / 'augmentations.png'}"], CONSOLE) == 0


def test_a_sweep_of_files_a_channel_predicts_such_files(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: DATA)
    monkeypatch.setattr(cv, "_report", lambda folder, console: None)
    endings = ("_DAPI", "_GFP", "_RFP", "_BF", "_Cy5")
    monkeypatch.setattr(
        "launch.console.dataset.completed", lambda data: dataclasses.replace(data, channel_files=endings)
    )
    assert cv.run([*settings, f"--workdir={tmp_path / 'w'}"], CONSOLE) == 0
    source, console = files(tmp_path / "in", endings), Console(record=True, width=1000)
    assert predict.run([f"--run={tmp_path / 'w'}", "--overlays", str(source), str(tmp_path / "out")], console) == 0
    assert "3 inputs of 5 files, one a channel" in console.export_text()
    check_masks(tmp_path / "w", tmp_path / "out")
    (source / "b_RFP.png").unlink()
    console = Console(record=True, width=1000)
    assert predict.run([f"--run={tmp_path / 'w'}", str(source), str(tmp_path / "rest")], console) == 1
    assert f"failed: {source}/b_DAPI.png: the image has no file of _RFP; add it" in console.export_text()
    assert sorted(path.name for path in (tmp_path / "rest/masks").iterdir()) == ["a.png", "c.png"]


def test_a_fit_predicts_a_mask_an_image_from_nnu_nets_files(tmp_path):
    sharp_unet_jax.fit("unet", DATA.images, DATA.masks, epochs=1, folder=tmp_path / "w", validation=0.5)
    source = files(tmp_path / "in", tuple(f"_{channel:04}" for channel in range(5)))
    assert predict.run([f"--run={tmp_path / 'w'}", "--overlays", str(source), str(tmp_path / "out")], CONSOLE) == 0
    check_masks(tmp_path / "w", tmp_path / "out")
