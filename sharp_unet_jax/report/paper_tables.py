"""The paper's tables, made from sweeps' records, and tables.md, which holds all tables of one sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sharp_unet_jax.report import (
    optimism,
    other_overlaps,
    pairing,
    published,
    records,
    significance,
    statistics,
    summary,
    table,
)
from sharp_unet_jax.report.provenance import describe, named, scored_at, scored_resized, unfinished
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.statistics import Comparison
from sharp_unet_jax.report.table import Table, interval, mean_std, narrow, plus_minus, signed
from sharp_unet_jax.storage import layout
from sharp_unet_jax.storage.atomic import write_text


class Block(NamedTuple):
    """Rows of a table that are compared with each other."""

    sweep: Sweep
    models: list[str]


def tables(sweeps: Sequence[Sweep]) -> list[Table]:
    """Return all tables of the sweeps, in the report's order; [] where no run is finished.

    The order is: the paper's tables, other overlaps, twins, kernels, pairs, images, optimism, protocols.
    """
    finished = [sweep for sweep in sweeps if sweep.finished]
    overlaps = other_overlaps.table(finished)
    rest = [*significance.tables(finished), *optimism.tables(finished)]
    return [*paper(finished), *([overlaps] if overlaps else []), *rest]


def paper(sweeps: Sequence[Sweep]) -> list[Table]:
    """Return "table1", U-Net and Sharp U-Net; "table2", plain and sharp by encoder; "table3", all models.

    A row per sweep and model. A table is there where no other holds all its rows.
    """
    blocks = [Block(sweep, list(sweep.models)) for sweep in sweeps if sweep.finished]
    only = [
        block._replace(models=[name for name in block.models if _is_of_table1(block.sweep, name)]) for block in blocks
    ]
    encoders = [each for block in blocks for each in _by_encoder(block)]
    first, second, every = map(_rows, (only, encoders, blocks))
    wanted = [
        (1, "U-Net and Sharp U-Net", only, first - second),
        (2, "Encoders, with plain and with sharp skip connections", encoders, second),
        (3, "All models", blocks, every - first - second),
    ]
    return [_paper(number, title, [b for b in of if b.models]) for number, title, of, rows in wanted if rows]


def _rows(blocks: Sequence[Block]) -> set[tuple[Sweep, str]]:
    return {(block.sweep, model) for block in blocks for model in block.models}


def _is_of_table1(sweep: Sweep, model: str) -> bool:
    return sweep.models[model].network == "unet" and pairing.has_paper_kernel(sweep, model)


def _by_encoder(block: Block) -> list[Block]:
    """Return a block for each network of Table 2; [] where all encoders are U-Net's own, or none has twins."""
    models = block.sweep.models
    if all(models[name].encoder in ("unet", "wide_unet") for name in block.models) or not pairing.twins(block.sweep):
        return []
    networks = dict.fromkeys(models[name].network for name in block.models if models[name].encoder != "wide_unet")
    return [
        block._replace(models=[name for name in block.models if models[name].network == network])
        for network in networks
    ]


def markdown(workdir: Path) -> str:
    """Return tables.md of a sweep: its summary, the provenance of its numbers, and its tables; each note once."""
    sweep = records.load(workdir)
    known = [summary.paragraph({sweep.dataset: sweep}), describe([sweep])]
    parts = [f"# {sweep.dataset}", *map(table.paragraphs, known)]
    for each in tables([sweep]):
        new = [line for line in each.note.splitlines() if all(line not in text for text in known)]
        known += new
        parts += [f"## {each.title}", table.paragraphs(each.says), table.body(each), table.paragraphs("\n".join(new))]
    return "\n\n".join(part for part in parts if part) + "\n"


def write(workdir: Path) -> None:
    """Write `markdown` to tables.md."""
    write_text(workdir / layout.TABLES, markdown(workdir))


def _paper(number: int, title: str, blocks: Sequence[Block]) -> Table:
    """Return a table like the paper's of that number. Bold: the model beats every other of its block."""
    pairs = [(block.sweep, *pair) for block in blocks for pair in pairing.pairs(*block)]
    remaining = iter(statistics.comparisons(pairs))
    labels = named(block.sweep for block in blocks)
    rows = []
    for block in blocks:
        here = [next(remaining) for _ in pairing.pairs(*block)]
        for model in block.models:
            row = {"data set": labels[block.sweep], "model": model}
            rows.append(row | _scores(number, block.sweep, model, bold=_beats_all(model, here)))
    frame = pd.DataFrame(rows)
    if (frame[["paper: Jaccard", "paper: Dice"]] == "-").all(axis=None):
        frame = frame.drop(columns=frame.columns[frame.columns.str.contains("paper")])
    outputs = frame.columns[frame.columns.str.startswith(published.SOURCES["outputs"])]
    frame = frame.drop(columns=[column for column in outputs if (frame[column] == "-").all()])
    rule = "the higher Jaccard of plain and sharp" if number < 3 else "a Jaccard higher than every other model's"
    bold = f"Bold: {rule} by the {significance.TEST.format(count=len(pairs))}." if pairs else ""
    warning = significance.split_groups(labels) if pairs else ""
    cited = published.NOTE if frame.columns.str.contains(published.SOURCES["outputs"]).any() else ""
    beside_paper = frame.columns.str.startswith("paper: ").any()
    places = {label: scored_at(sweep) for sweep, label in labels.items() if beside_paper and not scored_resized(sweep)}
    unlike = [f"The paper's scores are of resized images, those of {each} at {at}." for each, at in places.items()]
    is_bold = bool(frame["Jaccard (%)"].str.startswith("**").any())
    models: dict[Sweep, list[str]] = {}
    for block in blocks:
        models.setdefault(block.sweep, []).extend(block.models)
    return Table(
        f"table{number}",
        title + (f" (the paper's Table {number})" if _is_the_papers(number, blocks) else ""),
        describe(list(labels)),
        narrow(frame),
        "\n".join(filter(None, [bold, significance.INTERVAL, cited, *unlike, warning, unfinished(list(labels))])),
        f"{other_overlaps.highest(list(models), 'jaccard', models)}{' Bold: more than chance explains.' * is_bold}",
    )


def _is_the_papers(number: int, blocks: Sequence[Block]) -> bool:
    """Return True if the paper reports a score for every row: its data sets, and its models."""
    scores = [
        published.scores(block.sweep, model, number)["jaccard_mean"] for block in blocks for model in block.models
    ]
    return bool(np.isfinite(np.array(scores, float)).all())


def _scores(number: int, sweep: Sweep, model: str, *, bold: bool) -> dict[str, object]:
    printed, outputs = (published.scores(sweep, model, number, source) for source in published.SOURCES)
    row: dict[str, object] = {"runs": len(sweep.scores(model))}
    for metric in published.OVERLAPS:
        scores, name = sweep.scores(model, metric), metric.capitalize()
        cell = mean_std(scores)
        row[f"{name} (%)"] = f"**{cell}**" if bold and metric == "jaccard" else cell
        if metric == "jaccard":
            mean = statistics.score(sweep, model, metric)
            row["95 % interval"] = interval(mean.low, mean.high)
        row[f"paper: {name}"] = plus_minus(printed[f"{metric}_mean"], printed[f"{metric}_std"])
        row[f"{name} minus paper"] = signed(scores.mean() - printed[f"{metric}_mean"])
        row[f"authors' outputs: {name}"] = plus_minus(outputs[f"{metric}_mean"], outputs[f"{metric}_std"])
    return row


def _beats_all(model: str, compared: Sequence[Comparison]) -> bool:
    own = [each for each in compared if model in (each.first, each.second)]
    return bool(own) and all(statistics.holds(each) and (each.test.mean > 0) == (each.first == model) for each in own)
