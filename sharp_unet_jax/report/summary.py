"""What a sweep came to, in one paragraph."""

from collections.abc import Mapping

from sharp_unet_jax.report import statistics
from sharp_unet_jax.report.passport import unfinished
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import interval, p_value, plus_minus, signed


def paragraph(sweeps: Mapping[str, Sweep]) -> str:
    """Scores of every sweep, by its label, and of sharp against plain; a line a sweep."""
    finished = {label: sweep for label, sweep in sweeps.items() if sweep.names}
    wanted = {
        label: [pair for pair in statistics.pairs(statistics.models(sweep)) if statistics.plain(pair[0]) == pair[1]]
        for label, sweep in finished.items()
    }
    made = iter(statistics.comparisons((finished[label], *pair) for label, pairs in wanted.items() for pair in pairs))
    lines = []
    for label, sweep in finished.items():
        config = sweep.config
        said = [
            f"**{label}**: {sweep.folds['images']} images, {config['folds']} "
            f"{'grouped' if config['grouped'] else 'random'} folds x {config['repeats']} repeats, "
            f"protocol {config['protocol']}. Jaccard on the test images: {_scores(sweep)}.",
            *(_difference(next(made)) for _ in wanted[label]),
        ]
        if config["protocol"] == "paper":
            said.append("Stopping and weights were decided on the reported folds, which flatters every score here.")
        lines.append(" ".join(said))
    return "\n".join([*lines, unfinished(list(sweeps.values()))]).strip()


def _scores(sweep: Sweep) -> str:
    said = []
    for model in statistics.models(sweep):
        scores = 100 * sweep.runs.loc[sweep.runs["model"] == model, "jaccard"].astype(float)
        said.append(f"`{model}` {plus_minus(scores.mean(), scores.std(ddof=1))} %")
    return ", ".join(said)


def _difference(made: statistics.Comparison) -> str:
    test = made.test
    points = f"`{made.first}` minus `{made.second}` is {signed(test.mean)} points"
    if test.n < 2:
        return f"{points} on the one fold that both were trained on, which says nothing of chance."
    verdict = "more than chance explains" if made.holm < statistics.LEVEL else "within what chance explains"
    return (
        f"{points} (95 % interval {interval(test.low, test.high)}, corrected resampled t-test, adjusted by Holm: "
        f"p = {p_value(made.holm)}): {verdict}."
    )
