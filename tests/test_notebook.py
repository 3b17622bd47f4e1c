"""Run the cells of the notebooks in examples/ in order, with small settings and tiny networks."""

import ast
import importlib.util
import json
import re
import sys
import tempfile
import threading
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

from launch import cv

EXAMPLES = Path(__file__).parents[1] / "examples"
PYTHON, IMAGES = EXAMPLES / "from_python.ipynb", EXAMPLES / "your_images.ipynb"
SMALL = {PYTHON: {"EPOCHS": 2, "STEPS": 5}, IMAGES: {"EPOCHS": 1, "FOLDS": 2, "FORMAT": '"safetensors"'}}


def cells(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def executed(tmp_path, tiny_models, monkeypatch):
    """Return a function that runs a notebook's cells and returns what they displayed."""
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    monkeypatch.setattr(cv.cv_process, "leave_on_signals", lambda: None)
    monkeypatch.setattr(cv.cv_process, "stop_on_signals", lambda console: (threading.Event(), threading.Event()))
    matplotlib.use("agg")

    def run(path):
        displayed = []
        names = {"__name__": "__main__", "display": displayed.append}
        sources = ["".join(cell["source"]) for cell in cells(path)]
        for name, value in SMALL[path].items():
            sources[0], found = re.subn(rf"^{name} = \S+", f"{name} = {value}", sources[0], flags=re.MULTILINE)
            assert found == 1
        with matplotlib.rc_context():
            for number, source in enumerate(sources, 1):
                exec(compile(source, f"{path.name}, code cell {number}", "exec"), names)
        return displayed

    return run


@pytest.mark.slow
def test_the_notebook_of_arrays_runs(executed, capsys):
    executed(PYTHON)
    said = capsys.readouterr().out
    assert "sharp_unet: 2 epochs" in said
    assert "Jaccard index" in said


@pytest.mark.slow
def test_the_notebook_of_images_runs(executed, capsys):
    run, report = executed(IMAGES)
    assert run.classes == ("background", "foreground")
    assert run.examples.images
    assert "&lt;title&gt;" in report._repr_html_()
    said = capsys.readouterr().out
    assert "60 images in 20 groups" in said
    assert "network.safetensors" in said
    assert "run 4 of 4: sharp_unet/repeat0-fold1" in said


def test_what_the_notebook_of_images_imports_is_there():
    """The test above is slow; names that move are found here."""
    trees = [ast.parse("".join(cell["source"])) for cell in cells(IMAGES)]
    imports = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    missing = [
        f"{node.module}.{name.name}"
        for node in imports
        for name in node.names
        if not hasattr(importlib.import_module(node.module), name.name)
        and importlib.util.find_spec(f"{node.module}.{name.name}") is None
    ]
    assert len(imports) > 4
    assert missing == []


@pytest.mark.parametrize("path", [PYTHON, IMAGES], ids=lambda path: path.stem)
def test_it_is_small_and_holds_no_error(path):
    assert not any(output["output_type"] == "error" for cell in cells(path) for output in cell["outputs"])
    assert path.stat().st_size < 500_000


def test_the_notebook_of_images_is_kept_without_outputs():
    assert [cell for cell in cells(IMAGES) if cell["outputs"] or cell["execution_count"]] == []
