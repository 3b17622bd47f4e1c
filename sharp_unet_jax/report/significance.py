"""Tables of differences between models: twins, kernels, other pairs of models; over runs and over images."""

from collections.abc import Iterable, Sequence

import pandas as pd

from sharp_unet_jax.report import kernels, pairing, statistics, twins
from sharp_unet_jax.report.provenance import describe, named, unfinished
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table, interval, narrow, p_value, rounded, signed

TEST = (
    f"corrected resampled t-test (Nadeau & Bengio 2003; Bouckaert & Frank 2004) at {statistics.LEVEL:.0%}, "
    "two-sided, adjusted by Holm for all comparisons of this table ({count})"
)
INTERVAL = (
    "Intervals over runs are corrected for the training images that folds share: mean ± t(n - 1) s sqrt(1/n + test "
    "images/all other images), where n is the number of runs; those that test the same images count as one, by their "
    f"mean. Fewer than {statistics.FEWEST} runs have neither an interval nor a test; over fewer than "
    f"{statistics.ENOUGH} nothing is bold, as they are too few to tell."
)
SPLIT_GROUPS = (
    "Random folds split groups. Then even the corrected test finds a difference too often: with 5 x 5 folds and groups "
    "of three, in 10 % of simulated data sets without any difference instead of in 5 % (bench/null_simulation.py)."
)
BY_IMAGE = (
    "Each image's difference is the mean over repeats. The interval treats whole groups as the units that were drawn "
    "(Student's t of groups' totals). Wilcoxon's signed-rank test takes the means of groups; with fewer than six of "
    "them it cannot reach 5 %. Holm's adjustment is for all comparisons of this table. Interval and test describe "
    "only these trained networks and say nothing about networks trained again, so nothing is bold here."
)
ONE_SIDED = (
    "Left out: images of which only one of the two models has a score, up to {count} in a row of the table. There is "
    "nothing to find in them; one model predicted nothing and the other something. Leaving them out hides this "
    "difference."
)


def tables(sweeps: Sequence[Sweep]) -> list[Table]:
    """Return the tables that there is something for; [] where no two models have finished runs.

    "twins" is sharp against plain, "kernels" compares kernels, "pairs" is every pair of models that neither of them
    holds, and "images" is every pair over images.
    """
    every_pair = [(sweep, *pair) for sweep in sweeps for pair in pairing.pairs(sweep, list(sweep.models))]
    shown = {(sweep, *sorted(pair)) for sweep in sweeps for pair in (*pairing.twins(sweep), *kernels.pairs(sweep))}
    others = [each for each in every_pair if (each[0], *sorted(each[1:])) not in shown]
    by_image = [each for each in every_pair if each[0].has_images]
    rules = f"Bold: differs from zero by the {TEST}.", INTERVAL
    found = [
        twins.table(sweeps, *rules, split_groups(filter(pairing.twins, sweeps))),
        kernels.table(sweeps, *rules, split_groups(filter(pairing.kernel_variants, sweeps))),
        _by_run(others) if others else None,
        _by_image(by_image) if by_image else None,
    ]
    return [each for each in found if each is not None]


def split_groups(sweeps: Iterable[Sweep]) -> str:
    """Return the warning that random folds of a sweep split groups; "" where none do."""
    return SPLIT_GROUPS if any(map(statistics.splits_groups, sweeps)) else ""


def _by_run(wanted: Sequence[tuple[Sweep, str, str]]) -> Table:
    labels = named(sweep for sweep, _, _ in wanted)
    rows = []
    compared = statistics.comparisons(wanted)
    for (sweep, first, second), made in zip(wanted, compared, strict=True):
        points = signed(made.test.mean)
        rows.append(
            {
                "data set": labels[sweep],
                "models": f"{first} minus {second}",
                "difference": f"**{points}**" if statistics.holds(made) else points,
                "95 % interval": interval(made.test.low, made.test.high),
                "higher in": f"{made.higher} of {made.test.n}",
                "t": rounded(made.test.t),
                "p": p_value(made.test.p),
                "p (Holm)": p_value(made.holm),
            }
        )
    bold = f"Bold: differs from zero by the {TEST.format(count=len(rows))}."
    note = [bold, INTERVAL, split_groups(labels), unfinished(list(labels))]
    title = "Other pairs of models: differences in points of Jaccard, over runs"
    says = statistics.verdict(compared, "The difference", "pairs")
    return Table(
        "pairs", title, describe(list(labels)), narrow(pd.DataFrame(rows)), "\n".join(filter(None, note)), says
    )


def _by_image(wanted: Sequence[tuple[Sweep, str, str]]) -> Table:
    labels = named(sweep for sweep, _, _ in wanted)
    tests = []
    for sweep, first, second in wanted:
        of_first, of_second = (statistics.image_scores(sweep, model)["jaccard"] for model in (first, second))
        tests.append(statistics.over_images(of_first, of_second, sweep.groups))
    adjusted = statistics.holm([test.p for test in tests])
    rows = [
        {
            "data set": labels[sweep],
            "models": f"{first} minus {second}",
            "difference": signed(test.mean),
            "95 % interval": interval(test.low, test.high),
            "Wilcoxon p": p_value(test.p),
            "p (Holm)": p_value(p),
            "images (groups)": f"{test.images} ({test.groups})",
        }
        for (sweep, first, second), test, p in zip(wanted, tests, adjusted, strict=True)
    ]
    title = "Differences in points of Jaccard, over images"
    one_sided = max(test.one_sided for test in tests)
    note = [BY_IMAGE, ONE_SIDED.format(count=one_sided) if one_sided else "", unfinished(list(labels))]
    return Table(
        "images", title, describe(list(labels)), narrow(pd.DataFrame(rows)), "\n".join(filter(None, note)), _says(tests)
    )


def _says(tests: Sequence[statistics.OverImages]) -> str:
    """Return in one sentence how many intervals exclude zero."""
    if all(pd.isna(test.low) for test in tests):
        return "There are too few groups of images for an interval."
    number = sum(test.low > 0 or test.high < 0 for test in tests)
    found = "For these trained networks, the difference is"
    if len(tests) == 1:
        return f"{found} {'more than' if number else 'within what'} the choice of images explains."
    return f"{found} more than the choice of images explains in {number or 'none'} of {len(tests)} pairs, unadjusted."
