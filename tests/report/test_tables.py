"""The final table, against figures worked out by hand."""

import io
import json

import pandas as pd
import pytest

from sharp_unet_jax.report import tables

SCORES = """dataset,model,protocol,repeat,fold,jaccard,dice,best_epoch,epochs
cvc_clinicdb,sharp_unet,paper,0,0,0.700000,0.800000,3,9
cvc_clinicdb,sharp_unet,paper,0,1,0.800000,0.900000,4,9
cvc_clinicdb,unet,paper,0,0,0.600000,0.700000,5,9
cvc_clinicdb,unet,paper,0,1,0.820000,0.900000,6,9
cvc_clinicdb,wide_unet,paper,0,0,0.500000,0.600000,7,9
"""


@pytest.fixture
def scores():
    return pd.read_csv(io.StringIO(SCORES))


def test_summary_is_mean_and_sample_deviation_beside_the_papers(scores):
    table = tables.summary(scores)
    assert table.loc["sharp_unet", "jaccard_mean"] == pytest.approx(75)
    assert table.loc["sharp_unet", "jaccard_std"] == pytest.approx(10 / 2**0.5)
    assert table.loc["sharp_unet", "jaccard_mean_paper"] == 75.89
    assert table.loc["unet", "dice_std_paper"] == 8.10
    assert table.loc["wide_unet", "runs"] == 1
    assert pd.isna(table.loc["wide_unet", "jaccard_std"])


def test_differences_pair_the_runs_both_twins_made(scores):
    (row,) = tables.differences(scores).itertuples(index=False)
    assert (row.sharp, row.plain, row.runs, row.won) == ("sharp_unet", "unet", 2, 1)
    assert row.mean == pytest.approx(4)
    assert row.std == pytest.approx(12 / 2**0.5)


def test_wide_twins_are_found():
    text = SCORES.replace("sharp_unet", "wide_sharp_unet")
    (row,) = tables.differences(pd.read_csv(io.StringIO(text))).itertuples(index=False)
    assert (row.sharp, row.plain, row.runs) == ("wide_sharp_unet", "wide_unet", 1)


def workdir(path, scores=SCORES, **config):
    fields = {
        "models": ["unet", "sharp_unet"], "repeats": 1, "folds": 2, "protocol": "paper", "grouped": False,
        "inner_validation": 0.2, "threshold": 0.5, "empty": "one", "loss": "cross_entropy", "batch_size": 16,
        "epochs": 9, "precision": "float32", "seed": 0, "data": {"size": [192, 256], "fit": "stretch"},
    }  # fmt: skip
    (path / "config.json").write_text(json.dumps(fields | config))
    folds = {"dataset": "cvc_clinicdb", "images": 612, "groups": 29, "classes": ["background", "polyp"]}
    (path / "folds.json").write_text(json.dumps(folds))
    (path / "scores.csv").write_text(scores)
    return path


def test_markdown_says_how_its_numbers_came_about(tmp_path):
    text = tables.markdown(workdir(tmp_path))
    assert "| sharp_unet | 2 | 75.00 ± 7.07 | 85.00 ± 7.07 | 75.89 ± 2.06 | 83.65 ± 1.88 |" in text
    assert "| wide_unet | 1 | 50.00 | 60.00 | 73.97 ± 3.41 | 82.16 ± 3.00 |" in text
    assert "`sharp_unet` minus `unet`: +4.00 ± 8.49 points of Jaccard over 2 paired runs, higher in 1 of them." in text
    for word in ("paper (stopping", "2 random folds x 1 repeats of 612 images", "192x256", "threshold 0.5", "scores 1"):
        assert word in text


def test_data_the_paper_has_no_figures_for_get_no_columns_for_them(tmp_path):
    text = tables.markdown(workdir(tmp_path, scores=SCORES.replace("cvc_clinicdb", "mine")))
    assert "| sharp_unet | 2 | 75.00 ± 7.07 | 85.00 ± 7.07 |\n" in text
    assert "paper:" not in text


def test_a_single_pair_claims_no_spread(tmp_path):
    scores = "\n".join(line for line in SCORES.splitlines() if ",0,1," not in line) + "\n"
    text = tables.markdown(workdir(tmp_path, scores=scores))
    assert "`sharp_unet` minus `unet`: +10.00 points of Jaccard on the one fold that both were trained on." in text


def test_missing_runs_are_not_hidden(tmp_path):
    workdir(tmp_path, repeats=5)
    run = tmp_path / "runs" / "unet" / "repeat1-fold0"
    run.mkdir(parents=True)
    (run / "record.json").write_text('{"status": "failed"}')
    assert "**5 of 20 runs are finished, 1 failed" in tables.markdown(tmp_path)


def test_no_finished_run_gives_no_table(tmp_path):
    text = tables.markdown(workdir(tmp_path, scores=SCORES.splitlines()[0] + "\n"))
    assert "**0 of 4 runs are finished" in text
    assert "| model" not in text
