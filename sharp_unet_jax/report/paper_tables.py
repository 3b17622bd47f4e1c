"""The paper's tables made of sweeps' records, what is significant in them, and tables.md at the end of a sweep."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sharp_unet_jax.report import kernels, optimism, other_overlaps, pairing, published, records, statistics, table
from sharp_unet_jax.report.provenance import labels, passport, unfinished
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.statistics import Comparison
from sharp_unet_jax.report.table import Table, interval, narrow, p_value, plus_minus, signed
from sharp_unet_jax.storage.atomic import write_text

TEST = (
    f"corrected resampled t-test (Nadeau & Bengio 2003; Bouckaert & Frank 2004) at {statistics.LEVEL:.0%}, "
    "two-sided, adjusted by Holm for all comparisons of this table ({count})"
)
INTERVAL = (
    "Intervals by runs are corrected likewise for the training images that folds share: "
    "mean ± t(n - 1) s sqrt(1/n + test images/all others), n the runs; of fewer than "
    f"{statistics.FEWEST} there is none, and no test."
)
TORN = (
    "Random folds tear groups apart: then even the corrected test holds too often (with 5 x 5 folds and groups of "
    "three in 10 % of simulated data sets without any difference, instead of in 5 %: bench/null_simulation.py)."
)
BY_IMAGE = (
    "Each image's difference is averaged over repeats first. The interval takes whole groups as what was drawn "
    "(Student's t of groups' totals), Wilcoxon's signed-rank test takes the means of groups, of which six are the "
    "fewest that can reach 5 %, and Holm's adjustment is for all comparisons of this table. Both take the trained "
    "networks as given: they say nothing of other trainings, so nothing is bold here."
)
ONE_SIDED = (
    "Left out: images of which only one of the two models has a score, up to {count} in a row. There the other model "
    "found nothing where nothing is, and this one something: a difference that leaving them out hides."
)


class Block(NamedTuple):
    """Rows of a table that are compared with each other."""

    sweep: Sweep
    models: list[str]


def every(sweeps: Sequence[Sweep]) -> list[Table]:
    """Return all tables of the sweeps in the report's order: the paper's, other overlaps, significance, kernels, pairs,
    images, optimism, protocols; [] where no run is finished."""
    finished = [sweep for sweep in sweeps if sweep.finished]
    overlaps = [other_overlaps.table(finished)] if finished else []
    return [*paper(sweeps), *overlaps, *significance(sweeps), *optimism.tables(sweeps)]


def paper(sweeps: Sequence[Sweep]) -> list[Table]:
    """ "table1": unet and sharp_unet; "table2": plain and sharp by encoder; "table3": all models.

    A row a sweep and model; tables 2 and 3 only where they say more than table 1.
    """
    blocks = _blocks(sweeps)
    only = [
        block._replace(models=[name for name in block.models if _is_of_table1(block.sweep, name)]) for block in blocks
    ]
    encoders = [each for block in blocks for each in _by_encoder(block)]
    tables = [(1, "U-Net and Sharp U-Net", only), (2, "Encoders, with plain and with sharp skip connections", encoders)]
    if any(len(all_.models) > len(some.models) for all_, some in zip(blocks, only, strict=True)):
        tables.append((3, "All models", blocks))
    return [_paper(number, title, made) for number, title, of in tables if (made := [b for b in of if b.models])]


def _is_of_table1(sweep: Sweep, model: str) -> bool:
    return sweep.models[model].network == "unet" and pairing.has_paper_kernel(sweep, model)


def _by_encoder(block: Block) -> list[Block]:
    """Return a block a network of Table 2; [] where no model has an encoder of ImageNet's."""
    models = block.sweep.models
    if all(models[name].encoder in ("unet", "wide_unet") for name in block.models):
        return []
    networks = dict.fromkeys(models[name].network for name in block.models if models[name].encoder != "wide_unet")
    return [
        block._replace(models=[name for name in block.models if models[name].network == network])
        for network in networks
    ]


def significance(sweeps: Sequence[Sweep]) -> list[Table]:
    """ "significance": sharp against plain twins; "kernels", where sweeps compare some; "pairs": every two models,
    where that is more; "images": the same pairs by image. [] where no two models have finished runs."""
    every_pair = [(block.sweep, *pair) for block in _blocks(sweeps) for pair in pairing.pairs(*block)]
    twins = [(sweep, *pair) for sweep in sweeps for pair in pairing.twins(sweep)]
    made = []
    if twins:
        made.append(_by_run("significance", "Sharp against plain", twins))
    if each := kernels.table(
        sweeps, f"Bold: differs from zero by the {TEST}.", INTERVAL, _torn(filter(pairing.kernel_variants, sweeps))
    ):
        made.append(each)
    if len(every_pair) > len(twins):
        made.append(_by_run("pairs", "Every two models", every_pair))
    if by_image := [each for each in every_pair if each[0].has_images]:
        made.append(_by_image(by_image))
    return made


def markdown(workdir: Path) -> str:
    """tables.md of a sweep: how its numbers came about, and its tables."""
    sweep = records.load(workdir)
    parts = [f"# {sweep.dataset}", passport([sweep]), unfinished([sweep])]
    for each in every([sweep]):
        new = [line for line in each.note.splitlines() if all(line not in part for part in parts)]
        parts += [f"## {each.title}", table.body(each), "\n\n".join(new)]
    return "\n\n".join(part for part in parts if part) + "\n"


def write(workdir: Path) -> None:
    """Writes `markdown` to tables.md."""
    write_text(workdir / "tables.md", markdown(workdir))


def _paper(number: int, title: str, blocks: Sequence[Block]) -> Table:
    """A table like the paper's of that number; bold is a model that beats every other of its block."""
    pairs = [(block.sweep, *pair) for block in blocks for pair in pairing.pairs(*block)]
    remaining = iter(statistics.comparisons(pairs))
    sweeps, named = _sweeps(block.sweep for block in blocks)
    rows = []
    for block in blocks:
        here = [next(remaining) for _ in pairing.pairs(*block)]
        for model in block.models:
            row = {"data set": named[id(block.sweep)], "model": model}
            rows.append(row | _scores(number, block.sweep, model, bold=_beats_all(model, here)))
    frame = pd.DataFrame(rows)
    if (frame[["paper: Jaccard", "paper: Dice"]] == "-").all(axis=None):
        frame = frame.drop(columns=frame.columns[frame.columns.str.contains("paper")])
    rule = "the higher Jaccard of plain and sharp" if number < 3 else "a Jaccard higher than every other model's"
    bold = f"Bold: {rule} by the {TEST.format(count=len(pairs))}." if pairs else ""
    note = [bold, INTERVAL, _torn(sweeps) if pairs else "", unfinished(sweeps)]
    return Table(
        f"table{number}",
        f"{title} (the paper's Table {number})",
        passport(sweeps),
        narrow(frame),
        "\n".join(filter(None, note)),
    )


def _scores(number: int, sweep: Sweep, model: str, *, bold: bool) -> dict[str, object]:
    runs = sweep.runs[sweep.runs["model"] == model]
    paper = published.scores(sweep, model, number)
    row: dict[str, object] = {"runs": len(runs)}
    for metric in published.OVERLAPS:
        scores, name = 100 * runs[metric].astype(float), metric.capitalize()
        row[f"{name} (%)"] = plus_minus(scores.mean(), scores.std(ddof=1))
        if metric == "jaccard":
            row[f"{name} (%)"] = f"**{row[f'{name} (%)']}**" if bold else row[f"{name} (%)"]
            mean = statistics.corrected_t(scores, statistics.share_tested(sweep))
            row["95 % interval"] = interval(max(mean.low, 0), min(mean.high, 100))
        row[f"paper: {name}"] = plus_minus(paper[f"{metric}_mean"], paper[f"{metric}_std"])
        row[f"{name} minus paper"] = signed(scores.mean() - paper[f"{metric}_mean"])
    return row


def _beats_all(model: str, made: Sequence[Comparison]) -> bool:
    own = [each for each in made if model in (each.first, each.second)]
    return bool(own) and all(
        each.holm < statistics.LEVEL and (each.test.mean > 0) == (each.first == model) for each in own
    )


def _by_run(name: str, title: str, wanted: Sequence[tuple[Sweep, str, str]]) -> Table:
    sweeps, named = _sweeps(sweep for sweep, _, _ in wanted)
    rows = []
    for (sweep, first, second), made in zip(wanted, statistics.comparisons(wanted), strict=True):
        points = signed(made.test.mean)
        rows.append(
            {
                "data set": named[id(sweep)],
                "models": f"{first} minus {second}",
                "difference": f"**{points}**" if made.holm < statistics.LEVEL else points,
                "95 % interval": interval(made.test.low, made.test.high),
                "higher in": f"{made.won} of {made.test.n}",
                "t": "-" if pd.isna(made.test.t) else f"{made.test.t:.2f}",
                "p": p_value(made.test.p),
                "p (Holm)": p_value(made.holm),
            }
        )
    bold = f"Bold: differs from zero by the {TEST.format(count=len(rows))}."
    note = [bold, INTERVAL, _torn(sweeps), unfinished(sweeps)]
    title = f"{title}: differences in points of Jaccard, over runs"
    return Table(name, title, passport(sweeps), narrow(pd.DataFrame(rows)), "\n".join(filter(None, note)))


def _by_image(wanted: Sequence[tuple[Sweep, str, str]]) -> Table:
    sweeps, named = _sweeps(sweep for sweep, _, _ in wanted)
    tests = []
    for sweep, first, second in wanted:
        of_first, of_second = (statistics.image_scores(sweep, model)["jaccard"] for model in (first, second))
        tests.append(statistics.over_images(of_first, of_second, sweep.groups))
    rows = [
        {
            "data set": named[id(sweep)],
            "models": f"{first} minus {second}",
            "difference": signed(test.mean),
            "95 % interval": interval(test.low, test.high),
            "Wilcoxon p": p_value(test.p),
            "p (Holm)": p_value(adjusted),
            "images (groups)": f"{test.images} ({test.groups})",
        }
        for (sweep, first, second), test, adjusted in zip(
            wanted, tests, statistics.holm([test.p for test in tests]), strict=True
        )
    ]
    title = "Differences in points of Jaccard, over images"
    one_sided = max(test.one_sided for test in tests)
    alone = ONE_SIDED.format(count=one_sided) if one_sided else ""
    note = "\n".join(filter(None, [BY_IMAGE, alone, unfinished(sweeps)]))
    return Table("images", title, passport(sweeps), narrow(pd.DataFrame(rows)), note)


def _torn(sweeps: Iterable[Sweep]) -> str:
    return TORN if any(map(statistics.torn, sweeps)) else ""


def _blocks(sweeps: Sequence[Sweep]) -> list[Block]:
    return [Block(sweep, list(sweep.models)) for sweep in sweeps if sweep.finished]


def _sweeps(sweeps_of_rows: Iterable[Sweep]) -> tuple[list[Sweep], dict[int, str]]:
    """Each sweep once, and a label for each by its id()."""
    sweeps = list({id(sweep): sweep for sweep in sweeps_of_rows}.values())
    return sweeps, dict(zip(map(id, sweeps), labels(sweeps), strict=True))
