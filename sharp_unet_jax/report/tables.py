"""The table at the end of a sweep: mean and standard deviation over its runs, beside the paper's."""

import json
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from sharp_unet_jax.atomic import write_text

METRICS = ("jaccard", "dice")


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Per model (rows, in order of appearance), in per cent: mean and sample standard deviation over runs, and `runs`.

    Columns are jaccard_mean, jaccard_std, dice_mean, dice_std, runs, and with the suffix _paper what Tables 2 and 3 of
    the paper give (nan where they give nothing). `scores` is scores.csv.
    """
    groups = scores.groupby("model", sort=False)
    table = pd.DataFrame(index=pd.Index(scores["model"].unique(), name="model"))
    for metric in METRICS:
        table[f"{metric}_mean"] = 100 * groups[metric].mean()
        table[f"{metric}_std"] = 100 * groups[metric].std(ddof=1)
    table["runs"] = groups.size()
    with resources.files("sharp_unet_jax.report").joinpath("paper.csv").open() as file:
        paper = pd.read_csv(file)
    paper = paper[paper["dataset"].isin(scores["dataset"])].drop_duplicates("model").set_index("model")
    return table.join(paper.drop(columns=["table", "dataset"]).add_suffix("_paper"))


def differences(scores: pd.DataFrame) -> pd.DataFrame:
    """Sharp minus plain twin over the runs that both made, in points of Jaccard: mean, std, runs, and runs it won."""
    wide = scores.pivot(index=["repeat", "fold"], columns="model", values="jaccard")
    rows = []
    for sharp in wide.columns:
        plain = sharp.partition("+")[0].replace("sharp_", "")
        if plain == sharp or plain not in wide.columns:
            continue
        delta = 100 * (wide[sharp] - wide[plain]).dropna()
        if len(delta):
            rows.append((sharp, plain, delta.mean(), delta.std(ddof=1), len(delta), int((delta > 0).sum())))
    return pd.DataFrame(rows, columns=["sharp", "plain", "mean", "std", "runs", "won"])


def markdown(workdir: Path) -> str:
    """tables.md of a sweep: how the numbers came about, the table, and sharp against plain."""
    config = json.loads((workdir / "config.json").read_text())
    folds = json.loads((workdir / "folds.json").read_text())
    scores = pd.read_csv(workdir / "scores.csv")
    cells = product(config["models"], range(config["repeats"]), range(config["folds"]))
    runs = [workdir / "runs" / model / f"repeat{repeat}-fold{fold}" / "record.json" for model, repeat, fold in cells]
    failed = sum(path.exists() and json.loads(path.read_text())["status"] == "failed" for path in runs)
    lines = [f"# {folds['dataset']}", "", passport(config, folds), ""]
    if len(scores) < len(runs):
        why = f", {failed} failed" if failed else ""
        lines += [
            f"**{len(scores)} of {len(runs)} runs are finished{why}: the figures below are not the whole sweep's.**",
            "",
        ]
    if len(scores):
        lines += [_table(summary(scores)), "", *(_difference(row) for row in differences(scores).itertuples()), ""]
    return "\n".join(lines)


def write(workdir: Path) -> None:
    """Writes `markdown` to tables.md."""
    write_text(workdir / "tables.md", markdown(workdir))


def passport(config: dict[str, Any], folds: dict[str, Any]) -> str:
    """What every number of the sweep rests on, in words; `config` and `folds` are config.json and folds.json."""
    height, width = config["data"]["size"]
    decided = {
        "paper": "paper (stopping, learning rate and weights decided on the reported fold: optimistic)",
        "nested": f"nested (decided on {config['inner_validation']:.0%} of the training folds; the test fold held out)",
    }[config["protocol"]]
    kind = "grouped" if config["grouped"] else "random"
    classes = len(folds["classes"])
    scored = "the foreground" if classes == 2 else f"the {classes} classes, background included"
    empty = {
        "one": "an image's class in neither truth nor prediction scores 1",
        "zero": "an image's class in neither truth nor prediction scores 0",
        "nan": "an image's class in neither truth nor prediction is left out",
    }[config["empty"]]
    frozen = f", encoder frozen for {epochs} epochs" if (epochs := config.get("frozen_epochs")) else ""
    factor = config.get("encoder_learning_rate_factor", 1)
    slower = f", learning rate of the encoder times {factor}" if factor != 1 else ""
    changes = {name: strength for name, strength in config.get("augment", {}).items() if strength}
    augmented = ", ".join(f"{name} {strength:g}" for name, strength in changes.items()) or "nothing"
    rule = f"threshold {config['threshold']}" if classes == 2 else "the likeliest class"
    return (
        f"Protocol: {decided}; {config['folds']} {kind} folds x {config['repeats']} repeats of {folds['images']} "
        f"images ({folds['groups']} groups), {height}x{width} ({config['data']['fit']}). "
        f"Scores: per image over {scored}, averaged over a fold, then over runs; "
        f"± is the sample standard deviation over runs; {rule}; {empty}. "
        f"Started from {config.get('weights') or 'scratch'}{frozen}{slower}. "
        f"Loss {config['loss']}, batch {config['batch_size']}, at most {config['epochs']} epochs, "
        f"augmented by {augmented}, {config['precision']}, seed {config['seed']}."
    )


def plus_minus(mean: float, std: float) -> str:
    """ "75.89 ± 2.06"; without a standard deviation the mean alone, and "-" for nothing."""
    if pd.isna(mean):
        return "-"
    return f"{mean:.2f}" if pd.isna(std) else f"{mean:.2f} ± {std:.2f}"


def _table(table: pd.DataFrame) -> str:
    columns = {"Jaccard (%)": "jaccard_mean jaccard_std", "Dice (%)": "dice_mean dice_std"}
    if table["jaccard_mean_paper"].notna().any():
        columns["paper: Jaccard (%)"] = "jaccard_mean_paper jaccard_std_paper"
        columns["paper: Dice (%)"] = "dice_mean_paper dice_std_paper"
    lines = [f"| model | runs | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for model, row in table.iterrows():
        cells = [plus_minus(*row[fields.split()]) for fields in columns.values()]
        lines.append(f"| {model} | {int(row['runs'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _difference(row: Any) -> str:
    twins = f"`{row.sharp}` minus `{row.plain}`: {row.mean:+.2f}"
    if row.runs == 1:
        return f"{twins} points of Jaccard on the one fold that both were trained on."
    return (
        f"{twins} ± {row.std:.2f} points of Jaccard over {row.runs} paired runs, higher in {row.won} of them. "
        "Runs share training images, so this ± is no standard error."
    )
