"""Images of five channels from training to masks: one image, one mask."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console

import sharp_unet_jax
from launch import augmentations, cv, predict
from sharp_unet_jax import decision
from sharp_unet_jax.inference.loading import load_all
from tests.conftest import squares

pytestmark = pytest.mark.usefixtures("tiny_models")

DATA = squares(n=8, size=(32, 32), channels=5)
NAMES = "abcdefgh"
CONSOLE = Console(quiet=True)


def files(folder: Path, endings: tuple[str, ...]) -> Path:
    """Write images of as many channels as there are endings, a file per channel."""
    folder.mkdir(parents=True)
    for name, image in zip(NAMES, DATA.images, strict=True):
        for channel, ending in enumerate(endings):
            Image.fromarray(image[..., channel]).save(folder / f"{name}{ending}.png")
    return folder


def masks(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, mask in zip(NAMES, DATA.masks, strict=True):
        Image.fromarray(mask * np.uint8(255)).save(folder / f"{name}.png")


def sweep(folder: Path, workdir: Path) -> tuple[list[str], str]:
    """Cross-validate the images in a folder; return the arguments that name the data, and what was printed."""
    given = {"models": "sharp_unet", "folds": 2, "repeats": 1, "epochs": 1, "data.size": "32,32"}
    given |= {"data.images": folder, "data.data_dir": workdir.parent / "data"}
    arguments, console = [f"--config.{name}={value}" for name, value in given.items()], Console(record=True, width=1000)
    assert cv.run(["--config=folder.py", *arguments, f"--workdir={workdir}"], console) == 0
    return arguments, console.export_text()


def check_masks(run: Path, output: Path, channels: int, suffix: str = ".png") -> None:
    """Compare the masks of the images with those of the arrays, by the runs in `run`."""
    probabilities = np.mean([one.predict(DATA.images[..., :channels]) for one in load_all(run)], axis=0)
    assert sorted(path.name for path in (output / "masks").iterdir()) == [f"{name}{suffix}" for name in NAMES]
    for name, expected in zip(NAMES, probabilities, strict=True):
        mask = np.asarray(Image.open(output / f"masks/{name}{suffix}"))
        np.testing.assert_array_equal(mask, decision.labels(expected, 0.5))
        assert np.asarray(Image.open(output / f"overlays/{name}{suffix}")).shape == (32, 32, 3)


@pytest.mark.slow
def test_a_sweep_of_tifs_predicts_a_mask_an_image(tmp_path):
    images, run = tmp_path / "mine/images", tmp_path / "w"
    images.mkdir(parents=True)
    for name, image in zip(NAMES, DATA.images, strict=True):
        tifffile.imwrite(images / f"{name}.tif", image, photometric="minisblack", planarconfig="contig")
    masks(tmp_path / "mine/masks")
    arguments, text = sweep(tmp_path / "mine", run)
    assert ", 5 channels; " in text
    assert (run / "report/report.html").is_file()
    assert predict.run([f"--run={run}", "--overlays", str(images), str(tmp_path / "out")], CONSOLE) == 0
    check_masks(run, tmp_path / "out", 5, ".tif")
    picture = tmp_path / "augmentations.png"
    assert augmentations.run(["--config=folder.py", *arguments, f"--output={picture}"], CONSOLE) == 0
    assert picture.is_file()


@pytest.mark.slow
def test_a_sweep_of_files_a_channel_predicts_such_files(tmp_path, monkeypatch):
    """Three channels, which would pass for RGB: the config keeps that they are files of their own."""
    monkeypatch.setattr(cv, "_report", lambda folder, console: None)
    images, run = files(tmp_path / "mine/images", ("_0000", "_0001", "_0002")), tmp_path / "w"
    masks(tmp_path / "mine/masks")
    sweep(tmp_path / "mine", run)
    console = Console(record=True, width=1000)
    assert predict.run([f"--run={run}", "--overlays", str(images), str(tmp_path / "out")], console) == 0
    assert "8 inputs of 3 files, one per channel" in console.export_text()
    check_masks(run, tmp_path / "out", 3)
    (images / "b_0001.png").unlink()
    console = Console(record=True, width=1000)
    assert predict.run([f"--run={run}", str(images), str(tmp_path / "rest")], console) == 1
    assert f"failed: {images}/b_0000.png: the image has no file of _0001; add it" in console.export_text()
    assert len(list((tmp_path / "rest/masks").iterdir())) == 7


def test_a_fit_predicts_a_mask_an_image_from_nnu_nets_files(tmp_path):
    sharp_unet_jax.fit("unet", DATA.images, DATA.masks, epochs=1, folder=tmp_path / "w", validation=0.5)
    source = files(tmp_path / "in", tuple(f"_{channel:04}" for channel in range(5)))
    assert predict.run([f"--run={tmp_path / 'w'}", "--overlays", str(source), str(tmp_path / "out")], CONSOLE) == 0
    check_masks(tmp_path / "w", tmp_path / "out", 5)
