"""The gain in score from decisions on the test fold, and from groups that are split across folds."""

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from sharp_unet_jax.report import statistics
from sharp_unet_jax.report.provenance import (
    MONITORS,
    describe,
    epochs_scored,
    named,
    scored_at,
    unfinished,
    unlike,
)
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table, interval, narrow, plus_minus, signed

PIXELS = ("size", "fit", "mask_filter", "score", "scale", "spacing")
"""Settings that the digest of a data set depends on."""


def tables(sweeps: Sequence[Sweep]) -> list[Table]:
    """Return "optimism" and, where sweeps share a data set, "protocols"; [] where no run is finished.

    "optimism" compares the reported epoch with the best one on the test fold and the last one. "protocols" puts the
    settings of the sweeps side by side.
    """
    sweeps = [sweep for sweep in sweeps if sweep.finished]
    return [table for make in (_optimism, _protocols) if (table := make(sweeps))]


def gaps(sweep: Sweep, model: str) -> pd.DataFrame:
    """Return a row per finished run of `model`: Jaccard in per cent at three epochs, and a gap.

    Returns:
        Columns reported, best (epoch on the test fold), last, and gap: best minus reported. nan where there was nothing
        to score. All three are scored as epochs are, see `epochs_scored`: records may hold another reported score.
    """
    runs = sweep.runs[sweep.runs["model"] == model]
    columns = {"reported": "jaccard", "best": "best_on_test.jaccard", "last": "last.jaccard"}
    scores = pd.DataFrame({name: 100 * runs[column].astype(float) for name, column in columns.items()})
    if epochs_scored(sweep):
        every = sweep.epochs
        best = every[every["epoch"] == every["run"].map(runs["best_epoch"])]
        scores["reported"] = 100 * best.set_index("run")["test_jaccard"]
    return scores.assign(gap=scores["best"] - scores["reported"])


def _optimism(sweeps: Sequence[Sweep]) -> Table | None:
    rows, means = [], []
    for sweep, label in named(sweeps).items():
        for model in sweep.models:
            scores = gaps(sweep, model)
            gap = statistics.corrected_t(scores["gap"], statistics.test_ratio(sweep))
            means.append(gap.mean)
            rows.append(
                {
                    "data set": label,
                    "protocol": sweep.config["protocol"],
                    "model": model,
                    "runs": len(scores),
                    "reported epoch": plus_minus(scores["reported"].mean(), scores["reported"].std()),
                    "best epoch on the test fold": plus_minus(scores["best"].mean(), scores["best"].std()),
                    "gap": signed(gap.mean),
                    "95 % interval": interval(gap.low, gap.high),
                    "largest gap": signed(scores["gap"].max()),
                    "last epoch": plus_minus(scores["last"].mean(), scores["last"].std()),
                }
            )
    if not rows:
        return None
    monitors = dict.fromkeys(MONITORS[sweep.config["monitor"]] for sweep in sweeps)
    note = [
        "Jaccard in per cent. The gap is what the choice of the best epoch on the test fold would add to the score.",
        "With the protocol nested, the reported epoch was chosen on other images, and the gap is the whole optimism of "
        f"choosing on the test fold. With the protocol paper, it was chosen by the {' or '.join(monitors)} on the test "
        "fold itself, and the gap is only the rest of the optimism.",
        *(
            f"**{label}: here the reported epoch too is scored {how}; its other scores are those of whole images at "
            f"{scored_at(sweep)}.**"
            for sweep, label in named(sweeps).items()
            if (how := epochs_scored(sweep))
        ),
        unfinished(sweeps),
    ]
    title = "Optimism: the best epoch on the test fold against the reported one"
    low, high = signed(min(means)), signed(max(means))
    says = f"Choosing the best epoch on the test fold would add {low if low == high else f'{low} to {high}'} points."
    if any(sweep.config["protocol"] == "paper" for sweep in sweeps):
        says += " With the protocol paper the scores themselves come from such a choice."
    return Table("optimism", title, describe(sweeps), narrow(pd.DataFrame(rows)), "\n".join(filter(None, note)), says)


def _protocols(sweeps: Sequence[Sweep]) -> Table | None:
    label = named(sweeps)
    rows = []
    pairs = _side_by_side(sweeps)
    for first, second in pairs:
        for model in (model for model in first.models if model in second.models):
            a, b = (statistics.image_scores(sweep, model)["jaccard"] for sweep in (first, second))
            images = statistics.over_images(a.groupby("image_id").mean(), b.groupby("image_id").mean(), first.groups)
            of_first, of_second = (
                100 * sweep.runs.loc[sweep.runs["model"] == model, "jaccard"].astype(float) for sweep in (first, second)
            )
            rows.append(
                {
                    "data set": first.dataset,
                    "model": model,
                    "first": label[first].removeprefix(f"{first.dataset}, "),
                    "second": label[second].removeprefix(f"{second.dataset}, "),
                    "first (%)": plus_minus(of_first.mean(), of_first.std()),
                    "second (%)": plus_minus(of_second.mean(), of_second.std()),
                    "first minus second": signed(images.mean),
                    "95 % interval": interval(images.low, images.high),
                    "images (groups)": f"{images.images} ({images.groups})",
                }
            )
    if not rows:
        return None
    compared = [sweep for sweep in sweeps if any(row["data set"] == sweep.dataset for row in rows)]
    apart = [(label[a], label[b], *places) for a, b in pairs if len(set(places := (scored_at(a), scored_at(b)))) > 1]
    loud = unlike(compared)
    note = [
        *loud,
        "Jaccard. The folds of two sweeps are not paired, but their images are: the difference is between each image's "
        "means over repeats. Its interval treats whole groups as the units that were drawn (Student's t of groups' "
        "totals). Whatever else differs between the sweeps, such as the number of training images, is part of the "
        "difference too.",
        *(f"**{a} is scored at {here}, {b} at {there}: their scores are not alike.**" for a, b, here, there in apart),
        unfinished(compared),
    ]
    title = "Protocols side by side" + (": NOT COMPARABLE, sizes or lengths of training differ" if loud else "")
    says = "The same images under other rules: all that differs between two sweeps is in their difference."
    return Table(
        "protocols", title, describe(compared), narrow(pd.DataFrame(rows)), "\n".join(filter(None, note)), says
    )


def _side_by_side(sweeps: Sequence[Sweep]) -> list[tuple[Sweep, Sweep]]:
    """Return every two sweeps of a data set that share the protocol or the kind of folds; all pairs if none do."""
    sweeps = [sweep for sweep in sweeps if sweep.has_images]
    ordered = sorted(sweeps, key=lambda sweep: (sweep.config["protocol"] == "nested", sweep.config["grouped"]))
    pairs = []
    for dataset in dict.fromkeys(sweep.dataset for sweep in sweeps):
        named_so = [sweep for sweep in ordered if sweep.dataset == dataset]
        every = [(a, b) for a, b in combinations(named_so, 2) if _same_images(a, b)]
        alike = [(a, b) for a, b in every if any(a.config[key] == b.config[key] for key in ("protocol", "grouped"))]
        pairs += alike or every
    return pairs


def _same_images(first: Sweep, second: Sweep) -> bool:
    """Return whether two data sets of one name are the same: equal ids, and equal pixels if they are resized alike."""
    of_first, of_second = (sweep.config["data"] for sweep in (first, second))
    resized_alike = all(of_first[key] == of_second[key] for key in PIXELS)
    same_pixels = first.folds["sha256"] == second.folds["sha256"]
    return first.groups.keys() == second.groups.keys() and (same_pixels or not resized_alike)
