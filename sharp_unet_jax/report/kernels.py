"""The table that compares kernels of the sharp block: zero sum or not, scale, shape, padding."""

from collections.abc import Sequence

import pandas as pd

from sharp_unet_jax.report import pairing, statistics
from sharp_unet_jax.report.provenance import labels, passport, unfinished
from sharp_unet_jax.report.records import Kernel, Sweep
from sharp_unet_jax.report.statistics import Comparison
from sharp_unet_jax.report.table import Table, interval, narrow, p_value, plus_minus, signed

NOTE = (
    "Sum: of the kernel's numbers; with 0 it answers nothing to an even area. Scale: the root of the sum of their "
    "squares, by which it multiplies the standard deviation of white noise. A learnable kernel has them at first. "
    "Minus plain: tested in the table of sharp against plain. Intervals and p: of the difference from {reference}."
)


def table(sweeps: Sequence[Sweep], *rules: str) -> Table | None:
    """Return "kernels": a row a kernel, and the plain network, of sweeps that compare kernels; None where none does.

    Each kernel is tested against the paper's; the table "significance" tests each against plain skips.

    Args:
        sweeps: those without several kernels in one network are left out.
        rules: lines of the note, with {count} for the number of comparisons.
    """
    sweeps = [sweep for sweep in sweeps if pairing.kernel_variants(sweep)]
    if not sweeps:
        return None
    wanted = [
        (sweep, model, pairing.reference_kernel(sweep))
        for sweep in sweeps
        for model in pairing.kernel_variants(sweep)
        if model != pairing.reference_kernel(sweep)
    ]
    tested = zip(wanted, statistics.comparisons(wanted), strict=True)
    made = {(id(sweep), model): each for (sweep, model, _), each in tested}
    rows = [
        {"data set": label} | _row(sweep, model) | _tested(made.get((id(sweep), model)))
        for label, sweep in zip(labels(sweeps), sweeps, strict=True)
        for model in _models(sweep)
    ]
    reference = " or ".join(dict.fromkeys(_reference_name(sweep) for sweep in sweeps))
    note = [
        NOTE.format(reference=reference),
        *(rule.format(count=len(wanted)) for rule in rules if rule),
        unfinished(sweeps),
    ]
    title = "Kernels of the sharp block: Jaccard, and differences in points of it, over runs"
    frame = narrow(pd.DataFrame(rows)).rename(columns={"minus reference": f"minus {reference}"})
    return Table("kernels", title, passport(sweeps), frame, "\n".join(filter(None, note)))


def sum_and_scale(kernel: Kernel | None) -> tuple[str, str]:
    """Return a kernel's sum and scale as text, "0" and "8.49"; "-" without a kernel."""
    if kernel is None:
        return "-", "-"
    return f"{round(kernel.sum, 4) + 0.0:g}", f"{kernel.scale:.2f}"  # + 0.0 turns -0.0 into 0.0


def _models(sweep: Sweep) -> list[str]:
    """Return the models of the network whose kernels are compared, the plain one too, in the config's order."""
    network = sweep.models[pairing.reference_kernel(sweep)].network
    return [name for name, model in sweep.models.items() if model.network == network]


def _reference_name(sweep: Sweep) -> str:
    kernel = sweep.models[pairing.reference_kernel(sweep)].kernel
    assert kernel is not None
    return pairing.kernel_name(kernel)


def _row(sweep: Sweep, model: str) -> dict[str, object]:
    scores = 100 * sweep.runs.loc[sweep.runs["model"] == model, "jaccard"].astype(float)
    kernel, plain = sweep.models[model].kernel, pairing.plain_twin(sweep, model)
    total, scale = sum_and_scale(kernel)
    return {
        "kernel": kernel.name.replace("_", " ") if kernel else f"none: {model}",
        "padding": kernel.padding if kernel else "-",
        "sum": total,
        "scale": scale,
        "runs": len(scores),
        "Jaccard (%)": plus_minus(scores.mean(), scores.std(ddof=1)),
        "minus plain": signed(statistics.differences(sweep, model, plain).mean()) if plain else "-",
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
