"""The tables of scores in README.md, computed from the packed sweeps beside it.

`python docs/tables.py` writes them between two lines: `<!-- KIND FOLDER ... -->` and `<!-- end -->`. KIND is `runs`,
`each`, `twins`, `settings`, `times`, `protocols jaccard`, `protocols dice` or `paper TABLE METRIC`, by the functions
here. FOLDER is a packed sweep or a pattern such as `isbi2012-*`. tests/test_results.py fails where a section with such
tables states a figure that they do not hold.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sharp_unet_jax import models
from sharp_unet_jax.report.cost import duration
from sharp_unet_jax.report.published import PREPARED
from sharp_unet_jax.report.statistics import corrected_t
from sharp_unet_jax.storage import layout

RESULTS = Path(__file__).parent
PAPER = RESULTS.parent / "sharp_unet_jax" / "report" / "paper.csv"
CITED = {"print": "printed", "outputs": "the authors' outputs"}  # sources of paper.csv, as heads of columns
PROTOCOLS = ("as published", "as written", "nested, grouped")  # the order of columns; other protocols follow
KEYS = ["dataset", "network", "skip"]
CELL = ["repeat", "fold"]


class Packed(NamedTuple):
    """One packed sweep: what it is called in tables, and a row for each finished run."""

    dataset: str  # with size, start and precision: sweeps in which these differ stand in rows of their own
    protocol: str
    runs: pd.DataFrame
    epochs_alike: bool  # whether epochs are scored as the reported weights are: the same images, at one resolution


def runs(*patterns: str) -> pd.DataFrame:
    """Return a row per model: its scores, the epochs that were trained, and what other epochs would have scored.

    The columns of other epochs hold the Jaccard index; they are empty where epochs are scored otherwise than results.
    """
    rows = []
    for sweep in _sweeps(patterns):
        for _, own in sweep.runs.groupby("model", sort=False):
            best, last = (
                _cell(own[epoch].map(lambda scores: scores["jaccard"])) if sweep.epochs_alike else ""
                for epoch in ("best_on_test", "last")
            )
            rows.append(
                {
                    "model": own["model"].iloc[0],
                    "runs": str(len(own)),
                    "epochs": " to ".join(map(str, sorted({own["epochs"].min(), own["epochs"].max()}))),
                    "Jaccard (%)": _cell(own["jaccard"]),
                    "Dice (%)": _cell(own["dice"]),
                    "best epoch on the test images": best,
                    "last epoch": last,
                    "paper: Jaccard": _cited(own.iloc[0], "jaccard", "print"),
                    "paper: Dice": _cited(own.iloc[0], "dice", "print"),
                }
            )
    return pd.DataFrame(rows)


def each(*patterns: str) -> pd.DataFrame:
    """Return a row per fold and a column per model: the Jaccard index in per cent, and the epoch that it is of."""
    rows = []
    for sweep in _sweeps(patterns):
        for (repeat, fold), own in sweep.runs.groupby(CELL):
            scores = {
                run["model"]: f"{100 * run['jaccard']:.2f}, epoch {run['best_epoch']} of {run['epochs']}"
                for _, run in own.iterrows()
            }
            rows.append({"data set": sweep.dataset, "repeat": str(repeat), "fold": str(fold)} | scores)
    return pd.DataFrame(rows).fillna("")


def twins(*patterns: str) -> pd.DataFrame:
    """Return a row per sharp network and sweep: its Jaccard index minus that of its plain twin, over paired runs."""
    rows = []
    for sweep in _sweeps(patterns):
        for _, of_network in sweep.runs.groupby("network", sort=False):
            plain, sharp = (of_network[of_network["skip"] == skip] for skip in ("plain", "sharp"))
            for model, own in sharp.groupby("model", sort=False):
                pairs = own.merge(plain, on=CELL, validate="one_to_one")
                if pairs.empty:
                    continue
                points = pairs["jaccard_x"] - pairs["jaccard_y"]
                rows.append(
                    {
                        "data set": sweep.dataset,
                        "protocol": sweep.protocol,
                        "model": model,
                        "minus plain, points of Jaccard": _cell(points, "+.2f"),
                        "higher in": f"{(points > 0).sum()} of {len(points)}",
                        "paper": _cited_difference(own.iloc[0], plain.iloc[0]),
                    }
                )
    return pd.DataFrame(rows)


def settings(*patterns: str) -> pd.DataFrame:
    """Return a row per sweep and model: the settings in which it differs from the first sweep, and what they gave.

    Differences are over the same folds, with the corrected 95 % interval. Raises ValueError for a model that the first
    sweep lacks.
    """
    rows: list[dict[str, str]] = []
    firsts: dict[str, pd.DataFrame] = {}
    for number, sweep in enumerate(_sweeps(patterns)):
        for model, own in sweep.runs.groupby("model", sort=False):
            if number and model not in firsts:
                raise ValueError(f"{model}: the first sweep has no such model to compare with")
            first = firsts.setdefault(str(model), own)
            before, after = first["config"].iloc[0], own["config"].iloc[0]
            changed = [f"`{name}={value}`" for name, value in after.items() if value != before.get(name)]
            pairs = own.merge(first, on=CELL, validate="one_to_one")
            points = 100 * (pairs["jaccard_x"] - pairs["jaccard_y"])
            mean = corrected_t(points, 1 / (after["folds"] - 1))
            rows.append(
                {
                    "changed": ", ".join(changed) or "nothing",
                    "model": str(model),
                    "runs": str(len(own)),
                    "epochs": " to ".join(map(str, sorted({own["epochs"].min(), own["epochs"].max()}))),
                    "Jaccard (%)": _cell(own["jaccard"]),
                    "difference": f"{mean.mean:+.2f} ({mean.low:.2f} to {mean.high:.2f})" if changed else "",
                    "higher in": f"{(points > 0).sum()} of {len(points)}" if changed else "",
                }
            )
    frame = pd.DataFrame(rows)
    return frame if len(firsts) > 1 else frame.drop(columns="model")


def times(*patterns: str) -> pd.DataFrame:
    """Return a row per model: what was trained on which hardware, how long that took, and the score it gave.

    All are medians over runs, so a run that other work slowed down hardly moves them. An epoch is the mean
    of those of a run after the first, which compiles.
    """
    rows = []
    for sweep in _sweeps(patterns):
        for model, own in sweep.runs.groupby("model", sort=False):
            timing = pd.DataFrame(list(own["timing"]))
            seconds = (timing["train_seconds"] + timing["eval_seconds"]).to_numpy()
            later = (seconds - timing["first_epoch_seconds"]) / (own["epochs"].to_numpy() - 1)
            (device,), (number,) = timing["device"].unique(), timing["devices"].unique()
            rows.append(
                {
                    "data set": f"{sweep.dataset}, {own['images'].iloc[0]['train']} images",
                    "model": model,
                    "hardware": "CPU" if device == "cpu" else f"{number} x {device}",
                    "one epoch": f"{np.median(later):.1f} s",
                    "epochs": f"{own['epochs'].median():.0f}",
                    "runs": str(len(own)),
                    "one run": duration(np.median(seconds)),
                    "five runs": duration(5 * np.median(seconds)),
                    "Jaccard (%)": _cell(own["jaccard"]),
                }
            )
    return pd.DataFrame(rows)


def protocols(metric: str, *patterns: str) -> pd.DataFrame:
    """Return a row per data set and model, a column per protocol: jaccard or dice in per cent, mean ± std (runs).

    Raises ValueError for two sweeps that would share a cell.
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for sweep in _sweeps(patterns):
        for model, own in sweep.runs.groupby("model", sort=False):
            row = cells.setdefault((sweep.dataset, str(model)), {})
            _once(row, sweep, model)
            row |= {head: _cited(own.iloc[0], metric, source) for source, head in CITED.items()}
            row[sweep.protocol] = f"{_cell(own[metric])} ({len(own)})"
    heads = dict.fromkeys([*CITED.values(), *PROTOCOLS, *(head for row in cells.values() for head in row)])
    filled = [head for head in heads if any(row.get(head) for row in cells.values())]
    rows = [[*names, *(row.get(head, "") for head in filled)] for names, row in cells.items()]
    return pd.DataFrame(rows, columns=["data set", "model", *filled])


def paper(table: str, metric: str, *patterns: str) -> pd.DataFrame:
    """Return one of the paper's tables, a column per protocol: jaccard or dice in per cent, mean ± std (runs, size).

    A network that was not trained here, or only with another kernel than the paper's, has no cells but the paper's; of
    a data set without any sweep there is no row. Raises ValueError for two sweeps that would share a cell.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    for sweep in _sweeps(patterns):
        size = sweep.dataset.partition(", ")[2]
        for model, own in sweep.runs.groupby("model", sort=False):
            if not _has_paper_kernel(own.iloc[0]):
                continue
            cells = found.setdefault((own["dataset"].iloc[0], str(model)), {})
            _once(cells, sweep, model)
            cells[sweep.protocol] = f"{_cell(own[metric])} ({len(own)}; {size})"
    names = {(known.network, known.skip): name for name, known in models.MODELS.items() if not known.kernel}
    printed = pd.read_csv(PAPER)
    wanted = (printed["source"] == "print") & (printed["table"] == int(table))
    wanted &= printed["dataset"].isin({dataset for dataset, _ in found})
    rows = []
    for _, row in printed[wanted].iterrows():
        name = names[row["network"], row["skip"]]
        cited = f"{row[f'{metric}_mean']:.2f} ± {row[f'{metric}_std']:.2f}"
        cells = found.get((row["dataset"], name), {})
        rows.append([row["dataset"], name, cited, *(cells.get(head, "") for head in PROTOCOLS)])
    return pd.DataFrame(rows, columns=["data set", "model", CITED["print"], *PROTOCOLS])


def _sweeps(patterns: Sequence[str]) -> Iterator[Packed]:
    """Yield the packed sweeps by name, in the order of the patterns. Raises ValueError for a pattern without any."""
    for pattern in patterns:
        folders = sorted(path.parent for path in RESULTS.glob(f"{pattern}/{layout.RUNS}"))
        if not folders:
            raise ValueError(f"no packed sweep is called {pattern}")
        for folder in folders:
            lines = (folder / layout.RUNS).read_text(encoding="utf-8").splitlines()
            records = [json.loads(line) for line in lines]
            config = json.loads((folder / layout.CONFIG).read_text(encoding="utf-8"))
            finished = pd.DataFrame([record for record in records if record["status"] == "finished"])
            name = _name(finished["dataset"].iloc[0], config)
            scored = config["data"]["score"], config["data"]["validate"]
            alike = scored == ("trained", "images")
            yield Packed(name, _protocol(config), finished.replace({"dataset": PREPARED}), alike)


def _once(cells: dict[str, str], sweep: Packed, model: object) -> None:
    if sweep.protocol in cells:
        raise ValueError(f"two sweeps have {model} on {sweep.dataset}, {sweep.protocol}: name one of them")


def _name(dataset: str, config: dict[str, Any]) -> str:
    data = config["data"]
    size = "{}x{}".format(*data["size"])
    if data["fit"] == "crop":
        spacing, scale = data["spacing"], data["scale"]
        at = f" at {spacing:g} mm per pixel" if spacing else f" at {scale:g} times the resolution" if scale != 1 else ""
        size = f"crops of {size}{at}"
    native = ", native scores" if data["score"] == "native" else ""
    start = ", pretrained" if config["weights"] else ""
    precision = f", {config['precision']}" if config["precision"] != "float32" else ""
    return f"{dataset}, {size}{native}{start}{precision}"


def _protocol(config: dict[str, Any]) -> str:
    if config["split"] == "authors":
        return "as published"
    protocol = "as written" if config["protocol"] == "paper" else config["protocol"]
    return f"{protocol}, grouped" if config["grouped"] else protocol


def _cell(values: pd.Series, form: str = ".2f") -> str:
    """Return fractions as per cent, mean ± sample standard deviation; a single value without ±."""
    mean = f"{100 * values.mean():{form}}"
    return f"{mean} ± {100 * values.std():.2f}" if len(values) > 1 else mean


def _cited(run: pd.Series, metric: str, source: str) -> str:
    """Return what a source has for a run's data set and network, from the paper's first table with it; "" for none."""
    mean, std = ((_row(run, source) or {}).get(f"{metric}_{part}", np.nan) for part in ("mean", "std"))
    return f"{mean:.2f} ± {std:.2f}" if np.isfinite(mean) else ""


def _cited_difference(sharp: pd.Series, plain: pd.Series) -> str:
    first, second = (_row(run, "print") for run in (sharp, plain))
    return f"{first['jaccard_mean'] - second['jaccard_mean']:+.2f}" if first and second else ""


def _row(run: pd.Series, source: str) -> dict[str, Any] | None:
    """Return a source's row; None where it has none, and for sharp blocks of another kernel than the paper's."""
    if not _has_paper_kernel(run):
        return None
    paper = pd.read_csv(PAPER)
    same = (paper[KEYS] == run[KEYS]).all(axis=1) & (paper["source"] == source)
    return paper[same].iloc[0].to_dict() if same.any() else None


def _has_paper_kernel(run: pd.Series) -> bool:
    return not run["kernel"] or (run["kernel"]["name"], run["kernel"]["padding"]) == ("laplacian", "zero")
