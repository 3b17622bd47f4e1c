"""The paper's tables made of sweeps' records, what is significant in them, and tables.md at the end of a sweep."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sharp_unet_jax.atomic import write_text
from sharp_unet_jax.report import optimism, records, statistics, table
from sharp_unet_jax.report.passport import labels, passport, unfinished
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.statistics import Comparison
from sharp_unet_jax.report.table import Table, interval, narrow, p_value, plus_minus, signed

TEST = (
    f"corrected resampled t-test (Nadeau & Bengio 2003; Bouckaert & Frank 2004) at {statistics.LEVEL:.0%}, "
    "two-sided, adjusted by Holm for all comparisons of this table ({count})"
)
INTERVAL = (
    "Intervals by runs are corrected likewise for the training images that folds share: "
    "mean ± t(n - 1) s sqrt(1/n + test/training images), n the runs."
)
TORN = (
    "Random folds tear groups apart: then even the corrected test holds too often, in 10 % of the simulations of "
    "bench/README.md instead of 5 %."
)


class Block(NamedTuple):
    """Rows of a table that are compared with each other."""

    sweep: Sweep
    models: list[str]


def every(sweeps: Sequence[Sweep]) -> list[Table]:
    """All tables these sweeps have something for, in the order of the report: the paper's, significance, pairs,
    optimism, protocols; [] where no run is finished."""
    return [*paper(sweeps), *significance(sweeps), *optimism.tables(sweeps)]


def paper(sweeps: Sequence[Sweep]) -> list[Table]:
    """ "table1": unet and sharp_unet; "table2": plain and sharp by encoder; "table3": all models.

    A row a sweep and model; tables 2 and 3 only where they say more than table 1.
    """
    blocks = _blocks(sweeps)
    only = [block._replace(models=[m for m in block.models if m in ("unet", "sharp_unet")]) for block in blocks]
    encoders = [
        block._replace(models=[model for model in block.models if statistics.plain(model) == plain])
        for block in blocks
        if any("resnet" in model or "ternausnet" in model for model in block.models)
        for plain in dict.fromkeys(map(statistics.plain, block.models))
        if not plain.startswith("wide")
    ]
    tables = [(1, "U-Net and Sharp U-Net", only), (2, "Encoders, with plain and with sharp skip connections", encoders)]
    if any(len(all_.models) > len(some.models) for all_, some in zip(blocks, only, strict=True)):
        tables.append((3, "All models", blocks))
    return [_paper(number, title, made) for number, title, of in tables if (made := [b for b in of if b.models])]


def significance(sweeps: Sequence[Sweep]) -> list[Table]:
    """ "significance": sharp against plain twins; "pairs": every two models, where that is more. [] without any."""
    every_pair = [(block, a, b) for block in _blocks(sweeps) for a, b in statistics.pairs(block.models)]
    twins = [(block, a, b) for block, a, b in every_pair if statistics.plain(a) == b]
    tables = []
    if twins:
        tables.append(_significance("significance", "Sharp against plain: differences in points of Jaccard", twins))
    if len(every_pair) > len(twins):
        tables.append(_significance("pairs", "Every two models: differences in points of Jaccard", every_pair))
    return tables


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
    pairs = [(block.sweep, *pair) for block in blocks for pair in statistics.pairs(block.models)]
    remaining = iter(statistics.comparisons(pairs))
    sweeps, named = _sweeps(blocks)
    rows = []
    for block in blocks:
        here = [next(remaining) for _ in statistics.pairs(block.models)]
        for model in block.models:
            row = {"data set": named[id(block.sweep)], "model": model}
            rows.append(row | _scores(number, block.sweep, model, bold=_beats_all(model, here)))
    frame = pd.DataFrame(rows)
    if (frame[["paper: Jaccard", "paper: Dice"]] == "-").all(axis=None):
        frame = frame.drop(columns=frame.columns[frame.columns.str.contains("paper")])
    rule = "the higher Jaccard of plain and sharp" if number < 3 else "a Jaccard higher than every other model's"
    note = [f"Bold: {rule} by the {TEST.format(count=len(pairs))}.", INTERVAL, unfinished(sweeps)]
    return Table(
        f"table{number}",
        f"{title} (the paper's Table {number})",
        passport(sweeps),
        narrow(frame),
        "\n".join(filter(None, note)),
    )


def _scores(number: int, sweep: Sweep, model: str, *, bold: bool) -> dict[str, object]:
    runs = sweep.runs[sweep.runs["model"] == model]
    paper = _reference(number, sweep.dataset, model)
    row: dict[str, object] = {"runs": len(runs)}
    for metric in ("jaccard", "dice"):
        scores, name = 100 * runs[metric].astype(float), metric.capitalize()
        row[f"{name} (%)"] = plus_minus(scores.mean(), scores.std(ddof=1))
        if metric == "jaccard":
            row[f"{name} (%)"] = f"**{row[f'{name} (%)']}**" if bold else row[f"{name} (%)"]
            mean = statistics.corrected_t(scores, statistics.share_tested(sweep))
            row["95 % interval"] = interval(mean.low, mean.high)
        row[f"paper: {name}"] = plus_minus(paper[f"{metric}_mean"], paper[f"{metric}_std"])
        row[f"{name} minus paper"] = signed(scores.mean() - paper[f"{metric}_mean"])
    return row


def _beats_all(model: str, made: Sequence[Comparison]) -> bool:
    own = [each for each in made if model in (each.first, each.second)]
    return bool(own) and all(
        each.holm < statistics.LEVEL and (each.test.mean > 0) == (each.first == model) for each in own
    )


def _reference(number: int, dataset: str, model: str) -> pd.Series:
    """The paper's figures for that row: its table of that number first, for Tables 1 and 3 do not agree everywhere."""
    with resources.files("sharp_unet_jax.report").joinpath("paper.csv").open() as file:
        paper = pd.read_csv(file).set_index(["dataset", "model"])
    if (dataset, model) not in paper.index:
        return pd.Series(np.nan, paper.columns)
    rows = paper.loc[[(dataset, model)]]
    return rows.iloc[(rows["table"] != number).argmin()]


def _significance(name: str, title: str, wanted: Sequence[tuple[Block, str, str]]) -> Table:
    made = statistics.comparisons((block.sweep, a, b) for block, a, b in wanted)
    sweeps, named = _sweeps([block for block, _, _ in wanted])
    rows = []
    for (block, first, second), (*_, test, adjusted, won) in zip(wanted, made, strict=True):
        points = signed(test.mean)
        of_first, of_second = (statistics.image_scores(block.sweep, model)["jaccard"] for model in (first, second))
        image = statistics.over_images(of_first, of_second, block.sweep.groups)
        rows.append(
            {
                "data set": named[id(block.sweep)],
                "models": f"{first} minus {second}",
                "difference": f"**{points}**" if adjusted < statistics.LEVEL else points,
                "95 % interval": interval(test.low, test.high),
                "higher in": f"{won} of {test.n}",
                "t": "-" if pd.isna(test.t) else f"{test.t:.2f}",
                "p": p_value(test.p),
                "p (Holm)": p_value(adjusted),
                "by image": signed(image.mean),
                "95 % interval by image": interval(image.low, image.high),
                "Wilcoxon p": p_value(image.p),
                "images (groups)": f"{image.images} ({image.groups})",
            }
        )
    note = [
        f"Bold: differs from zero by the {TEST.format(count=len(made))}.",
        INTERVAL,
        "By image: each image's difference is averaged over repeats first. Its interval is a bootstrap that draws "
        f"whole groups ({statistics.RESAMPLES} percentile resamples), Wilcoxon's signed-rank test takes the means of "
        "groups; both take the trained networks as given and are not adjusted for the number of comparisons.",
        TORN
        if any(not sweep.config["grouped"] and len(set(sweep.groups.values())) < len(sweep.groups) for sweep in sweeps)
        else "",
        unfinished(sweeps),
    ]
    return Table(name, title, passport(sweeps), narrow(pd.DataFrame(rows)), "\n".join(filter(None, note)))


def _blocks(sweeps: Sequence[Sweep]) -> list[Block]:
    return [Block(sweep, statistics.models(sweep)) for sweep in sweeps if sweep.names]


def _sweeps(blocks: Sequence[Block]) -> tuple[list[Sweep], dict[int, str]]:
    """The sweeps of `blocks`, each once, and a label for each by its id()."""
    sweeps = list({id(block.sweep): block.sweep for block in blocks}.values())
    return sweeps, dict(zip(map(id, sweeps), labels(sweeps), strict=True))
