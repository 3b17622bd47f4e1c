"""The summary of sweeps: scores, and whether sharp differs from plain, in a few sentences."""

from collections.abc import Mapping, Sequence

from sharp_unet_jax import metrics
from sharp_unet_jax.report import pairing, statistics, twins
from sharp_unet_jax.report.provenance import division, scored_at, scored_resized, unfinished, unlike
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import interval, mean_std, p_value, signed

FEW = 2  # models, each of which is named with its score; of more, the lowest and the highest
TOO_FEW = "too few to tell"
LEAST = 0.001  # share of a class's pixels up to which a run does not find the class


def paragraph(sweeps: Mapping[str, Sweep]) -> str:
    """Return a line per sweep, by label: its scores, and what the test says of sharp against plain."""
    finished = {label: sweep for label, sweep in sweeps.items() if sweep.finished}
    wanted = {label: pairing.twins(sweep) for label, sweep in finished.items()}
    compared = iter(
        statistics.comparisons((finished[label], *pair) for label, pairs in wanted.items() for pair in pairs)
    )
    means = twins.over_networks(list(finished.values()))
    lines = []
    for label, sweep in finished.items():
        config = sweep.config
        differences = [next(compared) for _ in wanted[label]]
        sentences = [
            f"**{label}**: {sweep.folds['images']} images, {division(sweep)}, protocol {config['protocol']}. "
            f"Jaccard on the test images{_place(sweep)}: {_scores(sweep)}.",
            *_differences(differences, means.get(sweep)),
            *_stuck(sweep),
        ]
        if any(map(statistics.holds, differences)) and statistics.splits_groups(sweep):
            sentences.append("Random folds split groups, so the test finds a difference too often.")
        if config["protocol"] == "paper":
            sentences.append("Stopping and weights were decided on the reported folds, which raises every score here.")
        lines.append(" ".join(sentences))
    return "\n".join([*lines, *unlike(list(finished.values())), unfinished(list(sweeps.values()))]).strip()


def _place(sweep: Sweep) -> str:
    """Return at which resolution scores are, where that is not the size of training."""
    return "" if scored_resized(sweep) else f", at {scored_at(sweep)}"


def _scores(sweep: Sweep) -> str:
    scored, number = {}, sweep.runs["model"].value_counts()
    for model in sweep.models:
        scores = sweep.scores(model)
        over = "" if number.nunique() == 1 else f" ({number[model]} run{'s' if number[model] > 1 else ''})"
        scored[f"`{model}` {mean_std(scores)} %{over}"] = scores.mean()
    if len(scored) > FEW:
        return f"from {min(scored, key=scored.__getitem__)} to {max(scored, key=scored.__getitem__)}"
    return ", ".join(scored)


def _stuck(sweep: Sweep) -> list[str]:
    """Return a sentence on the runs that give nearly every pixel the same class, if there are any."""
    runs = sweep.runs
    stuck = runs.loc[_stuck_runs(sweep), "model"].value_counts()
    if stuck.empty:
        return []
    models = ", ".join(f"`{model}` {number}" for model, number in stuck.items())
    return [
        f"**{stuck.sum()} of {len(runs)} runs give nearly every pixel the same class** ({models}): they ended before "
        "they learned. A larger `patience`, or `epochs` where that capped them, gives them time."
    ]


def _stuck_runs(sweep: Sweep) -> list[str]:
    """Return the runs that find at most one class, counted over all pixels of their test images.

    Without counts the means over images decide, of two classes.
    """
    number = len(sweep.classes)
    if sweep.has_images:
        counts = sweep.per_image.groupby(["run", "class"], sort=False)[["intersection", "truth", "predicted"]].sum()
        pooled = metrics.overlaps(counts.to_numpy().reshape(-1, number, 3), empty="zero")
        found = pooled["sensitivity"] > LEAST
        if number == 2:
            found[:, 0] = pooled["specificity"][:, 1] > LEAST
        names = counts.index.get_level_values("run").unique()
        return names[found.sum(axis=1) < 2].tolist()
    columns = ["sensitivity", "specificity"]
    if number != 2 or not {*columns} <= {*sweep.runs}:
        return []
    return sweep.runs.index[sweep.runs[columns].astype(float).min(axis=1) <= LEAST].tolist()


def _differences(compared: Sequence[statistics.Comparison], mean: statistics.Comparison | None) -> list[str]:
    """Return sentences about sharp minus plain: the only difference, or their mean or range and how many hold."""
    if not compared:
        return []
    if len(compared) == 1:
        return [_tested(f"`{compared[0].first}` minus `{compared[0].second}`", compared[0])]
    verdict = statistics.verdict(compared, "Sharp minus plain", "pairs", mark="")
    if mean is not None:
        return [_tested(f"The mean of sharp minus plain over {len(compared)} networks", mean), verdict]
    low, *_, high = sorted(compared, key=lambda each: each.test.mean)
    ends = (f"{signed(each.test.mean)} (`{each.first}`)" for each in (low, high))
    return [f"Sharp minus plain in points: from {' to '.join(ends)}.", verdict]


def _tested(what: str, compared: statistics.Comparison) -> str:
    test = compared.test
    points = f"{what} is {signed(test.mean)} points"
    within = "" if test.n < statistics.FEWEST else f"95 % interval {interval(test.low, test.high)}"
    if test.n < statistics.ENOUGH:
        within = f" ({within})" if within else ""
        return f"{points}{within}, over {test.n} test fold{'s' if test.n > 1 else ''}: {TOO_FEW}."
    verdict = "more than chance explains" if statistics.holds(compared) else "within what chance explains"
    p = p_value(compared.holm) if compared.holm < 0.001 else f"= {p_value(compared.holm)}"
    return f"{points} ({within}, p {p.replace('<', '< ')}): {verdict}."
