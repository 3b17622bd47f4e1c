"""Figures against the records; their files are SVG and PNG, and the same bytes each time."""

import dataclasses
import io
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from PIL import Image

from sharp_unet_jax.report import examples, figures, overlays, pairing, records, statistics, style
from tests.conftest import squares
from tests.report import sweep_writer, whole


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return whole.sweep(tmp_path_factory.mktemp("sweep"))


def test_a_run_that_stopped_early_counts_with_its_last_epoch():
    epochs = pd.DataFrame({"run": ["a"] * 3 + ["b"], "epoch": [1, 2, 3, 1], "validation_jaccard": [0.1, 0.3, 0.5, 0.3]})
    mean, std = figures.band(epochs)
    np.testing.assert_allclose(mean, [20, 30, 40])
    np.testing.assert_allclose(std, [20 / 2**0.5, 0, 20 / 2**0.5], atol=1e-12)


def test_curves_are_the_mean_over_runs(sweep):
    (axes,) = figures.curves({"squares": sweep}).figure.axes
    assert axes.get_title(loc="left") == "squares"
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == ["unet", "sharp_unet"]
    for model, line in lines.items():
        table = sweep.epochs[sweep.epochs["model"] == model]
        np.testing.assert_allclose(line.get_ydata(), 100 * table.groupby("epoch")["validation_jaccard"].mean())
    assert lines["unet"].get_linestyle() != lines["sharp_unet"].get_linestyle()  # told apart in grey


def test_long_names_above_curves_stay_within_the_figure(sweep, monkeypatch):
    long = {"unet": "unet_resnet50", "sharp_unet": "sharp_unet_resnet50"}
    monkeypatch.setattr(pairing, "short_names", lambda sweep: long)
    with matplotlib.rc_context(style.RC):
        figure = figures.curves(dict.fromkeys("abc", sweep)).figure
        figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_legend().get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_curves_of_high_scores_are_not_flat(sweep):
    scores = sweep.epochs["validation_jaccard"] / 10 + 0.85
    high = dataclasses.replace(sweep)
    high.__dict__["epochs"] = sweep.epochs.assign(validation_jaccard=scores)  # instead of reading them
    for sweeps in ({"high": high}, {"high": high, "low": sweep}):
        limits = [axes.get_ylim() for axes in figures.curves(sweeps).figure.axes]
        assert len(set(limits)) == 1  # panels can be compared
        low, top = limits[0]
        shown = [line.get_ydata() for axes in figures.curves(sweeps).figure.axes for line in axes.lines]
        assert low <= min(map(np.min, shown))
        assert top == 100
        assert (low >= 80) == (len(sweeps) == 1)


def test_means_have_their_interval_every_run_and_the_papers_score(tmp_path):
    sweep = whole.sweep(tmp_path, dataclasses.replace(squares(n=8), name="cvc_clinicdb"))
    jaccard, dice = figures.means({"cvc": sweep}).figure.axes
    for axes, metric in ((jaccard, "jaccard"), (dice, "dice")):
        of_model = 100 * sweep.runs.set_index("model")[metric]
        for model, interval, mean in zip(("unet", "sharp_unet"), axes.lines[::2], axes.lines[1::2], strict=True):
            known = statistics.score(sweep, model, metric)
            np.testing.assert_allclose(mean.get_xdata(), of_model[model].mean())
            np.testing.assert_allclose(interval.get_xdata(), [known.low, known.high])
        assert len({line.get_marker() for line in axes.lines[1::2]}) == 2  # told apart in grey
        drawn = [list(found.get_offsets()[:, 0]) for found in axes.collections if isinstance(found, PathCollection)]
        papers = {"jaccard": (70.02, 75.89), "dice": (78.75, 83.65)}[metric]
        expected = [list(of_model["unet"]), [papers[0]], list(of_model["sharp_unet"]), [papers[1]]]
        for points, values in zip(drawn, expected, strict=True):
            np.testing.assert_allclose(points, values)
        low, high = axes.get_xlim()
        shown = np.concatenate([*expected, *(line.get_xdata() for line in axes.lines)])
        assert 0 <= low <= shown.min()
        assert shown.max() <= high <= 101


def test_a_model_without_any_score_has_no_mean(tmp_path):
    made = {"unet": np.full((1, 2, 3), np.nan), "sharp_unet": np.full((1, 2, 3), 0.5)}
    jaccard, _ = figures.means({"mine": sweep_writer.write(tmp_path, made)}).figure.axes
    drawn = [len(found.get_offsets()) for found in jaccard.collections if isinstance(found, PathCollection)]
    assert drawn == [0, 2]
    assert [bool(np.isnan(line.get_xdata()).all()) for line in jaccard.lines[1::2]] == [True, False]


def test_scatter_has_a_point_an_image(sweep):
    (axes,) = figures.scatter({"squares": sweep}).figure.axes
    plain, sharp = (
        100 * statistics.image_scores(sweep, model)["jaccard"].groupby("image_id").mean()
        for model in ("unet", "sharp_unet")
    )
    points = axes.collections[0].get_offsets()
    np.testing.assert_allclose(sorted(map(tuple, points)), sorted(zip(plain, sharp, strict=True)))
    assert f"sharp higher in {(sharp > plain).sum()}, plain in {(sharp < plain).sum()}" in axes.get_title(loc="left")


def test_examples_paint_what_is_wrong_in_the_predictions(sweep):
    predicted = overlays.predictions(sweep)
    (drawn,) = examples.draw(sweep, predicted)
    choices = overlays.choose(sweep, predicted, ["unet", "sharp_unet"])
    grid = np.array(drawn.figure.axes).reshape(len(choices), 3)
    images, masks, rows = sweep.prepared
    for line, choice in zip(grid, choices, strict=True):
        row = rows[choice.image_id]
        for axes, model in zip(line[1:], ("unet", "sharp_unet"), strict=True):
            found = predicted[model][choice.image_id]
            changed = (axes.images[0].get_array() != images[row]).any(axis=-1)
            np.testing.assert_array_equal(changed, found.labels != masks[row])
            assert axes.get_xlabel() == found.score
        np.testing.assert_array_equal(line[0].images[0].get_array(), images[row])
        assert choice.image_id in drawn.caption


def test_four_classes_and_models_without_twins(tmp_path):
    sweep = whole.sweep(tmp_path, squares(n=8, classes=4), models=("wide_unet", "sharp_unet"), repeats=1)
    assert pairing.panels(sweep) == [["wide_unet"], ["sharp_unet"]]
    assert [each.name for each in figures.draw({"squares": sweep})] == ["curves", "scores", "overlaps"]
    with matplotlib.rc_context(style.RC):
        drawn = examples.draw(sweep, overlays.predictions(sweep))
        for each in drawn:
            each.figure.draw_without_rendering()
    assert len(drawn) == 2
    for each in drawn:  # one model each: a narrow figure
        (legend,) = each.figure.legends
        inside, outside = legend.get_window_extent(), each.figure.bbox
        assert outside.x0 <= inside.x0 < inside.x1 <= outside.x1
        assert outside.y0 <= inside.y0


def test_missing_predictions_images_and_runs_are_not_drawn(sweep, tmp_path):
    assert examples.draw(sweep, {}) == []
    whole.sweep(tmp_path)
    for path in tmp_path.rglob("record.json"):
        path.unlink()
    (tmp_path / "data.json").unlink()
    moved = records.load(tmp_path)
    assert figures.draw({"squares": moved}) == []
    assert examples.draw(moved, {}) == []


def test_files_are_the_same_bytes_each_time(sweep, tmp_path):
    for number in ("a", "b"):
        with matplotlib.rc_context(style.RC):
            figures.save(figures.scatter({"squares": sweep}), tmp_path / number)
    first, second = (sorted((tmp_path / number).iterdir()) for number in ("a", "b"))
    assert [path.name for path in first] == ["scatter.png", "scatter.svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert ElementTree.parse(first[1]).getroot().tag.endswith("svg")
    with Image.open(io.BytesIO(first[0].read_bytes())) as image:
        assert image.info["dpi"][0] == pytest.approx(300, abs=1)
