"""Run the cells of the notebook in examples/ in order, with small settings and tiny networks."""

import json
import re
import sys
import tempfile
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

PATH = Path(__file__).parents[1] / "examples/from_python.ipynb"
CELLS = [cell for cell in json.loads(PATH.read_text())["cells"] if cell["cell_type"] == "code"]
SETTINGS = {"EPOCHS": 2, "STEPS": 5}


@pytest.mark.usefixtures("tiny_models")
def test_every_cell_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(PATH.parent)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    matplotlib.use("agg")
    names = {"__name__": "__main__"}
    sources = ["".join(cell["source"]) for cell in CELLS]
    for name, value in SETTINGS.items():
        sources[0], found = re.subn(rf"^{name} = \d+", f"{name} = {value}", sources[0], flags=re.MULTILINE)
        assert found == 1
    with matplotlib.rc_context():
        for number, source in enumerate(sources, 1):
            exec(compile(source, f"{PATH.name}, code cell {number}", "exec"), names)
    said = capsys.readouterr().out
    assert "sharp_unet: 2 epochs" in said
    assert "Jaccard index" in said


def test_it_is_small_and_holds_no_error():
    assert not any(output["output_type"] == "error" for cell in CELLS for output in cell["outputs"])
    assert PATH.stat().st_size < 500_000
