"""The table of twins, against the formulas of Nadeau & Bengio and of Holm written out with SciPy."""

import numpy as np
import pytest
import scipy.stats

from sharp_unet_jax.report import pairing, records, significance, table, twins
from tests.edits import edit_record, seal
from tests.report import sweep_writer
from tests.report.sweep_writer import facts, scores

TWINS = {"unet": "sharp_unet", "wide_unet": "wide_sharp_unet", "unet_resnet50": "sharp_unet_resnet50"}
FOLDS = 0.03 * np.random.default_rng(0).normal(size=(2, 5, 1))  # harder and easier folds, shared by all networks


@pytest.fixture
def made():
    """Scores of three pairs by model; the sharp models of one pair are far better in every fold."""
    found = {}
    for seed, (gain, (plain, sharp)) in enumerate(zip((0.05, 0.004, -0.002), TWINS.items(), strict=True)):
        found[plain] = np.clip(scores(0.75, seed=seed) + FOLDS, 0, 1)
        found[sharp] = np.clip(scores(0.75 + gain, seed=seed + 10) + FOLDS, 0, 1)
    return found


def differences(made, plain):
    """Return sharp minus plain in points, one value per run."""
    return 100 * (made[TWINS[plain]] - made[plain]).mean(axis=2).ravel()


def corrected(delta, ratio=1 / 4):
    """Return mean, interval and p of Nadeau & Bengio's test."""
    error = np.sqrt((1 / len(delta) + ratio) * np.var(delta, ddof=1))
    low, high = scipy.stats.t.interval(0.95, len(delta) - 1, loc=delta.mean(), scale=error)
    return delta.mean(), low, high, 2 * scipy.stats.t.sf(abs(delta.mean()) / error, len(delta) - 1)


def p_value(p):
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def rows(*sweeps):
    return twins.table(sweeps).frame.set_index("network")


def test_every_network_has_a_row_in_the_configs_order(made, tmp_path):
    reordered = {name: made[name] for plain in ("wide_unet", "unet", "unet_resnet50") for name in (plain, TWINS[plain])}
    found = rows(sweep_writer.write(tmp_path, reordered))
    assert found.index.tolist() == ["wide_unet", "unet", "unet_resnet50", "mean of 3 networks"]
    p = {plain: corrected(differences(made, plain))[3] for plain in TWINS}
    smallest, middle, largest = sorted(p, key=p.get)
    holm = {smallest: 3 * p[smallest]}
    holm[middle] = max(holm[smallest], 2 * p[middle])
    holm[largest] = max(holm[middle], p[largest])
    for plain in TWINS:
        row, delta = found.loc[plain], differences(made, plain)
        mean, low, high, _ = corrected(delta)
        points = f"{mean:+.2f}"
        assert row["sharp minus plain"] == (f"**{points}**" if holm[plain] < 0.05 else points)
        assert row["95 % interval"] == f"{low:.2f} to {high:.2f}"
        assert row["p"] == p_value(p[plain])
        assert row["p (Holm)"] == p_value(min(1, holm[plain]))
        assert row["higher in runs"] == f"{(delta > 0).sum()} of 10"
        assert row["plain (%)"] == f"{100 * made[plain].mean():.2f}"
        assert row["sharp (%)"] == f"{100 * made[TWINS[plain]].mean():.2f}"
    assert found["sharp minus plain"].str.contains("**", regex=False).tolist() == [False, True, False, True]


def test_images_are_counted_by_their_mean_over_repeats(made, tmp_path):
    found = rows(sweep_writer.write(tmp_path, made))
    for plain, sharp in TWINS.items():
        repeats = [np.roll((made[sharp] - made[plain])[repeat].ravel(), repeat) for repeat in range(2)]
        assert found.loc[plain, "higher in images"] == f"{(np.mean(repeats, axis=0) > 0).sum()} of 20"


def test_the_mean_over_networks_averages_within_folds_first(made, tmp_path):
    """The folds' means have the spread of folds; 30 pooled differences would have a far narrower interval."""
    row = rows(sweep_writer.write(tmp_path, made)).loc["mean of 3 networks"]
    each = np.stack([differences(made, plain) for plain in TWINS])
    mean, low, high, p = corrected(each.mean(axis=0))
    assert row["sharp minus plain"] == (f"**{mean:+.2f}**" if p < 0.05 else f"{mean:+.2f}")
    assert row["95 % interval"] == f"{low:.2f} to {high:.2f}"
    assert (row["p"], row["p (Holm)"]) == (p_value(p), p_value(p))
    assert row["higher in runs"] == f"{(each.mean(axis=0) > 0).sum()} of 10"
    assert f"{corrected(each.ravel())[1]:.2f}" not in row["95 % interval"]


def test_runs_that_a_network_lacks_are_left_out_of_the_mean_over_networks(made, tmp_path):
    made["wide_sharp_unet"][1, 4] = np.nan  # nothing to score
    sweep = sweep_writer.write(tmp_path, made, missing=("sharp_unet/repeat0-fold0",), failed=("unet/repeat0-fold2",))
    found = rows(sweep)
    each = np.stack([differences(made, plain) for plain in TWINS])
    mean, low, high, _ = corrected(each[:, [1, *range(3, 9)]].mean(axis=0))
    assert found.loc["mean of 3 networks", "sharp minus plain"].strip("*") == f"{mean:+.2f}"
    assert found.loc["mean of 3 networks", "95 % interval"] == f"{low:.2f} to {high:.2f}"
    assert found["higher in runs"].str.rpartition(" of ")[2].tolist() == ["8", "9", "10", "7"]
    paired = [run for run in range(10) if run not in (0, 2)]
    assert found.loc["unet", "plain (%)"] == f"{100 * made['unet'].reshape(10, 4)[paired].mean():.2f}"


def test_means_over_networks_are_adjusted_for_each_other_alone(made, tmp_path):
    small = {name: each - 0.01 * ("sharp" in name) for name, each in made.items()}
    sweeps = [sweep_writer.write(tmp_path / name, of, dataset=name) for name, of in (("a", made), ("b", small))]
    frame = twins.table(sweeps).frame
    means = frame[frame["network"] == "mean of 3 networks"]
    p = [corrected(np.stack([differences(of, plain) for plain in TWINS]).mean(axis=0))[3] for of in (made, small)]
    holm = np.minimum(1, [2 * p[0], max(2 * p[0], p[1])] if p[0] < p[1] else [max(2 * p[1], p[0]), 2 * p[1]])
    assert means["data set"].tolist() == ["a", "b"]
    assert means["p (Holm)"].tolist() == [p_value(each) for each in holm]
    note = twins.table(sweeps, "All ({count}).").note
    assert "All (6)." in note
    assert "adjusted only for the means of this table (2)" in note


def test_one_network_and_several_kernels_of_one_have_no_mean(tmp_path):
    one = dict.fromkeys(("unet", "sharp_unet"), scores(0.7))
    several = ("unet", "sharp_unet+laplacian", "sharp_unet+scaled", "wide_unet", "wide_sharp_unet")
    kernels = dict.fromkeys(several, scores(0.7))
    for number, of in enumerate((one, kernels)):
        found = rows(sweep_writer.write(tmp_path / str(number), of))
        assert not found.index.str.contains("mean").any()
    assert found.index.tolist()[0] == "sharp_unet+laplacian minus unet"
    alone = sweep_writer.write(tmp_path / "alone", {"unet": scores(0.7), "wide_sharp_unet": scores(0.7)})
    assert twins.table([alone]) is None


def test_a_network_is_named_by_its_plain_model_where_that_says_it_all(tmp_path):
    known = {
        "a": facts("one", "unet", "laplacian"),
        "b": facts("one", "unet"),
        "c": facts("two", "unet"),
        "d": facts("two", "unet", "laplacian"),
    }
    of = dict.fromkeys(known, scores(0.7))
    assert pairing.twin_names(sweep_writer.write(tmp_path / "0", of, models=known)) == {
        ("a", "b"): "b",
        ("d", "c"): "c",
    }
    known["d"] = facts("two", "unet", "scaled")
    assert pairing.twin_names(sweep_writer.write(tmp_path / "1", of, models=known)) == {
        ("a", "b"): "a minus b",
        ("d", "c"): "d minus c",
    }


def recorded(path, of, parameters, speed):
    """Write a sweep whose records hold parameters by model, and (images a second, device) by model and fold."""
    sweep_writer.write(path, of)
    for record in path.glob("runs/*/*/record.json"):
        model, fold = record.parent.parent.name, int(record.parent.name[-1])
        images, device = speed(model, fold)
        timing = sweep_writer.TIMING | {"device": device, "train_images_per_second": images}
        edit_record(record, parameters=parameters[model], timing=timing)
    return records.load(path)


def test_training_time_is_the_median_over_pairs_on_the_same_devices(tmp_path):
    of = dict.fromkeys(("unet", "sharp_unet"), scores(0.7, shape=(1, 4, 2)))

    def speed(model, fold):
        slowed = {0: 1.0, 1: 1.1, 2: 1.3, 3: 9.0}[fold] if model == "sharp_unet" else 1
        return 60 / slowed, "cpu" if fold < 3 or model == "unet" else "NVIDIA H200"

    sweep = recorded(tmp_path, of, dict.fromkeys(of, 7_760_097), speed)
    row = rows(sweep).loc["unet"]
    assert (row["time ratio"], row["parameters (M)"]) == ("1.10", "7.76")
    note = twins.table([sweep]).note
    assert "Sharp and plain have the same number of parameters." in note
    assert "Other work on the machine blurs it." in note


def test_parameters_that_a_learnable_kernel_adds_are_named(tmp_path):
    of = dict.fromkeys(("unet", "sharp_unet"), scores(0.7, shape=(1, 3, 2)))
    sweep = recorded(tmp_path, of, {"unet": 7_760_097, "sharp_unet": 7_764_417}, lambda *_: (1, "cpu"))
    note = twins.table([sweep]).note
    assert "sharp_unet has 4,320 parameters more than its plain twin." in note
    assert "same number" not in note


def test_without_images_and_runs_on_the_same_devices_there_are_no_such_columns(made, tmp_path):
    recorded(tmp_path / "w", made, dict.fromkeys(made, 10**6), lambda model, fold: (1, model))
    packed = sweep_writer.pack(tmp_path / "w", tmp_path / "packed")
    (packed / "per_image.parquet").unlink()
    seal(packed)
    found = twins.table([records.load(packed)])
    of_scores = ["network", "plain (%)", "sharp (%)", "sharp minus plain", "95 % interval"]
    assert [*found.frame] == [*of_scores, "p", "p (Holm)", "higher in runs", "parameters (M)"]
    for word in ("Time:", "images by their mean"):
        assert word not in found.note


def test_two_runs_have_no_test_and_nothing_is_nan(made, tmp_path):
    few = {name: each[:1, :2] for name, each in made.items()}
    found = twins.table([sweep_writer.write(tmp_path, few)])
    assert found.frame["p"].tolist() == ["-"] * 4
    assert "nan" not in table.markdown(found) + table.csv(found)


def test_no_pair_of_models_stands_in_two_tables(made, tmp_path):
    tables = {each.name: each.frame for each in significance.tables([sweep_writer.write(tmp_path, made)])}
    pairs = tables["pairs"]["models"].tolist()
    assert len(pairs) == 15 - 3
    assert not {f"{sharp} minus {plain}" for plain, sharp in TWINS.items()} & {*pairs}
    assert len(tables["images"]) == 15  # over images: another question
