"""Pack the results of a sweep into a folder of a few files, small enough to keep in a repository.

The report reads it like a workdir, but for the pictures of images. See `storage.layout`.
"""

import csv
import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from sharp_unet_jax import metrics
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import choice, description, run_files
from sharp_unet_jax.storage.atomic import clear_dead, replacing_folder, to_json, write_json
from sharp_unet_jax.storage.layout import (
    CHOICE,
    CONFIG,
    DIGESTS,
    ENVIRONMENT,
    EPOCHS,
    FOLDS,
    METRICS,
    PER_IMAGE,
    RUNS,
    SCORES,
    TABLES,
    WEIGHTS,
    run_folder,
)
from sharp_unet_jax.sweeps import plan, workdir

NEEDED = (CONFIG, FOLDS, TABLES)
COPIED = (*NEEDED, WEIGHTS, ENVIRONMENT, CHOICE)
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
    known = {*COPIED, SCORES, RUNS, EPOCHS, PER_IMAGE, DIGESTS}
    if strange := {path.name for path in output.iterdir()} - known if output.exists() else {}:
        raise InputError(f"{output} holds {min(strange)}, which packed results have not: name another folder")
    config = workdir.read_config(source)
    for name in NEEDED:
        if not (source / name).exists():
            raise InputError(f"{source / name} is missing: give the sweep's command again")
    sweep, planned = description.read(source), plan.every(config)
    records = {run: record for run in planned if (record := run_files.read_record(sweep, run))}
    finished = {run: record for run, record in records.items() if record["status"] == "finished"}
    epochs = [
        {"run": run.name, **row}
        for run in planned
        if run in finished or (run_folder(source, run) / METRICS).exists()
        for row in run_files.read_epochs(sweep, run, records.get(run))
    ]
    workdir.read_weights(source)
    description.read_environment(source)
    choice.read(source, {run.name: record["weights_sha256"] for run, record in finished.items()}.get)
    clear_dead(output.parent)
    with replacing_folder(output) as folder:
        for name in COPIED:
            if (source / name).exists():
                shutil.copyfile(source / name, folder / name)
        lines = "".join(to_json(record) + "\n" for record in records.values())
        (folder / RUNS).write_text(lines, encoding="utf-8")
        rows = workdir.scores(workdir.in_order(finished.values()), sweep.folds["dataset"])
        (folder / SCORES).write_text(rows, encoding="utf-8")
        _write_csv(folder / EPOCHS, epochs)
        if any((run_folder(source, run) / PER_IMAGE).exists() for run in finished):
            tables = [run_files.read_per_image(sweep, record) for record in finished.values()]
            pd.concat(tables, ignore_index=True).to_parquet(folder / PER_IMAGE, **SMALL)
        write_json(folder / DIGESTS, {path.name: _sha256(path) for path in sorted(folder.iterdir())})
    return len(records)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows under the columns that any of them has; floats with all their digits."""
    columns = dict.fromkeys(key for row in rows for key in ("run", *row))
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
