"""Forest plots, against differences computed by hand."""

import itertools

import matplotlib
import numpy as np
import pytest
import scipy.stats

from sharp_unet_jax import palette
from sharp_unet_jax.report import forest, statistics, style
from tests.report import sweep_writer
from tests.report.sweep_writer import facts, scores

MODELS = {
    "unet": scores(0.70, seed=1),
    "sharp_unet+laplacian": scores(0.76, seed=2),
    "sharp_unet+laplacian+reflect": scores(0.76, seed=3),
    "sharp_unet+scaled": scores(0.71, seed=4),
}


def intervals(axes):
    """Return the ends of the drawn intervals, from the top."""
    lines = [line.get_xdata() for line in axes.lines if line.get_color() == palette.SHARP]
    return [list(line) for line in lines if len(line) == 2]


def test_the_figure_has_a_line_a_kernel_and_a_dot_a_run(tmp_path):
    sweep = sweep_writer.write(tmp_path, MODELS, dataset="isbi2012")
    (drawn,) = forest.draw({"isbi2012": sweep})
    against_plain, against_papers = drawn.figure.axes
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


def labels(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_several_sweeps_have_a_panel_each_under_their_labels(tmp_path):
    made = {"unet": scores(0.7, seed=1), "sharp_unet": scores(0.8, seed=2)}
    worse = made | {"sharp_unet": scores(0.6, seed=2)}
    each = {"a": made, "b": worse}
    (drawn,) = forest.draw({name: sweep_writer.write(tmp_path / name, of, dataset=name) for name, of in each.items()})
    assert [axes.get_title(loc="left") for axes in drawn.figure.axes] == ["a", "b"]
    assert [labels(axes) for axes in drawn.figure.axes] == [["unet"], ["unet"]]
    assert drawn.figure.axes[0].get_xlim() == drawn.figure.axes[1].get_xlim()
    few = {name: each[:1, :2] for name, each in made.items()}
    (drawn,) = forest.draw({name: sweep_writer.write(tmp_path / f"few-{name}", few, dataset=name) for name in "ab"})
    for axes in drawn.figure.axes:
        assert len(intervals(axes)) == 1
        assert np.isnan(intervals(axes)).all()


def eleven():
    """Scores of eleven pairs by model, and what their records say; long names among them."""
    names = [*(f"network{number}" for number in range(10)), "unet_with_a_long_name_50"]
    known = {name: facts(name, "unet") for name in names}
    known |= {f"sharp_{name}": facts(name, "unet", "laplacian") for name in names}
    return {name: scores(0.7, seed=seed, shape=(1, 5, 2)) for seed, name in enumerate(known)}, known


def test_a_sweep_of_many_networks_ends_with_their_mean(tmp_path):
    made, known = eleven()
    (drawn,) = forest.draw({"mine": sweep_writer.write(tmp_path, made, models=known)})
    (axes,) = drawn.figure.axes
    plain = [name for name in made if not name.startswith("sharp_")]
    assert labels(axes) == [*plain, "mean of 11 networks"]
    assert axes.get_title(loc="left") == ""
    each = np.stack([100 * (made[f"sharp_{name}"] - made[name]).mean(axis=2).ravel() for name in plain])
    assert len(intervals(axes)) == 11
    for ends, delta in zip(intervals(axes), each, strict=True):
        assert ends == pytest.approx(corrected(delta))
    (diamond,) = axes.patches
    (left, right), below = corrected(each.mean(axis=0)), diamond.get_xy()[:, 1]
    assert (diamond.get_xy()[:, 0].min(), diamond.get_xy()[:, 0].max()) == pytest.approx((left, right))
    assert 10.5 < below.min() < below.max() < 11.5
    np.testing.assert_allclose(axes.collections[11].get_offsets()[:, 0], each.mean(axis=0))


def corrected(delta):
    """Return the interval of Nadeau & Bengio for five folds."""
    error = np.sqrt((1 / len(delta) + 1 / 4) * np.var(delta, ddof=1))
    return scipy.stats.t.interval(0.95, len(delta) - 1, loc=delta.mean(), scale=error)


def test_no_label_of_many_networks_is_cut_or_covers_another(tmp_path):
    made, known = eleven()
    with matplotlib.rc_context(style.RC):
        (drawn,) = forest.draw({"mine": sweep_writer.write(tmp_path, made, models=known)})
        drawn.figure.draw_without_rendering()
    (axes,) = drawn.figure.axes
    texts = [*axes.get_yticklabels(), axes.xaxis.label, *drawn.figure.legends[0].get_texts()]
    boxes = [text.get_window_extent() for text in texts]
    (left, bottom), (right, top) = drawn.figure.bbox.min, drawn.figure.bbox.max
    assert all(left <= box.x0 < box.x1 <= right and bottom <= box.y0 < box.y1 <= top for box in boxes)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_too_few_runs_for_an_interval_leave_the_mean_over_networks_a_point(tmp_path):
    made, known = eleven()
    few = {name: each[:, :2] for name, each in made.items()}
    (drawn,) = forest.draw({"mine": sweep_writer.write(tmp_path, few, models=known)})
    points = [line for line in drawn.figure.axes[0].lines if line.get_marker() is forest.WIDE]
    mean = np.mean([100 * (few[f"sharp_{name}"] - few[name]).mean() for name in known if f"sharp_{name}" in known])
    assert [line.get_xdata()[0] for line in points] == pytest.approx([mean])


def test_a_difference_is_the_sharp_model_minus_its_own_plain_twin(tmp_path):
    """The records pair "a" with "b", and "unet" with no model: names have no say."""
    known = {
        "a": facts("one", "unet", "laplacian"),
        "b": facts("one", "unet"),
        "unet": facts("two", "unet"),
        "sharp_two": facts("three", "unet", "laplacian"),
        "c": facts("three", "unet"),
    }
    made = {name: scores(0.6 + place / 20, seed=place) for place, name in enumerate(known)}
    (drawn,) = forest.draw({"mine": sweep_writer.write(tmp_path, made, models=known)})
    (axes,) = drawn.figure.axes
    assert labels(axes) == ["b", "c", "mean of 2 networks"]
    for ends, (first, second) in zip(intervals(axes), (("a", "b"), ("sharp_two", "c")), strict=True):
        test = statistics.corrected_t(100 * (made[first] - made[second]).mean(axis=2), 1 / 4)
        assert ends == pytest.approx([test.low, test.high])


def test_one_difference_and_models_without_twins_have_no_figure(tmp_path):
    for number, models in enumerate((("unet", "sharp_unet"), ("unet", "wide_unet"), ("sharp_unet+scaled",))):
        sweep = sweep_writer.write(tmp_path / str(number), dict.fromkeys(models, scores(0.7)))
        assert forest.draw({"mine": sweep}) == []


def test_kernels_without_a_plain_network_are_compared_with_the_reference_alone(tmp_path):
    made = {"sharp_unet+scaled": scores(0.7, seed=1), "sharp_unet+random": scores(0.7, seed=2)}
    (drawn,) = forest.draw({"mine": sweep_writer.write(tmp_path, made)})
    against_plain, against_reference = drawn.figure.axes
    assert intervals(against_plain) == []
    assert len(intervals(against_reference)) == 1
    assert [text.get_text() for text in against_reference.texts] == ["reference"]
