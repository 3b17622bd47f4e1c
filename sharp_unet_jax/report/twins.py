"""The table of twins: does the sharp block help? Sharp minus plain by network, and the mean over networks."""

from collections.abc import Mapping, Sequence

import pandas as pd

from sharp_unet_jax.report import pairing, statistics
from sharp_unet_jax.report.provenance import describe, named, unfinished
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.statistics import Comparison
from sharp_unet_jax.report.table import Table, interval, narrow, p_value, rounded, signed

SCORES = (
    "Plain, sharp and their difference are means of Jaccard over the runs that both finished. “Higher in” counts the "
    "runs{images} in which sharp is higher."
)
IMAGES = ", and the images by their mean over repeats,"
TIME = (
    "Time: seconds of training per image, sharp over plain, in each run's median epoch; the median over pairs "
    "of runs on the same kind and number of devices. Other work on the machine blurs it."
)
MEAN = (
    "The mean over networks is a question of its own. All networks share the test folds, so more networks are not more "
    "independent runs: differences are first averaged over the networks within each repeat and fold, and the corrected "
    "test takes these n means. Runs that are not finished for every network are left out. The mean is that of these "
    "networks; it says nothing about others. Its p is adjusted only for the means of this table ({count})."
)
SPEED, DEVICE = "timing.train_images_per_second", ["timing.device", "timing.devices"]


def table(sweeps: Sequence[Sweep], *rules: str) -> Table | None:
    """Return "twins": a row per sharp model and its plain twin, and the mean over networks; None without twins.

    Args:
        sweeps: those without twins are left out.
        rules: lines of the note, with {count} for the number of pairs.
    """
    wanted = {sweep: pairs for sweep in sweeps if (pairs := pairing.twins(sweep))}
    if not wanted:
        return None
    every = statistics.comparisons(_flat(wanted))
    compared = iter(every)
    means = over_networks(list(wanted))
    labels = named(wanted)
    rows = []
    for sweep, pairs in wanted.items():
        own = [_row(sweep, next(compared)) for _ in pairs]
        rows += [{"data set": labels[sweep]} | row for row in [*own, *_mean(sweep, means.get(sweep))]]
    frame = pd.DataFrame(rows)
    empty = [name for name in ("higher in images", "parameters (M)", "time ratio") if (frame[name] == "-").all()]
    note = [
        SCORES.format(images=IMAGES if "higher in images" not in empty else ""),
        TIME if "time ratio" not in empty else "",
        *(rule.format(count=len(_flat(wanted))) for rule in rules),
        MEAN.format(count=len(means)) if means else "",
        *_more_parameters(wanted),
        unfinished(list(wanted)),
    ]
    title = "Does the sharp block help? Sharp minus plain in points of Jaccard, over runs"
    narrowed = narrow(frame.drop(columns=empty))
    says = statistics.verdict(every, "Sharp minus plain", "pairs")
    return Table("twins", title, describe(list(wanted)), narrowed, "\n".join(filter(None, note)), says)


def over_networks(sweeps: Sequence[Sweep]) -> dict[Sweep, Comparison]:
    """Return the mean difference over networks, for each sweep in which several networks have one pair of twins."""
    wanted = [(sweep, pairs) for sweep in sweeps if (pairs := pairing.one_a_network(sweep))]
    tested = statistics.mean_comparisons(wanted)
    return {sweep: each for (sweep, _), each in zip(wanted, tested, strict=True)}


def _flat(wanted: Mapping[Sweep, Sequence[tuple[str, str]]]) -> list[tuple[Sweep, str, str]]:
    return [(sweep, *pair) for sweep, pairs in wanted.items() for pair in pairs]


def _row(sweep: Sweep, compared: Comparison) -> dict[str, str]:
    sharp, plain = compared.first, compared.second
    scores = statistics.paired(sweep, sharp, plain).mean()
    return {
        "network": pairing.twin_names(sweep)[sharp, plain],
        "plain (%)": rounded(scores[plain]),
        "sharp (%)": rounded(scores[sharp]),
        **_tested(compared),
        "higher in images": _images(sweep, sharp, plain),
        "parameters (M)": rounded(_parameters(sweep, plain) / 1e6),
        "time ratio": rounded(_time_ratio(sweep, sharp, plain)),
    }


def _mean(sweep: Sweep, compared: Comparison | None) -> list[dict[str, str]]:
    """Return the row of the mean over networks; none where there is no such mean."""
    if compared is None:
        return []
    number = len(pairing.one_a_network(sweep))
    unknown = dict.fromkeys(("plain (%)", "sharp (%)", "higher in images", "parameters (M)", "time ratio"), "-")
    return [{"network": f"mean of {number} networks"} | unknown | _tested(compared)]


def _tested(compared: Comparison) -> dict[str, str]:
    points = signed(compared.test.mean)
    return {
        "sharp minus plain": f"**{points}**" if statistics.holds(compared) else points,
        "95 % interval": interval(compared.test.low, compared.test.high),
        "p": p_value(compared.test.p),
        "p (Holm)": p_value(compared.holm),
        "higher in runs": f"{compared.higher} of {compared.test.n}",
    }


def _images(sweep: Sweep, sharp: str, plain: str) -> str:
    if not sweep.has_images:
        return "-"
    scores = [statistics.image_scores(sweep, model)["jaccard"].groupby("image_id").mean() for model in (sharp, plain)]
    delta = (scores[0] - scores[1]).dropna()
    return f"{(delta > 0).sum()} of {len(delta)}"


def _parameters(sweep: Sweep, model: str) -> float:
    """Return a model's number of parameters."""
    return float(sweep.runs.loc[sweep.runs["model"] == model, "parameters"].astype(float).max())


def _more_parameters(wanted: Mapping[Sweep, Sequence[tuple[str, str]]]) -> list[str]:
    """Return a line that twins have as many parameters, or a line for each sharp model that has more."""
    twins = [(sharp, _parameters(sweep, sharp), _parameters(sweep, plain)) for sweep, sharp, plain in _flat(wanted)]
    if all(of_sharp == of_plain for _, of_sharp, of_plain in twins):
        return ["Sharp and plain have the same number of parameters."]
    lines = (f"{name} has {a - b:,.0f} parameters more than its plain twin." for name, a, b in twins if a > b)
    return list(dict.fromkeys(lines))


def _time_ratio(sweep: Sweep, sharp: str, plain: str) -> float:
    """Return how long training takes per image, sharp over plain; nan where no two runs can be compared."""
    runs = sweep.runs.astype(dict.fromkeys(DEVICE, str))
    speed = pd.to_numeric(runs[SPEED], errors="coerce").set_axis(
        pd.MultiIndex.from_frame(runs[["model", "repeat", "fold", *DEVICE]])
    )
    return float((speed[plain] / speed[sharp]).median())
