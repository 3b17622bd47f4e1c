"""Commands on a run that was trained on crops at a resolution in millimetres: files say the size of their pixels."""

import dataclasses
import json
import shutil
import warnings

import nibabel
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from launch import explain, predict
from launch.console import ending, image
from sharp_unet_jax import cleaning, decision
from sharp_unet_jax.data.resize import resize
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError, ResolutionWarning
from tests import chosen, crop_runs
from tests.conftest import shrink_models

pytestmark = pytest.mark.usefixtures("tiny_models")

RUN = "runs/sharp_unet/repeat0-fold0"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Return a workdir of a run at 2 mm per pixel, with its prepared images on disk."""
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
    sweep = shutil.copytree(sweep, tmp_path / "w")
    chosen.write(sweep, {"sharp_unet": (0.45, False, 20)})
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
    labels = [decision.labels(one, 0.45) for one in run.predict(list(slices), spacing=(1, 3))]
    cleaned = [cleaning.clean(one, Rule(0.45, smallest=20), pixels=2**2 / 3) for one in labels]
    np.testing.assert_allclose(mask.mean(), np.mean(cleaned), rtol=0.02)  # sizes are rounded to whole pixels
    assert {path.name for path in (tmp_path / "out/masks").iterdir()} == {"v.nii.gz"}
    text = console.export_text()
    assert "trained on crops, on crops of 16x24 (height x width) at 2 mm per pixel" in text
    (failed,) = [line for line in text.splitlines() if line.startswith("failed")]
    assert f"{tmp_path}/in/unknown.png: the run was trained at 2 mm per pixel (data.spacing), and the size of" in failed


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


@pytest.fixture
def explained(monkeypatch):
    """Keep what is explained: the image and the region of each call."""
    monkeypatch.setattr(explain, "DPI", 30)
    seen, gradcam = [], explain.explain.gradcam

    def spied(run, picture, label, region):
        seen.append(picture)
        return gradcam(run, picture, label, region)

    monkeypatch.setattr(explain.explain, "gradcam", spied)
    return seen


def at_training(example, size):
    """Return an example as the run was trained on it: rows 1 mm and columns 3 mm apart become 2 mm."""
    return resize(example["image"], example["mask"][..., 0], size, "crop")


@pytest.mark.slow
def test_one_crop_of_a_larger_image_is_explained(sweep, tmp_path, capsys, explained):
    picture, mask = at_training(crop_runs.examples(channels=1)[0], (35, 152))
    loaded, truth = image.load(sweep / RUN, crop_runs.load(sweep), "000")
    np.testing.assert_array_equal(loaded, picture)
    np.testing.assert_array_equal(truth, mask)
    command = [f"--run={sweep / RUN}", "--image=000", "--region=image", f"--output={tmp_path / 'out'}"]
    rows, columns = np.nonzero(mask)
    middle = int(rows.mean()), int(columns.mean())
    for more, (top, left), stem in (
        ([], (min(max(middle[0] - 8, 0), 19), min(max(middle[1] - 12, 0), 128)), "000"),
        (["--at=20,70"], (12, 58), "000-at-12-58"),
        (["--at=34,151"], (19, 128), "000-at-19-128"),
    ):
        explain.run([*command, *more])
        np.testing.assert_array_equal(explained.pop(), picture[top : top + 16, left : left + 24])
        said = f"explained: 16x24 pixels of 35x152 at 2 mm per pixel, rows from {top}, columns from {left}\n"
        assert said in capsys.readouterr().out
        assert (tmp_path / f"out/gradcam-{stem}.png").exists()
    for wrong in ("35,0", "0,152", "-1,3", "7"):
        with pytest.raises(InputError, match=rf"--at={wrong}: give ROW,COLUMN within 35x152 pixels"):
            explain.run([*command, f"--at={wrong}"])


@pytest.mark.slow
def test_a_smaller_image_and_a_file_are_explained(sweep, tmp_path, capsys, explained):
    picture, _ = at_training(crop_runs.examples(channels=1)[1], (6, 60))
    out = f"--output={tmp_path / 'out'}"
    explain.run([f"--run={sweep / RUN}", "--image=001", "--region=image", "--at=3,30", out])
    np.testing.assert_array_equal(explained.pop(), picture[:, 18:42])
    file = nibabel.Nifti1Image(np.arange(40 * 50, dtype=np.uint16).reshape(50, 40, 1) // 8, np.diag([-2, -2, 4, 1]))
    file = nibabel.Nifti1Image(np.asarray(file.dataobj).astype(np.uint8), file.affine)
    nibabel.save(file, tmp_path / "v.nii.gz")
    explain.run([f"--run={sweep / RUN}", f"--image={tmp_path / 'v.nii.gz'}", "--region=image", out])
    np.testing.assert_array_equal(explained.pop()[..., 0], np.asarray(file.dataobj)[13:37, 12:28, 0].T)
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "unknown.png")
    with pytest.raises(InputError, match=r"unknown.png: the run was trained at 2 mm per pixel"):
        explain.run([f"--run={sweep / RUN}", f"--image={tmp_path / 'unknown.png'}", out])


def test_a_crop_of_a_run_on_whole_images_is_refused(finished, tmp_path):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "a.png")
    run = f"--run={finished / 'runs/unet/repeat0-fold0'}"
    with pytest.raises(InputError, match=r"--at=3,3: unet/repeat0-fold0 was trained on whole images"):
        explain.run([run, f"--image={tmp_path / 'a.png'}", "--at=3,3", f"--output={tmp_path / 'out'}"])


def test_crops_of_two_resolutions_are_not_compared(sweep):
    run = crop_runs.load(sweep)
    other = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, spacing=1.0))
    with pytest.raises(InputError, match=r"differ in spacing, 2.0 and 1.0: compare apart"):
        explain._check_alike([run, dataclasses.replace(run, config=other)])
