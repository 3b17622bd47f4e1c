"""Forest plots, against differences computed by hand."""

import numpy as np
import pytest

from sharp_unet_jax import palette
from sharp_unet_jax.report import forest, statistics
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


def test_several_differences_of_other_models_stand_in_one_figure(tmp_path):
    made = {"unet": scores(0.7, seed=1), "sharp_unet": scores(0.8, seed=2)}
    sweeps = {name: sweep_writer.write(tmp_path / name, made, dataset=name) for name in ("a", "b")}
    (drawn,) = forest.draw(sweeps)
    (axes,) = drawn.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "a: sharp_unet minus unet", "b: sharp_unet minus unet"
    ]  # fmt: skip
    few = {name: each[:1, :2] for name, each in made.items()}
    (drawn,) = forest.draw({name: sweep_writer.write(tmp_path / f"few-{name}", few, dataset=name) for name in "ab"})
    (axes,) = drawn.figure.axes
    assert len(intervals(axes)) == 2
    assert np.isnan(intervals(axes)).all()


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
    assert [label.get_text() for label in axes.get_yticklabels()] == ["mine: a minus b", "mine: sharp_two minus c"]
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
