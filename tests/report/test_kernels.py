"""The table of kernels, for known scores."""

import pytest

from sharp_unet_jax.report import kernels, paper_tables, statistics
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
    of = {each.name: each for each in paper_tables.tables([sweep])}
    assert [*of] == ["table1", "table3", "overlaps", "twins", "kernels", "pairs", "images", "optimism"]
    assert of["table1"].frame["model"].tolist() == ["unet", "sharp_unet+laplacian"]
    assert of["table1"].frame.loc[1, "paper: Jaccard"] == "87.00 ± 4.95"
    assert of["twins"].frame["network"].tolist() == [f"{model} minus unet" for model in [*MODELS][1:]]
    assert "table (3)" in of["twins"].note
    assert of["pairs"].frame["models"].tolist() == ["sharp_unet+laplacian+reflect minus sharp_unet+scaled"]
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
    assert row["minus laplacian"] == f"**{delta.mean():+.2f}**"
    assert row["95 % interval"] == f"{test.low:.2f} to {test.high:.2f}"
    assert row["higher in"] == f"{(delta > 0).sum()} of 10"
    assert "table (2)" in of["kernels"].note
    assert frame.loc[("laplacian", "zero"), "minus laplacian"] == "-"


def test_sweeps_without_kernels_have_no_such_table(tmp_path):
    plain = sweep_writer.write(tmp_path, {"unet": scores(0.7), "sharp_unet": scores(0.7)})
    assert kernels.table([plain]) is None
