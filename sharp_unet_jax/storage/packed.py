"""Packed results, the files that hold all runs of a sweep: read, and tied to the runs like those of a workdir."""

import csv
import io
from collections.abc import Mapping

import pandas as pd

from sharp_unet_jax.errors import FROM_A_COPY
from sharp_unet_jax.storage import contents
from sharp_unet_jax.storage.description import Description
from sharp_unet_jax.storage.layout import EPOCHS, PER_IMAGE, RUNS, Run
from sharp_unet_jax.storage.reading import damaged, naming, parse_json, read_bytes, read_table
from sharp_unet_jax.storage.run_files import Record, check_epochs, check_per_image, check_record, intact


def read_records(sweep: Description, planned: Mapping[str, Run]) -> dict[str, Record]:
    """Return the records of the `planned` runs by name; others are left out. Raises InputError, as all functions do."""
    path, known = sweep.workdir / RUNS, dict[str, Record]()
    for line in read_bytes(path, remedy=FROM_A_COPY, sha256=sweep.sha256[RUNS]).splitlines():
        record = intact(parse_json(line, Record, path, remedy=FROM_A_COPY), path, remedy=FROM_A_COPY)
        name = record["run"]
        if name in known:
            raise damaged(path, f"it holds {name} twice", FROM_A_COPY)
        if name in planned:
            check_record(sweep, planned[name], record, path, remedy=FROM_A_COPY)
            known[name] = record
    return known


def read_per_image(sweep: Description, finished: Mapping[str, Record]) -> dict[str, pd.DataFrame]:
    """Return the tables of the images of `finished` runs by name."""
    path = sweep.workdir / PER_IMAGE
    table = read_table(path, contents.PER_IMAGE, remedy=FROM_A_COPY, sha256=sweep.sha256[PER_IMAGE])
    parts = dict(iter(table.groupby("run", sort=False)))
    for name, record in finished.items():
        if name not in parts:
            raise damaged(path, f"it lacks {name}", FROM_A_COPY)
        check_per_image(sweep, record, parts[name], path, remedy=FROM_A_COPY)
    return {name: parts[name] for name in finished}


def read_epochs(sweep: Description, finished: Mapping[str, Record]) -> dict[str, list[contents.Epoch]]:
    """Return the epochs of `finished` runs by name, as `run_files.read_epochs` does."""
    path, rows = sweep.workdir / EPOCHS, dict[str, list[contents.Epoch]]()
    content = read_bytes(path, remedy=FROM_A_COPY, sha256=sweep.sha256[EPOCHS])
    with naming(path, FROM_A_COPY):
        for row in csv.DictReader(io.StringIO(content.decode())):
            name = row.pop("run")
            rows.setdefault(name, []).append({key: float(text) if text else None for key, text in row.items()})
    for name, record in finished.items():
        if name not in rows:
            raise damaged(path, f"it lacks {name}", FROM_A_COPY)
        check_epochs([row.get("epoch") for row in rows[name]], record, path, remedy=FROM_A_COPY)
    return {name: rows[name] for name in finished}
