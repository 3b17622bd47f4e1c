"""The model card that the command writes: it says what the sweep recorded."""

import dataclasses
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from launch import export
from sharp_unet_jax.data import pixels
from sharp_unet_jax.inference import loading, model_card
from sharp_unet_jax.inference.export import describe
from sharp_unet_jax.models import MODELS
from tests.edits import edit_folds
from tests.inference.test_export import fresh_run

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture
def sweep(done, monkeypatch):
    """Return the finished sweep under the name of a data set whose terms are known; export writes only a name."""
    edit_folds(done, dataset="isic2018/task1", window=[-512.0, 512.0])
    monkeypatch.setattr("sharp_unet_jax.inference.export.to_stablehlo", lambda runs: runs[0].model.encode())
    return done


def card(path, folder, file_format="stablehlo", *more):
    """Export the run in `path` and return its card in one line."""
    output = folder / "model"
    export.run([f"--run={path}", f"--format={file_format}", f"--output={output}", *more], Console(file=io.StringIO()))
    return " ".join((folder / "model.md").read_text().split())


def rows(text):
    """Return (run, test images, Jaccard, Dice) for each row of the card's table."""
    return re.findall(r"\| (\w+/repeat\d-fold\d) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|", text)


def test_a_run(sweep, tmp_path):
    text = card(sweep / "runs/unet/repeat0-fold1", tmp_path)
    assert text.startswith(
        "# unet trained on isic2018/task1 Classes: 0 background, 1 square. A pixel's class is: above"
    )
    assert "Not a medical device: not for diagnosis" in text
    assert "bind what was trained on it too: CC BY-NC 4.0. Cite Codella et al. 2019" in text
    assert "Protocol `paper`, folds: 2, repeats: 1, seed: 0." in text
    assert "chosen on the fold that is scored, which flatters" in text
    assert "Folds were drawn at random, whatever the groups." in text
    assert 'open("model", "rb")' in text
    assert "uint8 (N, H, W, 3)" in text
    assert "Resizing to 16x24 (stretch)" in text
    assert "Deeper images are windowed before: -512 to 512 becomes 0 to 255." in text
    scores = pd.read_csv(sweep / "scores.csv").set_index(["model", "fold"]).loc["unet", 1]
    ((run, images, jaccard, dice),) = rows(text)
    assert (run, images) == ("unet/repeat0-fold1", "6")
    assert [float(jaccard), float(dice)] == pytest.approx([scores["jaccard"], scores["dice"]], abs=1e-4)
    assert "| mean |" not in text
    assert "mean of these runs" not in text
    assert text.endswith(
        "Network: Ronneberger et al. 2015, <https://arxiv.org/abs/1505.04597>. Made by sharp_unet_jax."
    )


def test_a_workdir(sweep, tmp_path):
    text = card(sweep, tmp_path, "stablehlo", "--model=sharp_unet")
    scores = pd.read_csv(sweep / "scores.csv").query("model == 'sharp_unet'")
    assert [run for run, *_ in rows(text)] == ["sharp_unet/repeat0-fold0", "sharp_unet/repeat0-fold1"]
    for column, name in ((2, "jaccard"), (3, "dice")):
        assert [float(row[column]) for row in rows(text)] == pytest.approx(scores[name].tolist(), abs=1e-4)
    mean = re.search(r"\| mean \| \| ([\d.]+) \| ([\d.]+) \|", text)
    assert [float(each) for each in mean.groups()] == pytest.approx(scores[["jaccard", "dice"]].mean(), abs=1e-4)
    scored = "The mean of these runs predicts. The mean itself was not scored"
    assert f"{scored}: no image is new to all of them." in text
    config = dataclasses.replace(loading.load_all(sweep, "unet")[0].config, folds=1)
    runs = [dataclasses.replace(run, config=config) for run in loading.load_all(sweep, "unet")]
    assert f"{scored}.\n" in model_card.fill(runs, "", "")  # seeds of one division
    network, sharp = re.findall(r"(?:Network|Sharp blocks): (.+?), <https://", text)
    assert (network, sharp) == ("Ronneberger et al. 2015", "Zunair & Ben Hamza 2021")


def test_several_networks(sweep, tmp_path):
    text = card(sweep, tmp_path, "stablehlo", "--model=sharp_unet,unet")
    assert text.startswith("# unet and sharp_unet trained on isic2018/task1 ")
    assert [run for run, *_ in rows(text)] == [f"{m}/repeat0-fold{k}" for k in (0, 1) for m in ("unet", "sharp_unet")]
    assert re.findall(r"(?:Network|Sharp blocks): (.+?), <https://", text) == [
        "Ronneberger et al. 2015",
        "Zunair & Ben Hamza 2021",
    ]


def test_a_network_of_ones_own_cites_nothing(done, tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "unet", MODELS["unet"]._replace(paper=""))
    assert "Network:" not in card(done / "runs/unet/repeat0-fold0", tmp_path, "safetensors")


def test_what_is_not_known_is_said(done, tmp_path):
    text = card(done / "runs/unet/repeat0-fold0", tmp_path, "safetensors")
    assert "not known here: ask who gave you the data." in text
    assert "clipped" not in text


def test_a_deep_image_is_windowed_by_the_code_of_the_card(tmp_path, monkeypatch):
    deep = np.random.default_rng(0).integers(-600, 2000, (9, 8, 3)).astype(np.int16)
    np.save(tmp_path / "image.npy", deep)
    monkeypatch.chdir(tmp_path)
    for window in ((-512.0, 512.0), (-512.0, 512.0, 0.0, 90.5, 7.0, 2000.0)):
        run = dataclasses.replace(fresh_run(), window=window)
        exec(model_card.reading(run), names := {})
        np.testing.assert_array_equal(names["image"], pixels.as_trained(deep, 3, window))
        assert json.loads(describe([run])["window"]) == list(window)


def test_a_window_of_each_channel_holds_for_neighbouring_slices_too():
    run = dataclasses.replace(fresh_run(channels=6), window=(0.0, 100.0, 50.0, 90.0))
    run = dataclasses.replace(
        run, config=dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, context=1))
    )
    assert "np.reshape([0.0, 100.0, 50.0, 90.0, 0.0, 100.0, 50.0, 90.0, 0.0, 100.0, 50.0, 90.0]" in model_card.reading(
        run
    )


def test_the_channels_of_neighbouring_slices_are_no_colours():
    run = fresh_run()
    volumes = dataclasses.replace(run.config.data, context=1)
    text = model_card.write(
        [dataclasses.replace(run, config=dataclasses.replace(run.config, data=volumes))], "onnx", "m", ""
    )
    assert "red, green, blue" in model_card.write([run], "onnx", "m", "")
    assert "red, green, blue" not in text
    assert 'np.load("image.npy")  # (H, W, 3) uint8' in text
