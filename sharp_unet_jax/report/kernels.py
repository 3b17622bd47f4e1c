"""The table that compares kernels of the sharp block: zero sum or not, scale, shape, padding."""

from collections.abc import Sequence

import pandas as pd

from sharp_unet_jax.report import pairing, statistics
from sharp_unet_jax.report.provenance import describe, named, unfinished
from sharp_unet_jax.report.records import Kernel, Sweep
from sharp_unet_jax.report.statistics import Comparison
from sharp_unet_jax.report.table import Table, interval, mean_std, narrow, p_value, signed

NOTE = (
    "Sum: of the kernel's values; a kernel with sum 0 gives 0 in a uniform area. Scale: the root of the sum of their "
    "squares; the kernel multiplies the standard deviation of white noise by it. A learnable kernel starts with both. "
    "Intervals and p are those of the difference from {reference}; the table of sharp against plain has those from "
    "plain skips."
)


def table(sweeps: Sequence[Sweep], *rules: str) -> Table | None:
    """Return "kernels": a row per kernel, and the plain network, of sweeps that compare kernels; None where none does.

    Each kernel is tested against the paper's; the table "twins" tests each against plain skips.

    Args:
        sweeps: those without several kernels in one network are left out.
        rules: lines of the note, with {count} for the number of comparisons.
    """
    sweeps = [sweep for sweep in sweeps if pairing.kernel_variants(sweep)]
    if not sweeps:
        return None
    wanted = [(sweep, *pair) for sweep in sweeps for pair in pairs(sweep)]
    tested = zip(wanted, statistics.comparisons(wanted), strict=True)
    compared = {(sweep, model): each for (sweep, model, _), each in tested}
    rows = [
        {"data set": label} | _row(sweep, model) | _tested(compared.get((sweep, model)))
        for sweep, label in named(sweeps).items()
        for model in _models(sweep)
    ]
    reference = " or ".join(dict.fromkeys(_reference_name(sweep) for sweep in sweeps))
    note = [
        NOTE.format(reference=reference),
        *(rule.format(count=len(wanted)) for rule in rules if rule),
        unfinished(sweeps),
    ]
    title = "Kernels of the sharp block: Jaccard and its differences in points, over runs"
    frame = narrow(pd.DataFrame(rows)).rename(columns={"minus reference": f"minus {reference}"})
    says = statistics.verdict(list(compared.values()), f"The difference from {reference}", "kernels")
    return Table("kernels", title, describe(sweeps), frame, "\n".join(filter(None, note)), says)


def pairs(sweep: Sweep) -> list[tuple[str, str]]:
    """Return every kernel's model and the model that it is compared with; [] where no kernels are compared."""
    variants = pairing.kernel_variants(sweep)
    reference = pairing.reference_kernel(sweep) if variants else ""
    return [(model, reference) for model in variants if model != reference]


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
    scores = sweep.scores(model)
    kernel = sweep.models[model].kernel
    total, scale = sum_and_scale(kernel)
    return {
        "kernel": kernel.name.replace("_", " ") if kernel else f"none: {model}",
        "padding": kernel.padding if kernel else "-",
        "sum": total,
        "scale": scale,
        "runs": len(scores),
        "Jaccard (%)": mean_std(scores),
    }


def _tested(compared: Comparison | None) -> dict[str, str]:
    """Return the cells of a kernel's comparison with the reference; None for the reference and for plain skips."""
    if compared is None:
        return dict.fromkeys(("minus reference", "95 % interval", "higher in", "p", "p (Holm)"), "-")
    points = signed(compared.test.mean)
    return {
        "minus reference": f"**{points}**" if statistics.holds(compared) else points,
        "95 % interval": interval(compared.test.low, compared.test.high),
        "higher in": f"{compared.higher} of {compared.test.n}",
        "p": p_value(compared.test.p),
        "p (Holm)": p_value(compared.holm),
    }
