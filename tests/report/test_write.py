"""A whole report in one folder."""

from html import unescape
from pathlib import Path

import pytest

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import figures, provenance, write
from tests.conftest import squares
from tests.edits import killed
from tests.report import choice_writer, sweep_writer, whole


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    monkeypatch.setattr(figures, "DPI", 30)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.mark.slow
def test_a_sweep_on_the_split_of_the_papers_code(tmp_path):
    """One fold: five seeds have a spread, and the report says what it is of."""
    sweep = whole.sweep(tmp_path / "w", squares(n=10), split="authors", folds=1, repeats=5)
    output = write.write([tmp_path / "w"])
    page = (output / "report.html").read_text()
    assert "10 images, one split, the authors' (2 of 10 images tested), x 5 seeds, protocol paper." in unescape(page)
    assert provenance.FIXED in page
    table = (output / "tables" / "table1.csv").read_text()
    scores = 100 * sweep.runs.groupby("model")["jaccard"].agg(["mean", "std"])
    for model in ("unet", "sharp_unet"):
        mean, std = scores.loc[model]
        assert f"\n{model},5,{mean:.2f},{std:.2f}," in table


@pytest.mark.slow
def test_sweeps_side_by_side_leave_their_files(tmp_path):
    """Two protocols on one data set, and four classes whose predictions were not kept."""
    whole.sweep(tmp_path / "paper", repeats=1)
    whole.sweep(tmp_path / "nested", repeats=1, protocol="nested")
    choice_writer.write(tmp_path / "nested", {})
    whole.sweep(tmp_path / "four", squares(n=8, classes=4), repeats=1, models=("unet",), grouped=True)
    for path in (tmp_path / "four").rglob("predictions.npz"):
        path.unlink()
    workdirs = [tmp_path / name for name in ("paper", "nested", "four")]
    output = tmp_path / "report"
    assert write.write(workdirs, output) == output
    names = set(contents(output))
    assert {"report.html", "tables/table1.md", "tables/table1.tex", "tables/table1.csv"} <= names
    assert {f"figures/{name}.{kind}" for name in ("curves", "scores", "scatter") for kind in ("svg", "png")} <= names
    assert {"tables/twins.csv", "tables/protocols.csv", "tables/audit.csv"} <= names
    pages = (output / "report.html").read_text()
    assert pages.count('class="sweep"') == 3
    for name in ("squares, paper, random", "squares, nested, random", "squares, paper, grouped"):
        assert f"<h2>{name}</h2>" in pages
        file = name.replace(", ", "_")
        assert f"tables/rescored-{file}.csv" in names
        assert (f"tables/chosen-{file}.csv" in names) == ("nested" in name)
        assert (f"figures/examples-sharp_unet-{file}.png" in names) == ("grouped" not in name)


@pytest.mark.slow
def test_labels_that_are_alike_but_for_signs_have_files_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.b", "a_b"):
        whole.sweep(Path(name), repeats=1)
    names = contents(write.write([Path("a.b"), Path("a_b")], Path("report")))
    assert len([name for name in names if name.startswith("tables/rescored-") and name.endswith(".csv")]) == 2


@pytest.mark.slow
def test_what_a_killed_report_left_is_cleared(tmp_path):
    whole.sweep(tmp_path, repeats=1)
    names = ("report.html", "tables/table1.csv", "figures/scores.png")
    left = [killed(tmp_path / "report" / name) for name in names]
    write.write([tmp_path])
    assert not any(path.exists() for path in left)


def test_packed_results_give_the_same_report_but_for_pictures(tmp_path):
    whole.sweep(tmp_path / "w", models=("unet", "sharp_unet", "sharp_unet+scaled"))
    packed = sweep_writer.pack(tmp_path / "w", tmp_path / "packed")
    for path in (tmp_path / "w").rglob("predictions.npz"):
        path.unlink()
    (tmp_path / "w" / "data.json").unlink()
    ours, theirs = (contents(write.write([folder])) for folder in (tmp_path / "w", packed))
    assert "tables/rescored.csv" in theirs
    assert "figures/scatter.svg" in theirs
    page = theirs.pop("report.html").decode()
    del ours["report.html"]
    assert theirs == ours
    assert "packed results hold neither images nor predictions" in page


@pytest.mark.slow
def test_packed_results_without_scores_of_images_have_a_report_that_says_so(tmp_path):
    whole.sweep(tmp_path / "w", repeats=1)
    packed = sweep_writer.pack(tmp_path / "w", tmp_path / "packed")
    names = set(contents(write.write([tmp_path / "w"])))
    (packed / "per_image.parquet").unlink()
    written = contents(write.write([packed]))
    assert "there is no per_image.parquet" in written["report.html"].decode()
    assert b"Training, epoch by epoch" in written["report.html"]
    gone = {name.partition(".")[0].partition("-")[0] for name in names - set(written)}
    assert gone == {
        "figures/examples",
        "figures/overlaps_by_threshold",
        "figures/reliability",
        "figures/scatter",
        "figures/thresholds",
        "tables/baselines",
        "tables/boundaries",
        "tables/calibration",
        "tables/images",
        "tables/rescored",
    }


def test_no_sweep_and_no_finished_run_leave_nothing(tmp_path):
    with pytest.raises(InputError, match="holds no sweep"):
        write.write([tmp_path / "nowhere"])
    whole.sweep(tmp_path / "w")
    for path in (tmp_path / "w").rglob("record.json"):
        path.unlink()
    with pytest.raises(InputError, match="no run is finished"):
        write.write([tmp_path / "w"])
    assert not (tmp_path / "w" / "report").exists()


def test_tables_of_the_report_before_are_gone_and_files_of_the_user_stay(tmp_path, undrawn):
    whole.sweep(tmp_path / "w", squares(n=8), repeats=1, protocol="nested")
    choice_writer.write(tmp_path / "w", {})
    (tmp_path / "out" / "tables").mkdir(parents=True)
    (tmp_path / "out" / "tables" / "mine.csv").write_text("precious")
    first = set(contents(write.write([tmp_path / "w"], tmp_path / "out")))
    (tmp_path / "w" / "choice.json").unlink()
    second = set(contents(write.write([tmp_path / "w"], tmp_path / "out")))
    assert first - second == {f"tables/chosen.{kind}" for kind in ("md", "tex", "csv")}
    assert "tables/mine.csv" in second
