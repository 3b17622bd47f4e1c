"""The summary's sentences, for known scores."""

import re

import numpy as np
import pytest
import scipy.stats

from sharp_unet_jax.report import records, statistics, summary
from tests.edits import edit_record
from tests.report import sweep_writer
from tests.report.sweep_writer import facts, scores


def test_it_names_images_folds_protocol_and_scores(tmp_path):
    runs = 100 * scores(0.7, seed=1).mean(axis=2)
    sweep = sweep_writer.write(tmp_path, {"unet": scores(0.7, seed=1)}, protocol="nested", grouped=True)
    assert summary.paragraph({"mine": sweep}) == (
        "**mine**: 20 images, 5 grouped folds x 2 repeats, protocol nested. "
        f"Jaccard on the test images: `unet` {runs.mean():.2f} ± {runs.std(ddof=1):.2f} %."
    )


def test_a_difference_has_its_interval_its_test_and_a_verdict(tmp_path):
    first, second = scores(0.8, seed=1), scores(0.7, seed=2)
    said = summary.paragraph({"mine": sweep_writer.write(tmp_path, {"unet": second, "sharp_unet": first})})
    test = statistics.corrected_t(100 * (first - second).mean(axis=2), 1 / 4)
    assert f"`sharp_unet` minus `unet` is {test.mean:+.2f} points" in said
    assert f"95 % interval {test.low:.2f} to {test.high:.2f}" in said
    assert "p < 0.001): more than chance explains." in said


def test_a_difference_within_chance_is_called_that(tmp_path):
    made = {"unet": scores(0.7, seed=1), "sharp_unet": scores(0.7, seed=2)}
    said = summary.paragraph({"mine": sweep_writer.write(tmp_path, made)})
    assert re.search(r"p = 0\.\d{3}\): within what chance explains\.", said)


def test_p_values_are_adjusted_for_the_differences_of_all_sweeps(tmp_path):
    made = {"unet": scores(0.7, seed=1), "sharp_unet": scores(0.71, seed=2)}
    one, other = (sweep_writer.write(tmp_path / name, made, dataset=name) for name in "ab")
    (p,) = re.findall(r"p = ([\d.]+)", summary.paragraph({"a": one}))
    twice = re.findall(r"p = ([\d.]+)", summary.paragraph({"a": one, "b": other}))
    assert [float(each) for each in twice] == pytest.approx([min(1, 2 * float(p))] * 2, abs=2e-3)


def test_the_summary_warns_of_decisions_on_the_reported_folds(tmp_path):
    for protocol in ("paper", "nested"):
        sweep = sweep_writer.write(tmp_path / protocol, {"unet": scores(0.7)}, protocol=protocol)
        assert ("raises every score" in summary.paragraph({"mine": sweep})) == (protocol == "paper")


def all_in(sweep, run, label):
    """Let a run of a sweep give every pixel the class `label`, and one of its images no foreground."""
    table, background, full = sweep.per_image, sweep.classes[0], 2 * sweep_writer.PIXELS
    here = table["run"] == run
    empty = here & (table["image_id"] == table.loc[here, "image_id"].iloc[0])
    table.loc[empty, "truth"] = np.where(table.loc[empty, "class"] == background, full, 0)
    table.loc[here, "predicted"] = np.where(table.loc[here, "class"] == label, full, 0)
    table.loc[here, "intersection"] = np.where(table.loc[here, "class"] == label, table.loc[here, "truth"], 0)


def test_runs_that_give_every_pixel_one_class_are_counted(tmp_path):
    sweep = sweep_writer.write(tmp_path, {"unet": scores(0.7), "sharp_unet": scores(0.7)})
    assert "the same class" not in summary.paragraph({"mine": sweep})
    for run, label in (("unet/repeat0-fold1", "background"), ("sharp_unet/repeat0-fold0", "polyp")):
        all_in(sweep, run, label)
    said = summary.paragraph({"mine": sweep})
    assert "**2 of 20 runs give nearly every pixel the same class** (" in said
    assert "`unet` 1" in said
    assert "`sharp_unet` 1" in said


def test_of_several_classes_a_run_must_find_two(tmp_path):
    sweep = sweep_writer.write(tmp_path, {"unet": scores(0.7)}, classes=3)
    assert "the same class" not in summary.paragraph({"mine": sweep})
    all_in(sweep, "unet/repeat0-fold1", "border")
    assert "**1 of 10 runs give nearly every pixel the same class**" in summary.paragraph({"mine": sweep})


def test_without_counts_the_means_tell_which_runs_give_one_class(tmp_path, monkeypatch):
    sweep_writer.write(tmp_path, {"unet": scores(0.7)})
    edit_record(tmp_path / "runs/unet/repeat0-fold1/record.json", sensitivity=0.0)
    sweep = records.load(tmp_path)
    monkeypatch.setattr(records.Sweep, "has_images", False)
    assert "**1 of 10 runs give nearly every pixel the same class**" in summary.paragraph({"mine": sweep})


def test_an_unfinished_sweep_says_so_and_one_without_scores_says_nothing_else(tmp_path):
    unet = {"unet": scores(0.7, shape=(1, 2, 3))}
    part = sweep_writer.write(tmp_path / "part", unet, missing=("unet/repeat0-fold1",))
    assert "**1 of 2 runs are finished:" in summary.paragraph({"mine": part})
    failed = sweep_writer.write(tmp_path / "none", {"unet": np.ones((1, 1, 2))}, failed=("unet/repeat0-fold0",))
    assert summary.paragraph({"mine": failed}).startswith("**0 of 1 runs are finished, 1 failed:")


def test_the_summary_warns_of_split_groups_where_it_finds_a_difference(tmp_path):
    apart = {
        "unet": scores(0.5, shape=(1, 5, 4), spread=0.001),
        "sharp_unet": scores(0.8, shape=(1, 5, 4), spread=0.001),
    }
    for number, warned in ((2, True), (1, False)):
        sweep = sweep_writer.write(tmp_path / str(number), apart, group_size=number)
        assert "more than chance" in (said := summary.paragraph({"mine": sweep}))
        assert ("split groups" in said) == warned


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_fewer_than_five_runs_have_no_verdict_however_far_apart_they_are(tmp_path, folds):
    apart = {
        "unet": scores(0.5, shape=(1, folds, 4), spread=0.001),
        "sharp_unet": scores(0.8, shape=(1, folds, 4), spread=0.001, seed=1),
    }
    said = summary.paragraph({"mine": sweep_writer.write(tmp_path, apart)})
    assert f", over {folds} test folds: too few to tell." in said
    assert "chance" not in said
    assert ("95 % interval" in said) == (folds > 2)


def test_sweeps_of_other_sizes_or_lengths_are_loudly_not_comparable(tmp_path):
    first, second, third = (
        sweep_writer.write(tmp_path / name, {"unet": scores(0.7)}, grouped=name != "a", protocol="nested")
        for name in "abc"
    )
    sweeps = {"first": first, "second": second, "third": third}
    assert "NOT COMPARABLE" not in summary.paragraph(sweeps)
    third.config["epochs"] = 3
    said = summary.paragraph(sweeps)
    assert said.count("**NOT COMPARABLE: these sweeps differ") == 1
    assert "at most 3 epochs" in said
    for sweep in (first, second, third):
        for record in sweep.finished.values():
            record["capped"] = False
    assert "NOT COMPARABLE" not in summary.paragraph(sweeps)
    third.config["schedule"] = "cosine"  # whose learning rates depend on the limit
    assert re.search("192x256, at most [0-9]+ epochs; [^;]*/c: 192x256, at most 3 epochs", summary.paragraph(sweeps))
    third.config["schedule"] = "plateau"
    next(iter(first.finished.values()))["capped"] = True  # `third` ended by itself, `first` might have gone on
    assert "NOT COMPARABLE" in summary.paragraph(sweeps)
    third.config["epochs"] = first.config["epochs"]  # the same limit, whoever met it
    assert "NOT COMPARABLE" not in summary.paragraph(sweeps)


def test_means_over_other_numbers_of_runs_say_so(tmp_path):
    made = {name: scores(0.7, shape=(1, 3, 3)) for name in ("unet", "sharp_unet")}
    whole, part = (
        sweep_writer.write(tmp_path / name, made, missing=missing)
        for name, missing in (("whole", ()), ("part", ("sharp_unet/repeat0-fold1", "sharp_unet/repeat0-fold2")))
    )
    said = summary.paragraph({"part": part})
    assert re.search(r"`unet` \S+ ± \S+ % \(3 runs\), `sharp_unet` \S+ % \(1 run\)", said)
    assert "runs)" not in summary.paragraph({"whole": whole})


def test_the_summary_of_many_kernels_is_their_range_and_how_many_hold(tmp_path):
    means = {"laplacian": 0.76, "scaled": 0.70, "sharpen": 0.77, "random": 0.64}
    made = {"unet": scores(0.70, seed=1)} | {
        f"sharp_unet+{name}": scores(mean, seed=2 + place) for place, (name, mean) in enumerate(means.items())
    }
    said = summary.paragraph({"mine": sweep_writer.write(tmp_path, made)})
    low, high = (100 * (made[f"sharp_unet+{name}"] - made["unet"]).mean() for name in ("random", "sharpen"))
    assert (
        f"Sharp minus plain in points: from {low:+.2f} (`sharp_unet+random`) to {high:+.2f} (`sharp_unet+sharpen`). "
        "Sharp minus plain is more than chance explains in 3 of 4 pairs."
    ) in said
    assert "p = " not in said


def test_the_summary_of_many_networks_is_their_mean_and_the_range_of_scores(tmp_path):
    known = {f"plain{number}": facts(f"plain{number}", "unet") for number in range(5)}
    known |= {f"sharp{number}": facts(f"plain{number}", "unet", "laplacian") for number in range(5)}
    made = {name: scores(0.7, seed=seed) for seed, name in enumerate(known)}
    said = summary.paragraph({"mine": sweep_writer.write(tmp_path, made, models=known)})
    each = [100 * (made[f"sharp{number}"] - made[f"plain{number}"]).mean(axis=2).ravel() for number in range(5)]
    delta = np.mean(each, axis=0)
    error = np.sqrt((1 / 10 + 1 / 4) * delta.var(ddof=1))
    low, high = scipy.stats.t.interval(0.95, 9, loc=delta.mean(), scale=error)
    p = 2 * scipy.stats.t.sf(abs(delta.mean()) / error, 9)
    assert (
        "The mean of sharp minus plain over 5 networks is "
        f"{delta.mean():+.2f} points (95 % interval {low:.2f} to {high:.2f}, "
    ) in said
    assert f"p = {p:.3f}): within what chance explains. Sharp minus plain is more than chance explains in none" in said
    means = {name: 100 * each.mean() for name, each in made.items()}
    lowest, highest = min(means, key=means.get), max(means, key=means.get)
    assert f"from `{lowest}` {means[lowest]:.2f} ± " in said
    assert f"% to `{highest}` {means[highest]:.2f} ± " in said
    assert said.count(" ± ") == 2
    assert len(said) < 450
