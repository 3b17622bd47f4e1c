"""A run on slices with their neighbours, from volumes on disk to masks on disk, and what it refuses."""

import dataclasses
from unittest.mock import MagicMock

import jax
import nibabel
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from launch import augmentations, cv, explain, predict
from launch.console import dataset, image, tracking
from launch.preview import hours, outlines, source, suggestions
from sharp_unet_jax.advice import duration
from sharp_unet_jax.config import Augment, Data
from sharp_unet_jax.data import pixels
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import display, loading, model_card
from sharp_unet_jax.report import records
from sharp_unet_jax.sweeps import sweep as training
from tests.conftest import shrink_models
from tests.datasets.formats.test_nifti import placed
from tests.tiny_sweep import CONFIG, make

RUN = "w/runs/unet/repeat0-fold0"
pytestmark = pytest.mark.usefixtures("tiny_models")


def volume(seed):
    """A bright box in slices of 24x16 pixels (width x height), of float32, and where it is."""
    rng = np.random.default_rng(seed)
    voxels, labels = rng.normal(100, 9, (24, 16, 4)).astype(np.float32), np.zeros((24, 16, 4), np.uint8)
    left, top = rng.integers(0, 14), rng.integers(0, 8)
    labels[left : left + 8, top : top + 6, 1:3] = 1
    return voxels + np.float32(400) * labels, labels


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A folder of scans, a sweep on them in `w`, and its data set."""
    top = tmp_path_factory.mktemp("neighbours")
    for part in ("images", "masks"):
        (top / "scans" / part).mkdir(parents=True)
    for number in range(4):
        for part, voxels in zip(("images", "masks"), volume(number), strict=True):
            placed(top / f"scans/{part}/p{number}.nii.gz", voxels, "RAS")
    data = Data(builder="folder", images=str(top / "scans"), data_dir=str(top / "built"), size=(16, 24), context=1)
    config = dataclasses.replace(CONFIG, data=data, models=("unet",), grouped=True, max_runs=1)
    with pytest.MonkeyPatch.context() as patch:
        shrink_models(patch)
        found = dataset.load(data, Console(quiet=True))
        make(top / "w", found, config)
    return top, found


def test_masks_of_volumes_are_those_of_the_sweep(sweep, tmp_path):
    """By the command from files, from Python by arrays, and in the sweep from the prepared images."""
    top, found = sweep
    run = loading.load(top / RUN)
    assert (run.channels, run.slice_channels, run.config.data.context) == (3, 1, 1)
    assert run._repr_html_().count("<img") == 2 * display.EXAMPLES
    console = Console(width=1000, record=True)
    output = tmp_path / "out"
    assert predict.run([f"--run={top / RUN}", "--overlays", str(top / "scans/images"), str(output)], console) == 0
    scores = records.load(top / "w")
    saved = dict(zip(scores.test_ids(run.name), scores.predictions(run.name), strict=True))
    assert len(saved) == 8, "two volumes of four slices"
    for name in sorted({each.rpartition("-")[0] for each in saved}):
        stored = nibabel.load(top / f"scans/images/{name}.nii.gz")
        mask = nibabel.load(output / f"masks/{name}.nii.gz")
        np.testing.assert_allclose(mask.affine, stored.affine)
        slices = np.asarray(mask.dataobj)[::-1, ::-1].transpose(2, 1, 0)
        expected = np.stack([saved[f"{name}-{index:03}"][..., 0] > 127 for index in range(4)])
        np.testing.assert_array_equal(slices, expected)
        voxels = np.asarray(stored.dataobj)[::-1, ::-1].transpose(2, 1, 0)
        np.testing.assert_array_equal(run.masks(voxels), expected)
        np.testing.assert_array_equal(run.masks(list(voxels[..., None])), expected)
    assert found.images.shape == (16, 16, 24, 3)


def test_pictures_show_the_slice_itself(sweep, tmp_path, monkeypatch):
    top, found = sweep
    drawn, shown = [], pixels.shown
    for module in (pixels, outlines):
        monkeypatch.setattr(module, "shown", lambda image: drawn.append(image.shape[-1]) or shown(image))
    monkeypatch.setattr(explain, "DPI", 30)
    run = loading.load(top / RUN)
    once = dataclasses.replace(run.config, epochs=1, max_runs=1)

    def track():
        events = training.train(once, found, tmp_path / "w", jax.devices()[:1])
        list(tracking.follow(events, "tensorboard", once, found, tmp_path / "w"))

    for draw in (
        track,
        run._repr_html_,
        lambda: explain.run([f"--run={top / RUN}", "--image=p0-001", f"--output={tmp_path}"]),
        lambda: augmentations.sheet(dataclasses.replace(run.config, augment=Augment(flip=1.0)), found),
    ):
        draw()
        assert set(drawn) == {1}
        drawn.clear()


def test_what_has_no_neighbours_is_refused(sweep, tmp_path):
    top, _ = sweep
    run = loading.load(top / RUN)
    with pytest.raises(InputError, match=r"slices with their neighbours \(data.context=1\): give all of one volume"):
        run.predict([np.zeros((16, 24), np.float32)])
    with pytest.raises(InputError, match="give all of one volume"):
        run.predict([np.zeros((16, 24), np.uint8), np.zeros((16, 20), np.uint8)])
    Image.fromarray(np.zeros((16, 24), np.uint8)).save(tmp_path / "a.png")
    console = Console(width=1000, record=True)
    assert predict.run([f"--run={top / RUN}", str(tmp_path / "a.png"), str(tmp_path / "out")], console) == 1
    assert (
        "a.png: is a single picture, and the run was trained on slices with their neighbours" in console.export_text()
    )
    with pytest.raises(InputError, match=r"a.png: the run was trained on slices with their neighbours; name an id"):
        image.load(top / RUN, run, str(tmp_path / "a.png"))
    assert image.load(top / RUN, run, "p0-001")[0].shape == (16, 24, 3)


def test_the_model_card_says_what_the_channels_are(sweep):
    top, _ = sweep
    run = loading.load(top / RUN)
    card = model_card.write([run], "onnx", "a.onnx", "")
    assert "(N, H, W, 3)" in card
    assert "Channels are those of 3 neighbouring slices of a volume in their order, the slice itself in" in card


def test_prepare_counts_the_channels_of_neighbours_and_suggests_groups(sweep, tmp_path, monkeypatch):
    top, _ = sweep
    config = loading.load(top / RUN).config
    config = dataclasses.replace(config, grouped=False)
    found, profile = source.inspect(config.data, Console(quiet=True))
    assert (found.channels, found.faults) == (1, [])
    seen = []
    monkeypatch.setattr(
        suggestions.settings, "settings", lambda *args, channels, **options: seen.append(channels) or []
    )
    monkeypatch.setattr(suggestions.memory, "at_hand", lambda device: 2**30)
    advice = suggestions.suggest(config, [], found, profile, tmp_path, jax.devices()[0])
    assert seen == [3]
    monkeypatch.setattr(duration, "measure", lambda *args, channels, **options: seen.append(channels) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        hours.text(config, found, profile.sizes, jax.devices()[:1])
    assert seen == [3, 3]
    assert [(each.field, each.value) for each in advice] == [("grouped", "true")]


def test_cv_warns_of_volumes_that_folds_split(sweep, tmp_path, monkeypatch):
    top, _ = sweep
    config = loading.load(top / RUN).config
    for grouped in (False, True):
        console = Console(width=1000, record=True)
        changed = dataclasses.replace(config, grouped=grouped)
        monkeypatch.setattr(cv, "_train", lambda *args: 1 / 0)
        monkeypatch.setattr(cv, "cv_process", MagicMock(stop_on_signals=lambda console: (None, None)))
        command = cv.Command(changed, tmp_path / "w", (0, 1), None, "", "")
        monkeypatch.setattr(cv.cv_arguments, "parse", lambda *args, command=command: command)
        with pytest.raises(ZeroDivisionError):
            cv.run([], console)
        assert ("warning: 16 images are of 4 groups" in console.export_text()) is not grouped
