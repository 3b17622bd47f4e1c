"""All that a report is made of, in one folder."""

import pytest

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import figures, write
from tests.conftest import squares
from tests.report import whole


def test_sweeps_side_by_side_leave_their_files(tmp_path, monkeypatch):
    """Two protocols on one data set, and four classes whose predictions were not kept."""
    whole.sweep(tmp_path / "paper", repeats=1)
    whole.sweep(tmp_path / "nested", repeats=1, protocol="nested")
    whole.sweep(tmp_path / "four", squares(n=8, classes=4), repeats=1, models=("unet",), grouped=True)
    for path in (tmp_path / "four").rglob("predictions.npz"):
        path.unlink()
    monkeypatch.setattr(figures, "DPI", 30)
    workdirs = [tmp_path / name for name in ("paper", "nested", "four")]
    output = tmp_path / "report"
    assert write.write(workdirs, output) == output
    names = {str(path.relative_to(output)) for path in output.rglob("*.*")}
    assert {"report.html", "tables/table1.md", "tables/table1.tex", "tables/table1.csv"} <= names
    assert {f"figures/{name}.{kind}" for name in ("curves", "bars", "scatter") for kind in ("svg", "png")} <= names
    assert {"tables/significance.csv", "tables/protocols.csv", "tables/audit.csv"} <= names
    pages = (output / "report.html").read_text()
    assert pages.count('class="sweep"') == 3
    for name in ("squares, paper, random", "squares, nested, random", "squares, paper, grouped"):
        assert f"<h2>{name}</h2>" in pages
        file = name.replace(", ", "_")
        assert f"tables/rescored_jaccard-{file}.csv" in names
        assert (f"figures/examples-sharp_unet-{file}.png" in names) == ("grouped" not in name)


def test_no_sweep_and_no_finished_run_leave_nothing(tmp_path):
    with pytest.raises(InputError, match="holds no sweep"):
        write.write([tmp_path / "nowhere"])
    whole.sweep(tmp_path / "w")
    for path in (tmp_path / "w").rglob("record.json"):
        path.unlink()
    with pytest.raises(InputError, match="no run is finished"):
        write.write([tmp_path / "w"])
    assert not (tmp_path / "w" / "report").exists()
