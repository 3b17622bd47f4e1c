"""Shared models: the masks are those of the workdir, nothing private is in the files, damage is one line."""

import dataclasses
import json
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import safetensors.numpy
from rich.console import Console

import sharp_unet_jax
from launch import explain
from launch import export as export_command
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import export, loading, shared
from tests import chosen
from tests.conftest import shrink_models, squares

pytestmark = pytest.mark.usefixtures("tiny_models")

BOTH = ["unet", "sharp_unet"]


@pytest.fixture(scope="module")
def sweep(finished, tmp_path_factory):
    """The finished sweep; a rule was chosen for the mean of its networks."""
    folder = shutil.copytree(finished, tmp_path_factory.mktemp("shared") / "w")
    chosen.write(folder, {"unet": (0.4,), "sharp_unet": (0.45,)}, (BOTH, (0.47, True, 2)))
    return folder


@pytest.fixture(scope="module")
def written(sweep, tmp_path_factory):
    """A shared model of four runs."""
    folder = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        shrink_models(patch)
        shared.write(folder, loading.load_all(sweep, "chosen"), "# Card\n")
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "model"))


def test_a_shared_model_is_that_of_the_workdir(sweep, folder):
    here, there = sharp_unet_jax.load(sweep, "chosen"), sharp_unet_jax.load(folder)
    images = [image[:, : 24 - index] for index, image in enumerate(squares().images)]
    masks = there.masks(images)
    np.testing.assert_equal(masks, here.masks(images))
    assert 0 < np.mean([mask.mean() for mask in masks]) < 1
    np.testing.assert_equal(there.predict(images, flips=True), here.predict(images, flips=True))
    assert there.rule == here.rule == Rule(0.47, True, 2)
    assert repr(there) == repr(here)
    assert sharp_unet_jax.load(folder, plain=True).rule == Rule(0.5)
    for one, other in zip(there.runs, here.runs, strict=True):
        assert (one.name, one.classes, one.config, one.channels) == (
            other.name,
            other.classes,
            other.config,
            other.channels,
        )


def test_what_needs_a_workdir_says_so(folder, tmp_path):
    given = [f"--run={folder}", f"--output={tmp_path / 'out'}"]
    with pytest.raises(InputError, match="is a shared model: give the workdir or a run that it was made of"):
        explain.run([*given, "--image=003"])
    with pytest.raises(InputError, match="has 4: export one from its workdir"):
        export_command.run([*given, "--format=safetensors"], Console(quiet=True))


def test_who_may_read_one_file_may_read_all(folder):
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


def test_one_run_comes_back_as_one_run_with_its_window(sweep, tmp_path):
    run = loading.load_run(sweep / "runs/unet/repeat0-fold1", plain=True)
    run = dataclasses.replace(run, window=(-512.0, 512.0), clipped=(0.1, 0.2))
    shared.write(tmp_path, [run], "")
    again = sharp_unet_jax.load(tmp_path)
    assert (again.name, again.window, again.clipped) == (run.name, run.window, run.clipped)
    assert repr(again) == repr(run)
    deep = [np.linspace(-600, 600, 16 * 24 * 3).reshape(16, 24, 3)]
    np.testing.assert_equal(again.predict(deep), run.predict(deep))


def test_no_folder_image_group_or_digest_of_them_is_in_the_files(sweep, tmp_path):
    data = {"manual_dir": "/home/ada/scans", "data_dir": "/home/ada/built", "images": "/home/ada/Smith_J/images"}
    run = loading.load_run(sweep / "runs/unet/repeat0-fold0")
    config = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, **data), weights="/home/ada/w")
    shared.write(tmp_path, [dataclasses.replace(run, config=config)], "")
    content = b"".join((tmp_path / name).read_bytes() for name in shared.FILES)
    folds = json.loads((sweep / "folds.json").read_text())
    secrets = ["/home", "ada/", "Smith", str(sweep), folds["sha256"], run.record["folds_sha256"]]
    secrets += [f'"{name}"' for name in (*folds["group_of"], *folds["group_of"].values())]
    assert not [secret for secret in secrets if secret.encode() in content]


@pytest.mark.parametrize("revision", [None, "v1.0", "refs/pr/3"])
def test_an_address_is_read_through_the_hubs_own_library(folder, monkeypatch, revision):
    asked = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *given, **options: asked.append((given, options)) or str(folder)
    )
    found = sharp_unet_jax.load("hf://owner/lesions" + (f"@{revision}" if revision else ""))
    assert [run.name for run in found.runs][:2] == ["unet/repeat0-fold0", "sharp_unet/repeat0-fold0"]
    files = ["config.json", "model.safetensors"]
    assert asked == [(("owner/lesions",), {"revision": revision, "allow_patterns": files})]


def test_the_weights_are_readable_by_others(folder, sweep):
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    run = loading.load_run(sweep / "runs/unet/repeat0-fold1", plain=True)
    own = {name for name in tensors if name.startswith(f"{run.name}/")}
    whole = safetensors.numpy.load(export.to_safetensors(run))
    assert own == {f"{run.name}/{name}" for name in whole}
    assert len(tensors) == 4 * len(own)
    for name, array in whole.items():
        np.testing.assert_array_equal(tensors[f"{run.name}/{name}"], array)


def edit(folder: Path, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def cut(folder: Path):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9])


def change_weights(folder: Path):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def lose_a_run(folder: Path):
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    kept = {name: array for name, array in tensors.items() if "fold1" not in name}
    safetensors.numpy.save_file(kept, folder / "model.safetensors")


def of_later_settings(folder: Path):
    edit(folder, config=json.loads((folder / "config.json").read_text())["config"] | {"later": 1})


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), r"model holds no model .*: there is no model\.saf"),
        (cut, r"model\.safetensors: a safetensors file that is damaged or cut short; download it again"),
        (change_weights, r"model\.safetensors is damaged \(its bytes are not those recorded\): download it again"),
        (lose_a_run, r"is of another version of this project: it has no params\."),
        (lambda folder: edit(folder, format=2, version="9.1"), r"is of a newer version .* \(9\.1; this is .*update it"),
        (of_later_settings, r"config\.json is damaged \(.*it sets later"),
        (lambda folder: edit(folder, library="other"), r"holds no model of this project: its config\.json does not"),
        (lambda folder: edit(folder, classes=["one"]), r"config\.json is damaged \(.*classes.*download it again"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json is damaged"),
        (lambda folder: edit(folder, runs=[]), r"config\.json is damaged \(.*runs"),
    ],
)
def test_what_is_no_whole_shared_model_is_refused_in_one_line(folder, harm, message):
    harm(folder)
    with pytest.raises(InputError, match=message) as caught:
        sharp_unet_jax.load(folder)
    assert "\n" not in str(caught.value)


def test_another_network_or_model_is_refused(folder, monkeypatch):
    with pytest.raises(InputError, match="is a model of unet and sharp_unet: leave the model out, not unet"):
        sharp_unet_jax.load(folder, "unet")
    assert len(sharp_unet_jax.load(folder, "sharp_unet,unet").runs) == 4
    shrink_models(monkeypatch, (4, 12))
    with pytest.raises(InputError, match=r"is of another version of this project: .* this version's is"):
        sharp_unet_jax.load(folder)
