"""The examples in docstrings and the Python of the README, run beside a finished sweep and a picture."""

import doctest
import importlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sharp_unet_jax
from tests.test_sweep import finished

__all__ = ["finished"]
pytestmark = pytest.mark.usefixtures("tiny_models")

ROOT = Path(__file__).parents[1]
MODULES = ("ops", "models", "losses", "metrics", "data.folds", "trained", "fitting")
PAGES = [page for page in (ROOT / "README.md", ROOT / "docs/python.md") if page.exists()]
CODE = [code for page in PAGES for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]


@pytest.fixture
def beside_a_sweep(finished, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path / "work/demo")
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("beside_a_sweep")
@pytest.mark.parametrize("name", MODULES)
def test_docstrings_do_what_they_show(name):
    module = importlib.import_module(f"sharp_unet_jax.{name}")
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 0
    assert failed == 0  # what differs is printed


@pytest.mark.usefixtures("beside_a_sweep")
@pytest.mark.parametrize("code", CODE)
def test_python_of_the_pages_runs(code):
    exec(compile(code, "page", "exec"), {"__name__": "page"})


def test_one_import_has_what_it_lists():
    for name in sharp_unet_jax.__all__:
        assert name in dir(sharp_unet_jax)
        assert getattr(sharp_unet_jax, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        sharp_unet_jax.fitt  # noqa: B018
