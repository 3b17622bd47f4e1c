"""What a sweep came to, in one paragraph."""

from collections.abc import Mapping, Sequence

from sharp_unet_jax.report import pairing, statistics
from sharp_unet_jax.report.provenance import unfinished
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import interval, p_value, plus_minus, signed

FEW = 3  # differences, each of which gets a sentence
TEST = "corrected resampled t-test, adjusted by Holm"


def paragraph(sweeps: Mapping[str, Sweep]) -> str:
    """Scores of every sweep, by its label, and of sharp against plain; a line a sweep."""
    finished = {label: sweep for label, sweep in sweeps.items() if sweep.finished}
    wanted = {label: pairing.twins(sweep) for label, sweep in finished.items()}
    made = iter(statistics.comparisons((finished[label], *pair) for label, pairs in wanted.items() for pair in pairs))
    lines = []
    for label, sweep in finished.items():
        config = sweep.config
        differences = [next(made) for _ in wanted[label]]
        said = [
            f"**{label}**: {sweep.folds['images']} images, {config['folds']} "
            f"{'grouped' if config['grouped'] else 'random'} folds x {config['repeats']} "
            f"repeat{'s' if config['repeats'] > 1 else ''}, protocol {config['protocol']}. "
            f"Jaccard on the test images: {_scores(sweep)}.",
            *(map(_difference, differences) if len(differences) <= FEW else _differences(differences)),
        ]
        if any(each.holm < statistics.LEVEL for each in differences) and statistics.torn(sweep):
            said.append("Random folds tear groups apart, so that the test finds too much.")
        if config["protocol"] == "paper":
            said.append("Stopping and weights were decided on the reported folds, which flatters every score here.")
        lines.append(" ".join(said))
    return "\n".join([*lines, unfinished(list(sweeps.values()))]).strip()


def _scores(sweep: Sweep) -> str:
    said, number = [], sweep.runs["model"].value_counts()
    for model in sweep.models:
        scores = 100 * sweep.runs.loc[sweep.runs["model"] == model, "jaccard"].astype(float)
        over = "" if number.nunique() == 1 else f" ({number[model]} run{'s' if number[model] > 1 else ''})"
        said.append(f"`{model}` {plus_minus(scores.mean(), scores.std(ddof=1))} %{over}")
    return ", ".join(said)


def _difference(made: statistics.Comparison) -> str:
    test = made.test
    points = f"`{made.first}` minus `{made.second}` is {signed(test.mean)} points"
    if test.n < statistics.FEWEST:
        return f"{points}, over {test.n} paired run{'s' if test.n > 1 else ''}: too few to tell it from chance."
    verdict = "more than chance explains" if made.holm < statistics.LEVEL else "within what chance explains"
    p = p_value(made.holm) if made.holm < 0.001 else f"= {p_value(made.holm)}"
    return f"{points} (95 % interval {interval(test.low, test.high)}, {TEST}: p {p.replace('<', '< ')}): {verdict}."


def _differences(made: Sequence[statistics.Comparison]) -> list[str]:
    """Many, by what the test says of them."""
    verdicts: dict[str, list[str]] = {}
    for each in sorted(made, key=lambda each: -each.test.mean):
        verdict = "More than chance explains" if each.holm < statistics.LEVEL else "Within what chance explains"
        verdict = verdict if each.test.n >= statistics.FEWEST else "Too few runs to tell from chance"
        verdicts.setdefault(verdict, []).append(f"`{each.first}` {signed(each.test.mean)}")
    said = [f"{verdict}: {', '.join(models)}." for verdict, models in verdicts.items()]
    by = f", by the {TEST}" if any(each.test.n >= statistics.FEWEST for each in made) else ""
    return [f"Sharp minus plain in points{by}.", *said]
