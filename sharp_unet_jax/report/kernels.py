"""Kernels of the sharp block side by side: does the Laplacian's zero sum matter, its scale, its shape, its padding?"""

from collections.abc import Sequence
from importlib import resources

import pandas as pd

from sharp_unet_jax.report import pairing, statistics
from sharp_unet_jax.report.provenance import labels, passport, unfinished
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.statistics import Comparison
from sharp_unet_jax.report.table import Table, interval, narrow, p_value, plus_minus, signed

NOTE = (
    "Sum: of the kernel's numbers; with 0 it answers nothing to an even area. Scale: the root of the sum of their "
    "squares, by which it multiplies the standard deviation of white noise. A learnable kernel has them at first. "
    "Minus plain: tested in the table of sharp against plain. Intervals and p: of the difference from {reference}."
)


def table(sweeps: Sequence[Sweep], *rules: str) -> Table | None:
    """ "kernels": a row a model of the sweeps that compare kernels; None where none do.

    Kernels are tested against the paper's own here, against plain skips in the table "significance". `rules` stand
    under the table, with {count} for the number of comparisons.
    """
    sweeps = [sweep for sweep in sweeps if pairing.has_kernels(sweep)]
    if not sweeps:
        return None
    wanted = [
        (sweep, model, pairing.reference(sweep))
        for sweep in sweeps
        for model in statistics.models(sweep)
        if "+" in model and model != pairing.reference(sweep)
    ]
    tested = zip(wanted, statistics.comparisons(wanted), strict=True)
    made = {(id(sweep), model): each for (sweep, model, _), each in tested}
    rows = [
        {"data set": label} | _row(sweep, model) | _tested(made.get((id(sweep), model)))
        for label, sweep in zip(labels(sweeps), sweeps, strict=True)
        for model in statistics.models(sweep)
    ]
    reference = " or ".join(dict.fromkeys(pairing.kernel(pairing.reference(sweep)) for sweep in sweeps))
    note = [
        NOTE.format(reference=reference),
        *(rule.format(count=len(wanted)) for rule in rules if rule),
        unfinished(sweeps),
    ]
    title = "Kernels of the sharp block: Jaccard, and differences in points of it, over runs"
    frame = narrow(pd.DataFrame(rows)).rename(columns={"minus reference": f"minus {reference}"})
    return Table("kernels", title, passport(sweeps), frame, "\n".join(filter(None, note)))


def about(model: str) -> tuple[str, str]:
    """Sum and scale of the kernel of a model, "0" and "8.49"; "-" where it has none that is known by name."""
    with resources.files("sharp_unet_jax.report").joinpath("kernels.csv").open() as file:
        known = pd.read_csv(file).set_index("kernel").astype(float)
    name = model.partition("+")[2].partition("+")[0]
    if name not in known.index:
        return "-", "-"
    total, scale = (float(known[column][name]) for column in ("sum", "scale"))
    return f"{total:g}", f"{scale:.2f}"


def _row(sweep: Sweep, model: str) -> dict[str, object]:
    scores = 100 * sweep.runs.loc[sweep.runs["model"] == model, "jaccard"].astype(float)
    name, _, padding = model.partition("+")[2].partition("+")
    total, scale = about(model)
    plain = statistics.plain(model)
    is_twin = plain != model and plain in statistics.models(sweep)
    return {
        "kernel": name.replace("_", " ") or f"none: {model}",
        "padding": (padding or "zero") if name else "-",
        "sum": total,
        "scale": scale,
        "runs": len(scores),
        "Jaccard (%)": plus_minus(scores.mean(), scores.std(ddof=1)),
        "minus plain": signed(statistics.differences(sweep, model, plain).mean()) if is_twin else "-",
    }


def _tested(made: Comparison | None) -> dict[str, str]:
    """Of a kernel minus the one it is compared with; None is that one itself, or a model without kernel."""
    if made is None:
        return dict.fromkeys(("minus reference", "95 % interval", "higher in", "p", "p (Holm)"), "-")
    points = signed(made.test.mean)
    return {
        "minus reference": f"**{points}**" if made.holm < statistics.LEVEL else points,
        "95 % interval": interval(made.test.low, made.test.high),
        "higher in": f"{made.won} of {made.test.n}",
        "p": p_value(made.test.p),
        "p (Holm)": p_value(made.holm),
    }
