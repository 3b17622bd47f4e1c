"""Faults that config, workdir and machine show without the images are told before any image is read."""

import dataclasses
import os

import jax
import pytest
from rich.console import Console

import sharp_unet_jax
from datasets.folder import settings as of_folder
from launch import augmentations, choose, cv, evaluate, explain, export, predict, prepare, report
from launch.console import dataset, image, runtime
from launch.preview import source
from sharp_unet_jax.choosing import images as choosing_images
from sharp_unet_jax.config import Data
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import loading
from sharp_unet_jax.storage import lock
from sharp_unet_jax.storage.atomic import check_writable
from sharp_unet_jax.sweeps import check
from tests.tiny_sweep import CONFIG

CONSOLE = Console(quiet=True)


def never(*_, **__):
    pytest.fail("images were read, or would be in a moment")


@pytest.fixture
def config_file(tmp_path, tiny_models):
    """A config file of the tests' tiny sweep."""
    path = tmp_path / "tiny.py"
    path.write_text("from tests.tiny_sweep import CONFIG as config\n")
    return path


@pytest.fixture
def swept(config_file, tmp_path, monkeypatch):
    """Return a function that gives arguments to launch.cv, where no data set can be read."""
    monkeypatch.setattr(dataset, "load", never)
    monkeypatch.setattr(cv.cv_process, "leave_on_signals", lambda: None)

    def run(*arguments, workdir=tmp_path / "new"):
        return cv.run([f"--config={config_file}", f"--workdir={workdir}", *arguments], CONSOLE)

    return run


VALUES = {
    "a network": ("models=sharp_unt", "did you mean"),
    "a loss": ("loss=dise", "loss: "),
    "ImageNet weights that there are none of": ("weights=imagenet", "weights: there are no ImageNet weights for"),
    "devices": ("devices_per_run=99", "devices_per_run: 99 asked for"),
    "a schedule": ("warmup=50", "warmup: must be less than epochs="),
    "crops": ("data.crops=9", "data.crops: is only for data.fit=crop"),
    "a file of weights": ("weights=none.pth", "weights: .*none.pth"),
    "a file of folds": ("split=none.csv", "split: there is no file 'none.csv'"),
    "images that no builder reads": ("data.images=cells", "data.images: is only for data.builder=folder"),
}


@pytest.mark.parametrize(("setting", "message"), VALUES.values(), ids=VALUES)
def test_a_fault_of_the_config_is_told_first(swept, tmp_path, setting, message):
    with pytest.raises(InputError, match=message):
        swept(f"--config.{setting}")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,fold\na,0\nb,1\nc,2\n", "set folds=3, the number of folds in it, instead of 2"),
        ("name,part\na,0\n", "does not name the columns id and fold"),
        ("id,fold\na,0\na,1\n", "'a' is there 2 times"),
    ],
)
def test_a_file_of_folds_that_fits_no_images_is_told_first(swept, tmp_path, text, message):
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        swept(f"--config.split={tmp_path / 'own.csv'}", "--config.folds=2")


def test_weights_of_another_network_are_told_first(swept, done):
    """A run's own weights pass, and so do those of its twin."""
    run = done / "runs" / CONFIG.models[0] / "repeat0-fold0"
    with pytest.raises(InputError, match=r"weights: .*(which this network has not|it is of another network)"):
        swept(f"--config.weights={run}", "--config.models=unet_resnet18")
    check.files(dataclasses.replace(CONFIG, weights=str(run)))


def test_class_weights_are_counted_first_where_the_config_names_the_classes():
    named = dataclasses.replace(CONFIG, data=Data(builder="folder", classes=("ground", "tumor=#c80000")))
    check.config(dataclasses.replace(named, class_weights=(1.0, 2.0)), devices=1)
    with pytest.raises(InputError, match=r"^class_weights: give 2 numbers, for ground, tumor; got \(1.0,\)$"):
        check.config(dataclasses.replace(named, class_weights=(1.0,)), devices=1)


def test_settings_of_a_folder_are_those_of_its_builder():
    assert set(check.FOLDER_ALONE) == set(of_folder.NAMES)


def make_file(path):
    path.write_text("")


def make_other(path):
    path.mkdir()
    (path / "thesis.txt").touch()


@pytest.mark.parametrize(
    ("make", "below", "message"),
    [
        (make_file, "", "new: is a file, not a folder: nothing can be written there, name another folder"),
        (make_file, "a/b", "new: is a file, not a folder"),
        (make_other, "", "new is not empty and holds no sweep: name another --workdir"),
    ],
)
def test_a_workdir_that_cannot_be_used_is_told_first(swept, tmp_path, make, below, message):
    make(tmp_path / "new")
    with pytest.raises(InputError, match=message):
        swept(workdir=tmp_path / "new" / below)


def without_folds(workdir):
    (workdir / "folds.json").unlink()


@pytest.mark.parametrize(
    ("change", "setting", "message"),
    [
        (None, "seed=7", "holds a sweep with seed=.*, not 7"),
        (None, "epochs=1", "epochs: give epochs="),
        (without_folds, "retries=0", "has lost its folds.json"),
    ],
)
def test_a_workdir_of_another_sweep_is_told_first(swept, done, change, setting, message):
    if change:
        change(done)
    with pytest.raises(InputError, match=message):
        swept(f"--config.{setting}", workdir=done)


def test_a_sweep_that_runs_there_already_is_told_first(swept, done):
    with lock.held(done, (0, 1)), pytest.raises(InputError, match="a sweep is running there already"):
        swept(workdir=done)


def test_a_sweep_that_may_go_on_is_read(swept, done):
    with pytest.raises(pytest.fail.Exception, match="images were read"):
        swept(workdir=done)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--verify=unet/repeat9-fold0"], "has no finished run of that name"),
        ([f"--verify={CONFIG.models[0]}/repeat0-fold0", "--config.epochs=99"], "holds a sweep with epochs=.*, not 99"),
    ],
)
def test_a_run_that_cannot_be_verified_is_told_first(swept, done, arguments, message):
    with pytest.raises(InputError, match=message):
        swept(*arguments, workdir=done)


def test_a_tracker_that_is_not_installed_is_told_first(swept, monkeypatch):
    monkeypatch.setitem(cv.tracking.importlib.sys.modules, "wandb", None)
    with pytest.raises(InputError, match="--track=wandb needs wandb: pip install"):
        swept("--track=wandb")


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize backend 'cuda'")])
def test_a_gpu_that_is_not_there_is_told_in_one_line(swept, monkeypatch, error):
    def devices():
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr(runtime.sys, "unraisablehook", runtime.sys.unraisablehook)
    with pytest.raises(InputError, match=r"^JAX finds no device to work on \(.*cuda.*or set JAX_PLATFORMS=cpu$"):
        swept()


class Unread:
    """Images that may not be looked at."""

    def __getattribute__(self, name):
        never()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "imagenet"}, "weights: there are no ImageNet weights for unet"),
        ({"weights": "none.pth"}, "none.pth"),
        ({"los": "dice"}, "fit has no such setting; did you mean"),
        ({"loss": "dise"}, "loss: "),
        ({"class_weights": (1.0, 2.0, 3.0)}, "class_weights: give 2 numbers"),
        ({"validation": 2}, "validation: give a share"),
        ({"folder": os.devnull}, "is a file, not a folder"),
        ({"size": (4, 4)}, "data.size: height and width must be from 16"),
    ],
)
def test_fit_tells_a_fault_of_its_settings_first(settings, message):
    with pytest.raises(InputError, match=message):
        sharp_unet_jax.fit("unet", Unread(), Unread(), **settings)


def under_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "out"


@pytest.mark.usefixtures("tiny_models")
def test_an_output_that_cannot_be_written_is_told_first(done, tmp_path, monkeypatch, config_file):
    """By each command that reads images, records or weights for it."""
    out, run = under_a_file(tmp_path), f"--run={done / 'runs' / CONFIG.models[0] / 'repeat0-fold0'}"
    truth = [f"--{name}={tmp_path / name}" for name in ("images", "masks")]
    commands = [
        (predict.run, (predict.search, "find"), [run, str(tmp_path), str(out)], CONSOLE),
        (evaluate.run, (evaluate.truth.scan, "scan"), [run, *truth, f"--output={out}"], CONSOLE),
        (explain.run, (image, "load"), [run, "--image=x.png", f"--output={out}"]),
        (export.run, (loading, "load_all"), [run, "--format=safetensors", f"--output={out}"], CONSOLE),
        (prepare.run, (source, "inspect"), [f"--config={config_file}", f"--output={out}"], CONSOLE),
        (
            augmentations.run,
            (dataset, "load"),
            [f"--config={config_file}", "--config.augment.flip=0.5", f"--output={out}.png"],
            CONSOLE,
        ),
        (report.run, (report.write, "write"), [str(done), f"--output={out}"]),
    ]
    for command, (module, reader), *given in commands:
        with monkeypatch.context() as patch:
            patch.setattr(module, reader, never)
            with pytest.raises(InputError, match="file: is a file, not a folder: nothing can be written there"):
                command(*given)


def test_choose_refuses_a_workdir_that_cannot_be_written_first(done, monkeypatch):
    monkeypatch.setattr(choose.choose, "check", lambda *_: None)
    monkeypatch.setattr(choosing_images, "dataset", never)

    def refuse(folder):
        raise InputError("cannot be written")

    monkeypatch.setattr(choose, "check_writable", refuse)
    with pytest.raises(InputError, match="cannot be written"):
        choose.run([str(done)], CONSOLE)


@pytest.mark.parametrize(("kind", "library"), [("onnx", "onnxruntime"), ("stablehlo", "flatbuffers")])
def test_export_tells_a_missing_library_first(tmp_path, monkeypatch, kind, library):
    monkeypatch.setattr(loading, "load_all", never)
    monkeypatch.setitem(export.sys.modules, library, None)
    with pytest.raises(InputError, match=rf"needs {library}: pip install .*\[export\]"):
        export.run([f"--run={tmp_path}", f"--format={kind}", f"--output={tmp_path / 'f'}"], CONSOLE)


def test_evaluate_tells_a_missing_folder_of_predictions_first(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.truth.scan, "scan", never)
    given = [f"--images={tmp_path}", f"--masks={tmp_path}", f"--predictions={tmp_path / 'none'}"]
    with pytest.raises(InputError, match="none is no folder: name that of the masks to score"):
        evaluate.run(given, CONSOLE)


def test_a_probe_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
