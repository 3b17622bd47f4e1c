"""Table and figure of kernels, for known scores."""

import numpy as np
import pytest

from sharp_unet_jax import palette
from sharp_unet_jax.report import forest, kernels, paper_tables, statistics
from tests.report import sweep_writer
from tests.report.sweep_writer import scores

MODELS = {
    "unet": scores(0.70, seed=1),
    "sharp_unet+laplacian": scores(0.76, seed=2),
    "sharp_unet+laplacian+reflect": scores(0.76, seed=3),
    "sharp_unet+scaled": scores(0.71, seed=4),
}


@pytest.fixture
def sweep(tmp_path):
    return sweep_writer.write(tmp_path / "w", MODELS, dataset="isbi2012")


def test_every_kernel_is_compared_with_plain_skips_and_with_the_papers(sweep):
    of = {each.name: each for each in paper_tables.every([sweep])}
    assert [*of] == ["table1", "table3", "overlaps", "significance", "kernels", "pairs", "images", "optimism"]
    assert of["table1"].frame["model"].tolist() == ["unet", "sharp_unet+laplacian"]
    assert of["table1"].frame.loc[1, "paper: Jaccard"] == "87.00 ± 4.95"
    assert of["significance"].frame["models"].tolist() == [f"{model} minus unet" for model in [*MODELS][1:]]
    assert "table (3)" in of["significance"].note
    frame = of["kernels"].frame.set_index(["kernel", "padding"])
    assert frame.index.tolist() == [
        ("none: unet", "-"),
        ("laplacian", "zero"),
        ("laplacian", "reflect"),
        ("scaled", "zero"),
    ]
    assert frame["sum"].tolist() == ["-", "0", "0", "0"]
    assert frame["scale"].tolist() == ["-", "8.49", "8.49", "1.06"]
    means = {model: 100 * made.mean(axis=2).ravel() for model, made in MODELS.items()}
    delta = means["sharp_unet+scaled"] - means["sharp_unet+laplacian"]
    test = statistics.corrected_t(delta, 1 / 4)
    row = frame.loc[("scaled", "zero")]
    assert row["minus plain"] == f"{(means['sharp_unet+scaled'] - means['unet']).mean():+.2f}"
    assert row["minus laplacian"] == f"**{delta.mean():+.2f}**"
    assert row["95 % interval"] == f"{test.low:.2f} to {test.high:.2f}"
    assert row["higher in"] == f"{(delta > 0).sum()} of 10"
    assert "table (2)" in of["kernels"].note
    assert frame.loc[("laplacian", "zero"), "minus laplacian"] == "-"


def test_sweeps_without_kernels_have_no_such_table(tmp_path):
    plain = sweep_writer.write(tmp_path, {"unet": scores(0.7), "sharp_unet": scores(0.7)})
    assert kernels.table([plain]) is None
    assert forest.plates({"mine": plain}) == []


def test_the_figure_has_a_line_a_kernel_and_a_dot_a_run(sweep):
    (plate,) = forest.plates({"isbi2012": sweep})
    against_plain, against_papers = plate.figure.axes
    names = [label.get_text().partition("\n") for label in against_plain.get_yticklabels()]
    assert [name for name, _, _ in names] == ["laplacian", "laplacian, reflect", "scaled"]
    assert [about for _, _, about in names] == ["sum 0, scale 8.49", "sum 0, scale 8.49", "sum 0, scale 1.06"]
    for axes, other, rows in ((against_plain, "unet", (0, 1, 2)), (against_papers, "sharp_unet+laplacian", (1, 2))):
        dots = [found.get_offsets() for found in axes.collections]
        assert len(dots) == len(rows)
        for row, points in zip(rows, dots, strict=True):
            model = [*MODELS][row + 1]
            delta = 100 * (MODELS[model] - MODELS[other]).mean(axis=2).ravel()
            np.testing.assert_allclose(points[:, 0], delta)
            assert np.abs(points[:, 1] - row).max() < 0.5
            test = statistics.corrected_t(delta, 1 / 4)
            lines = [list(line.get_xdata()) for line in axes.lines]
            assert any(line == pytest.approx([test.low, test.high]) for line in lines if len(line) == 2)


def test_several_differences_of_other_models_stand_in_one_figure(tmp_path):
    made = {"unet": scores(0.7, seed=1), "sharp_unet": scores(0.8, seed=2)}
    sweeps = {name: sweep_writer.write(tmp_path / name, made, dataset=name) for name in ("a", "b")}
    (plate,) = forest.plates(sweeps)
    (axes,) = plate.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "a: sharp_unet minus unet", "b: sharp_unet minus unet"
    ]  # fmt: skip
    few = {name: each[:1, :2] for name, each in made.items()}
    (plate,) = forest.plates({name: sweep_writer.write(tmp_path / f"few-{name}", few, dataset=name) for name in "ab"})
    (axes,) = plate.figure.axes
    lines = [line.get_xdata() for line in axes.lines if line.get_color() == palette.SHARP]
    intervals = [line for line in lines if len(line) == 2]
    assert len(intervals) == 2
    assert np.isnan(intervals).all()
