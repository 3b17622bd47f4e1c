"""Pack the results of a sweep into a folder of a few files, small enough to keep in a repository.

The report reads it like a workdir, but for the pictures of images. See `storage.layout`.
"""

import csv
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from sharp_unet_jax import metrics, models
from sharp_unet_jax.config import Config
from sharp_unet_jax.errors import AGAIN, InputError
from sharp_unet_jax.storage.atomic import replacing_folder, to_json
from sharp_unet_jax.storage.layout import (
    CONFIG,
    ENVIRONMENT,
    EPOCHS,
    FOLDS,
    METRICS,
    PER_IMAGE,
    RUNS,
    SCORES,
    TABLES,
    WEIGHTS,
    Run,
    run_folder,
)
from sharp_unet_jax.sweeps import plan, workdir

NEEDED = (CONFIG, FOLDS, SCORES, TABLES)
COPIED = (*NEEDED, WEIGHTS, ENVIRONMENT)
SMALL: dict[str, Any] = {  # two thirds of the size that pandas' defaults give
    "compression": "zstd",
    "compression_level": 19,
    "use_dictionary": ["run", "image_id", "class"],
    "use_byte_stream_split": list(metrics.OVERLAPS),
}


def pack(output: Path, source: Path) -> int:
    """Write the results of the workdir `source` to the folder `output`, whole or not at all; return how many records.

    The same workdir gives the same bytes. Packed results in `output` are replaced. epochs.csv has the epochs of
    unfinished runs too. per_image.parquet is left out if no run has one.

    Raises InputError if `output` holds other files, or if a file of `source` is missing or damaged.
    """
    strange = {path.name for path in output.iterdir()} - {*COPIED, RUNS, EPOCHS, PER_IMAGE} if output.exists() else {}
    if strange:
        raise InputError(f"{output} holds {min(strange)}, which packed results have not: name another folder")
    config = workdir.read_config(source)
    for name in NEEDED:
        if not (source / name).exists():
            raise InputError(f"{source / name} is missing: give the sweep's command again")
    runs = plan.every(config)
    records = {run: _described(config, record) for run in runs if (record := workdir.read_record(source, run))}
    finished = [run for run, record in records.items() if record["status"] == "finished"]
    epochs = [row for run in runs for row in _epochs(source, run, needed=run in finished)]
    with replacing_folder(output) as folder:
        for name in COPIED:
            if (source / name).exists():
                shutil.copyfile(source / name, folder / name)
        (folder / RUNS).write_text("".join(to_json(record) + "\n" for record in records.values()), encoding="utf-8")
        _write_csv(folder / EPOCHS, epochs)
        if any((run_folder(source, run) / PER_IMAGE).exists() for run in finished):
            table = pd.concat([workdir.read_per_image(source, run.name) for run in finished], ignore_index=True)
            table.to_parquet(folder / PER_IMAGE, **SMALL)
    return len(records)


def _described(config: Config, record: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a run with what it may lack of its network's description."""
    kernel = {"skip_kernel": config.skip_kernel, "skip_padding": config.skip_padding}
    return {**models.describe(record["model"], **kernel), **record}


def _epochs(source: Path, run: Run, *, needed: bool) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics.jsonl, with the run's name; [] without the file, unless it is `needed`."""
    path = run_folder(source, run) / METRICS
    if not path.exists() and not needed:
        return []
    try:
        return [{"run": run.name, **json.loads(line)} for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: {AGAIN}") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): {AGAIN}") from error


def _write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows under the columns that any of them has; floats with all their digits."""
    columns = dict.fromkeys(key for row in rows for key in ("run", *row))
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
