"""The gap of the best epoch on the test fold, and protocols side by side."""

import numpy as np
import pytest

from sharp_unet_jax.report import optimism, statistics
from tests.report import sweep_writer
from tests.report.sweep_writer import scores


def by_name(*sweeps):
    return {each.name: each for each in optimism.tables(sweeps)}


def test_the_gap_is_best_epoch_minus_reported(tmp_path):
    sweep = sweep_writer.write(tmp_path, {"unet": scores(0.7)}, protocol="nested", best=0.03)
    gaps = optimism.gaps(sweep, "unet")
    assert gaps["gap"].to_numpy() == pytest.approx(np.full(10, 3))
    row = by_name(sweep)["optimism"].frame.iloc[0]
    assert (row["protocol"], row["runs"], row["gap"], row["largest gap"]) == ("nested", 10, "+3.00", "+3.00")
    mean = 100 * scores(0.7).mean()
    assert row["reported epoch"].startswith(f"{mean:.2f} ± ")
    assert row["best epoch on the test fold"].startswith(f"{mean + 3:.2f} ± ")
    assert row["last epoch"] == row["reported epoch"]


def test_protocols_and_folds_stand_side_by_side(tmp_path):
    level = {("paper", False): 0.80, ("paper", True): 0.75, ("nested", False): 0.78, ("nested", True): 0.70}
    sweeps = [
        sweep_writer.write(
            tmp_path / f"{protocol}{grouped}",
            {"unet": scores(mean, 0, (1 + grouped, 2, 10)), "sharp_unet": scores(mean + 0.01, 0, (1 + grouped, 2, 10))},
            protocol=protocol,
            grouped=grouped,
            group_size=2,
        )
        for (protocol, grouped), mean in reversed(level.items())
    ]
    made = by_name(*sweeps)["protocols"]
    frame = made.frame[made.frame["model"] == "unet"]
    assert frame[["first", "second", "first minus second"]].to_numpy().tolist() == [
        ["paper, random", "paper, grouped", "+5.00"],
        ["paper, random", "nested, random", "+2.00"],
        ["paper, grouped", "nested, grouped", "+5.00"],
        ["nested, random", "nested, grouped", "+8.00"],
    ]
    assert frame["first (%)"].iloc[0] == "80.00 ± 0.00"
    assert frame["95 % interval"].iloc[0] == "5.00 to 5.00"
    assert (made.frame["images (groups)"] == "20 (10)").all()
    assert "mine, nested, grouped: Protocol: nested" in made.provenance
    assert "NOT COMPARABLE" not in made.title + made.note
    both = by_name(sweeps[0], sweeps[3])["protocols"].frame  # no setting in common: compared all the same
    assert both["first minus second"].tolist() == ["+10.00"] * 2


def test_images_are_compared_with_themselves(tmp_path):
    first, second = scores(0.8, 0.1, (3, 2, 10), seed=1), scores(0.7, 0.1, (1, 2, 10), seed=2)
    sweeps = [
        sweep_writer.write(tmp_path / "a", {"unet": first}, group_size=4),
        sweep_writer.write(tmp_path / "b", {"unet": second}, group_size=4, protocol="nested"),
    ]
    row = by_name(*sweeps)["protocols"].frame.iloc[0]
    of_image = np.mean([np.roll(first[repeat].ravel(), repeat) for repeat in range(3)], axis=0) - second.ravel()
    assert row["first minus second"] == f"{100 * of_image.mean():+.2f}"
    sweeps[1].config["data"]["size"] = [8, 8]
    longer = by_name(*sweeps)["protocols"]
    assert "NOT COMPARABLE" in longer.title
    assert "mine, nested, random: 8x8, at most" in longer.note
    low, high = statistics.cluster_interval(100 * of_image, [f"g{index // 4}" for index in range(20)])
    assert row["95 % interval"] == f"{low:.2f} to {high:.2f}"


def test_other_data_sets_and_other_models_are_not_compared(tmp_path):
    a = sweep_writer.write(tmp_path / "a", {"unet": scores(0.8)})
    b = sweep_writer.write(tmp_path / "b", {"unet": scores(0.8)}, dataset="other", protocol="nested")
    c = sweep_writer.write(tmp_path / "c", {"wide_unet": scores(0.8)}, protocol="nested")
    d = sweep_writer.write(
        tmp_path / "d", {"unet": scores(0.8)}, sha256="1", protocol="nested"
    )  # other images under the same name
    for other in (b, c, d):
        assert [*by_name(a, other)] == ["optimism"]


def test_nothing_finished_and_nothing_to_score(tmp_path):
    failed = sweep_writer.write(tmp_path / "a", {"unet": scores(0.8, shape=(1, 1, 2))}, failed=("unet/repeat0-fold0",))
    assert by_name(failed) == {}
    empty = sweep_writer.write(tmp_path / "b", {"unet": np.full((1, 2, 2), np.nan)})
    row = by_name(empty, failed)["optimism"].frame.iloc[0]
    assert (row["reported epoch"], row["gap"], row["largest gap"]) == ("-", "-", "-")
