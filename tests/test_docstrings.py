"""Run the examples in docstrings and the Python of the manual, beside a finished run and a picture."""

import dataclasses
import doctest
import functools
import importlib
import re
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from PIL import Image

import sharp_unet_jax
from sharp_unet_jax import models
from sharp_unet_jax.inference import loading, shared
from tests.conftest import shrink_models, squares
from tests.tiny_sweep import CONFIG, make

pytestmark = pytest.mark.usefixtures("tiny_models")

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sharp_unet_jax"
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
]
CODE = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder that holds the runs and the picture that examples name."""
    folder = tmp_path_factory.mktemp("beside")
    with pytest.MonkeyPatch.context() as patch:
        shrink_models(patch)
        make(folder / "work/demo", squares(), dataclasses.replace(CONFIG, epochs=1, max_runs=2))
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(folder / "image.png")
    return folder


@pytest.fixture
def beside_a_run(folder, monkeypatch):
    """Work in the folder, where UNet++ has all its levels and few channels."""
    monkeypatch.chdir(folder)
    network = models.MODELS["unetpp_deep"]
    parts = functools.partial(network.parts, widths=(4, 4, 4, 4, 4))
    monkeypatch.setitem(models.MODELS, "unetpp_deep", network._replace(parts=parts))


@pytest.mark.usefixtures("beside_a_run")
@pytest.mark.parametrize("name", MODULES)
def test_docstrings_do_what_they_show(name):
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 0
    assert failed == 0  # what differs is printed


@pytest.mark.usefixtures("beside_a_run")
@pytest.mark.parametrize("code", CODE)
def test_code_of_the_manual_prints_what_its_comments_say(code, capsys):
    exec(compile(code, "python.md", "exec"), {"__name__": "page"})
    expected = re.findall(r"^print\(.*\)  # ([^:\n]+)", code, re.MULTILINE)
    assert capsys.readouterr().out.splitlines()[: len(expected)] == expected


@pytest.mark.usefixtures("beside_a_run")
def test_code_that_loads_a_shared_model_runs(tmp_path, monkeypatch):
    shared.write(tmp_path, loading.load_all("work/demo", "unet,sharp_unet"), "")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/share.md").read_text(), re.DOTALL)
    exec(compile(code, "share.md", "exec"), {"__name__": "page"})


def test_there_are_examples():
    assert len(MODULES) >= 9


def test_one_import_has_what_it_lists():
    for name in sharp_unet_jax.__all__:
        assert name in dir(sharp_unet_jax)
        assert getattr(sharp_unet_jax, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        sharp_unet_jax.fitt  # noqa: B018
