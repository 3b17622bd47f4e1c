"""The table and the figure of overlaps that the paper does not report, against the records."""

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from sharp_unet_jax.report import figures, other_overlaps, paper_tables, records
from tests.edits import edit_record
from tests.report import sweep_writer, whole
from tests.report.sweep_writer import scores

NAMES = ("sensitivity", "precision", "specificity")
MODELS = {"unet": scores(0.7, seed=1), "sharp_unet": scores(0.8, seed=2)}


def test_cells_are_mean_and_deviation_over_runs(tmp_path):
    frame = other_overlaps.table([sweep_writer.write(tmp_path, MODELS)]).frame.set_index("model")
    assert [*frame][:4] == ["runs", "Sensitivity (%)", "Precision (%)", "Specificity (%)"]
    for model, made in MODELS.items():
        for name in NAMES:
            runs = 100 * sweep_writer.overlaps(made)[name].mean(axis=2)
            assert frame.loc[model, f"{name.capitalize()} (%)"] == f"{runs.mean():.2f} ± {runs.std(ddof=1):.2f}"


def test_its_note_says_what_each_is_and_what_an_empty_ratio_scores(tmp_path):
    table = other_overlaps.table([whole.sweep(tmp_path, repeats=1, empty="zero")])
    assert table.title.startswith("Sensitivity, precision")
    assert "Precision: The share of the predicted pixels that are true." in table.note
    assert "A class in neither truth nor prediction scores 0; any other ratio 0/0, such as the" in table.note


def test_it_is_in_tables_md_and_never_in_the_papers_tables(tmp_path):
    sweep = sweep_writer.write(tmp_path, MODELS)
    assert "## Sensitivity, precision" in paper_tables.markdown(tmp_path)
    assert not any("ensitivity" in column for table in paper_tables.paper([sweep]) for column in table.frame)


def test_the_figure_has_every_run(tmp_path):
    sweep = sweep_writer.write(tmp_path, MODELS)
    drawn = figures.more_means({"mine": sweep})
    panels = {axes.get_xlabel(): axes for axes in drawn.figure.axes}
    for name in NAMES:
        axes = panels[f"{name.capitalize()} (%)"]
        points_of = [found.get_offsets()[:, 0] for found in axes.collections if isinstance(found, PathCollection)]
        for points, model in zip(points_of, MODELS, strict=True):
            np.testing.assert_allclose(points, 100 * sweep.runs.loc[sweep.runs["model"] == model, name])


def test_records_without_an_overlap_have_an_empty_cell(tmp_path):
    sweep_writer.write(tmp_path, MODELS)
    for path in tmp_path.rglob("record.json"):
        edit_record(path, specificity=None)
    frame = other_overlaps.table([records.load(tmp_path)]).frame
    assert frame["Specificity (%)"].tolist() == ["-", "-"]
    assert "-" not in frame["Precision (%)"].tolist()


def test_records_without_any_of_them_have_no_table_and_no_figure(tmp_path):
    assert other_overlaps.table([sweep_writer.write(tmp_path, MODELS)]) is not None
    for path in tmp_path.rglob("record.json"):
        edit_record(path, **dict.fromkeys(NAMES))
    bare = records.load(tmp_path)
    assert other_overlaps.table([bare]) is None
    assert figures.more_means({"mine": bare}) is None


@pytest.mark.parametrize("classes", [2, 3])
def test_the_record_is_the_mean_of_its_images(tmp_path, classes):
    data = whole.squares(n=8, classes=classes)
    sweep = whole.sweep(tmp_path, data, repeats=1, models=("unet",))
    scored = sweep.per_image if classes > 2 else sweep.per_image[sweep.per_image["class"] == "square"]
    for name in NAMES:
        assert sweep.runs[name].mean() == pytest.approx(scored.groupby("run")[name].mean().mean())
