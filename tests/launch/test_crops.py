"""Commands on a run that was trained on crops at a resolution in millimetres: files say the size of their pixels."""

import dataclasses
import json
import warnings

import nibabel
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from launch import predict
from launch.console import ending
from sharp_unet_jax.errors import ResolutionWarning
from tests import crop_runs
from tests.conftest import shrink_models

pytestmark = pytest.mark.usefixtures("tiny_models")

RUN = "runs/sharp_unet/repeat0-fold0"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Return a workdir of a run at 2 mm a pixel, with its prepared images on disk."""
    top = tmp_path_factory.mktemp("crops")
    source = crop_runs.examples(channels=1, spacing=(1, 3))
    data = dataclasses.replace(crop_runs.DATA, spacing=2.0)
    with pytest.MonkeyPatch.context() as patch:
        shrink_models(patch)
        crop_runs.make(top / "w", source, data, cache=top / "prepared", max_runs=1)
    (top / "w/data.json").write_text(json.dumps({"prepared": str(top / "prepared")}))
    return top / "w"


@pytest.fixture
def console():
    return Console(width=1000, record=True)


def test_masks_of_files_that_say_the_size_of_their_pixels(sweep, tmp_path, console):
    (tmp_path / "in").mkdir()
    slices = np.stack([example["image"][..., 0] for example in crop_runs.examples(6, channels=1)[:6:5]])
    image = nibabel.Nifti1Image(slices.transpose(2, 1, 0), np.diag([-3, -1, 4, 1]))  # columns are 3 mm apart
    nibabel.save(image, tmp_path / "in/v.nii.gz")
    Image.fromarray(slices[0]).save(tmp_path / "in/unknown.png")
    run = crop_runs.load(sweep)
    assert predict.run([f"--run={sweep / RUN}", str(tmp_path / "in"), str(tmp_path / "out")], console) == 1
    mask = np.asarray(nibabel.load(tmp_path / "out/masks/v.nii.gz").dataobj).transpose(2, 1, 0)
    assert 0 < mask.mean() < 1
    np.testing.assert_array_equal(mask, run.masks(list(slices), spacing=(1, 3)))
    assert {path.name for path in (tmp_path / "out/masks").iterdir()} == {"v.nii.gz"}
    text = console.export_text()
    assert "trained on crops on crops of 16x24 (height x width) at 2 mm a pixel" in text
    (failed,) = [line for line in text.splitlines() if line.startswith("failed")]
    assert f"{tmp_path}/in/unknown.png: the run was trained at 2 mm a pixel (data.spacing), and the size of" in failed


def test_tiles_of_a_run_on_whole_images_are_warned_of_in_one_line(finished, tmp_path, monkeypatch):
    for number in range(2):
        Image.fromarray(np.full((20, 30, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    files = [str(tmp_path / f"{number}.png") for number in range(2)]
    run = f"--run={finished / 'runs/unet/repeat0-fold0'}"
    with pytest.warns(ResolutionWarning, match="whole images resized to 16x24, and tiles .* look unlike") as caught:
        assert predict.run([run, "--tile=16,16", *files, str(tmp_path / "out")], Console(quiet=True)) == 0
    assert len(caught) == 1
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    ending.shorten_warnings()
    line = warnings.formatwarning(caught[0].message, ResolutionWarning, "a.py", 1)
    assert line == f"warning: {caught[0].message}\n"


def test_a_tile_of_a_run_on_crops_is_fine(sweep, tmp_path, console):
    image = nibabel.Nifti1Image(np.zeros((30, 20, 1), np.uint8), np.diag([-2, -2, 4, 1]))
    nibabel.save(image, tmp_path / "v.nii.gz")
    arguments = [f"--run={sweep / RUN}", "--tile=32,32", "--probabilities", str(tmp_path / "v.nii.gz")]
    assert predict.run([*arguments, str(tmp_path / "out")], console) == 0
    found = np.asarray(nibabel.load(tmp_path / "out/probabilities/v.nii.gz").dataobj)
    (expected,) = crop_runs.load(sweep).predict(np.zeros((1, 20, 30), np.uint8), spacing=(2, 2), tile=(32, 32))
    np.testing.assert_allclose(found[:, :, 0].T, expected[..., 0], atol=1e-6)
