"""Images of five channels from training to masks: one image, one mask."""

from pathlib import Path

import numpy as np
import pytest
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


def check_masks(run: Path, output: Path) -> None:
    """Compare the masks of the three images with those of the arrays, by the runs in `run`."""
    members = load_all(run)
    probabilities = np.mean([one.predict(DATA.images[:3]) for one in members], axis=0)
    assert sorted(path.name for path in (output / "masks").iterdir()) == ["a.png", "b.png", "c.png"]
    for name, expected in zip("abc", probabilities, strict=True):
        mask = np.asarray(Image.open(output / f"masks/{name}.png"))
        np.testing.assert_array_equal(mask, decision.labels(expected, 0.5))
        assert np.asarray(Image.open(output / f"overlays/{name}.png")).shape == (32, 32, 3)


def test_a_sweep_predicts_a_mask_an_image(tmp_path, monkeypatch):
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: DATA)
    endings = ("_DAPI", "_GFP", "_RFP", "_BF", "_Cy5")
    settings = {"models": "sharp_unet", "folds": 2, "repeats": 1, "epochs": 1, "data.size": "32,32"}
    given = [f"--config.{name}={value}" for name, value in settings.items()]
    given += [f"--config.data.channel_files={','.join(endings)}"]
    assert cv.run(["--config=folder.py", f"--workdir={tmp_path / 'w'}", *given], CONSOLE) == 0
    assert (tmp_path / "w/report/report.html").is_file()
    output = tmp_path / "out"
    source = files(tmp_path / "in", endings)
    console = Console(record=True, width=1000)
    assert predict.run([f"--run={tmp_path / 'w'}", "--overlays", str(source), str(output)], console) == 0
    assert "3 inputs of 5 files, one a channel" in console.export_text()
    check_masks(tmp_path / "w", output)
    assert augmentations.run(["--config=folder.py", *given, f"--output={tmp_path / 'augmentations.png'}"], CONSOLE) == 0
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
