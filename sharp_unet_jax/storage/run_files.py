"""The files of a run, read and tied to it: those of another run, or with other bytes than the record says, are refused.

A finished run that is refused is trained again once its folder is deleted, which is what the errors say.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sharp_unet_jax import metrics, stopping
from sharp_unet_jax.errors import AGAIN, FROM_A_COPY, InputError
from sharp_unet_jax.ragged import Ragged
from sharp_unet_jax.storage import contents
from sharp_unet_jax.storage.atomic import to_json
from sharp_unet_jax.storage.description import Description, digest, flat
from sharp_unet_jax.storage.layout import CONFIG, FOLDS, METRICS, PER_IMAGE, PREDICTIONS, RECORD, Run, run_folder
from sharp_unet_jax.storage.reading import checked, damaged, naming, parse_json, read_bytes, read_json, read_table

Record = dict[str, Any]  # has the fields of `contents.Record`, and if it is finished those of `contents.Finished`


def sealed(record: Record) -> Record:
    """Return `record` with the digest of all its fields, for `intact`."""
    return record | {"record_sha256": _digest(record)}


def digests(folder: Path) -> dict[str, str]:
    """Return the digests of the files that lie beside a record in `folder`, by name."""
    paths = [path for name in (METRICS, PER_IMAGE, PREDICTIONS) if (path := folder / name).exists()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def intact(record: Mapping[str, Any], path: Path, *, remedy: str) -> Record:
    """Return a record of the file `path`, if it has its fields, with their types, and is as `sealed` left it.

    Raises InputError, naming the file and the `remedy`.
    """
    kind = contents.Finished if record.get("status") == "finished" else contents.Record
    record = dict(checked(record, kind, path, remedy=remedy))
    if record["record_sha256"] != _digest(record):
        raise damaged(path, "it was changed after it was written", remedy)
    return record


def read_record(sweep: Description, run: Run) -> Record | None:
    """Return the record of a run, None if it has none yet, or goes on, see `goes_on`.

    Raises InputError if it is damaged or of another run.
    """
    path = run_folder(sweep.workdir, run) / RECORD
    if not path.exists():
        return None
    record = intact(read_json(path, dict[str, Any], remedy=AGAIN), path, remedy=AGAIN)
    check_record(sweep, run, record, path, remedy=AGAIN)
    return None if goes_on(record, sweep.config["epochs"]) else record


def goes_on(record: Record, epochs: int) -> bool:
    """Say whether a run with this record is not finished: it was capped by fewer epochs than the config's `epochs`."""
    return record["status"] == "finished" and record["capped"] and record["epochs"] < epochs


def check_record(sweep: Description, run: Run, record: Record, path: Path, *, remedy: str) -> None:
    """Raise InputError if a record of the file `path` is not that of `run`, or of another sweep."""
    if (record["run"], *(record[field] for field in Run._fields)) != (run.name, *run):
        raise damaged(path, f"it is the record of {record['run']}, not of {run.name}", remedy)
    cell = sweep.cell(run.repeat, run.fold)
    if record["images"]["test"] != len(cell["test"]):
        raise damaged(path, f"it is of {record['images']['test']} test images, not {len(cell['test'])}", remedy)
    for field, here, then in _differences(sweep.config, record):
        raise InputError(
            f"{sweep.workdir / CONFIG} is not what {run.name} was trained with (it has {field}={here!r}, "
            f"the record {then!r}): {FROM_A_COPY}"
        )
    if record["folds_sha256"] != digest(sweep.folds, cell):
        raise InputError(f"{sweep.workdir / FOLDS} is not what {run.name} was trained with: {FROM_A_COPY}")


def read_per_image(sweep: Description, record: Record) -> pd.DataFrame:
    """Return the table of the images of a finished run. Raises InputError if it is damaged or of another run."""
    path = _folder(sweep, record) / PER_IMAGE
    table = read_table(path, contents.PER_IMAGE, remedy=AGAIN, sha256=_recorded(record, PER_IMAGE))
    check_per_image(sweep, record, table, path, remedy=AGAIN)
    return table


def check_per_image(sweep: Description, record: Record, table: pd.DataFrame, path: Path, *, remedy: str) -> None:
    """Raise InputError if rows of the file `path` are not those of the test images and classes of the record's run."""
    for why in _faults(sweep, record, table):
        raise damaged(path, why, remedy)


def read_epochs(sweep: Description, run: Run, record: Record | None) -> list[contents.Epoch]:
    """Return the lines of a run's metrics.jsonl; `record` is None if the run has none yet.

    Raises InputError if the file is missing, damaged, or not as the record says.
    """
    path = run_folder(sweep.workdir, run) / METRICS
    remedy = AGAIN if record else "give the sweep's command again"
    content = read_bytes(path, remedy=remedy, sha256=_recorded(record, METRICS))
    rows = [parse_json(line, contents.Epoch, path, remedy=remedy) for line in content.splitlines()]
    check_epochs([row.get("epoch") for row in rows], record, path, remedy=remedy)
    return rows


def check_epochs(epochs: Sequence[float | None], record: Record | None, path: Path, *, remedy: str) -> None:
    """Raise InputError if a run's `epochs`, in the file `path`, are not 1, 2, ... up to the last one of its record."""
    last = record.get("epochs", len(epochs)) if record else len(epochs)
    if list(epochs) != list(range(1, last + 1)):
        whose = f" of {record['run']}" if record else ""
        raise damaged(path, f"the epochs{whose} are not 1 to {last}", remedy)


def read_predictions(sweep: Description, record: Record) -> np.ndarray | Ragged | None:
    """Return probabilities (n, H, W, num_classes) of the test images in 255ths, uint8; None where none were kept.

    Images that were trained on at their own sizes have them here, too.

    Raises InputError if the file is damaged or of another run.
    """
    path = _folder(sweep, record) / PREDICTIONS
    if not path.exists():
        return None
    content = read_bytes(path, remedy=AGAIN, sha256=_recorded(record, PREDICTIONS))
    with naming(path, AGAIN), np.load(io.BytesIO(content)) as file:
        probabilities, sizes = file["probabilities"], file.get("sizes")
    classes = len(sweep.folds["classes"])
    n, num_classes = record["images"]["test"], classes if classes > 2 else 1
    own_sizes = sweep.config["data"]["fit"] == "crop"
    if own_sizes:
        there = sizes is not None and (sizes.shape, sizes.dtype) == ((n, 2), np.int64)
        if not there or not np.all((sizes > 0) & (sizes < 2**31)):
            raise damaged(path, f"it does not hold the heights and widths of {n} images", AGAIN)
        shape: tuple[int, ...] = sum(height * width for height, width in sizes.tolist()), num_classes
    else:
        shape = n, *sweep.config["data"]["size"], num_classes
    if (probabilities.shape, probabilities.dtype) != (shape, np.uint8):
        found = f"it holds {probabilities.dtype} {probabilities.shape}"
        raise damaged(path, f"{found}, the run has uint8 {shape}", AGAIN)
    return Ragged(probabilities, sizes) if own_sizes else probabilities


def _digest(record: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in record.items() if key != "record_sha256"}
    return hashlib.sha256(to_json(rest).encode()).hexdigest()


def _folder(sweep: Description, record: Record) -> Path:
    return run_folder(sweep.workdir, Run(*(record[field] for field in Run._fields)))


def _recorded(record: Record | None, name: str) -> str | None:
    """Return the digest that the file `name` beside a record must have; None if the run has no record yet."""
    return record["sha256"].get(name, "not recorded") if record else None


def _differences(config: Mapping[str, Any], record: Record) -> Iterator[tuple[str, Any, Any]]:
    """Yield the settings of the record, with both values, that are others in config.json; None if it lacks them.

    Where a run may go on, `epochs` is not among its settings. It must allow those that the run has.
    """
    here, then = flat(config), record["config"] | {"protocol": record["protocol"]}
    if stopping.may_go_on(here["schedule"]):
        then["epochs"] = max(record.get("epochs", 0), here["epochs"])  # a failed run has none
    for field in sorted(then):
        if here.get(field) != then[field]:
            yield field, here.get(field), then[field]


def _faults(sweep: Description, record: Record, table: pd.DataFrame) -> Iterator[str]:
    """Yield what is wrong with a run's rows of per_image.parquet."""
    classes = sweep.folds["classes"]
    images = sweep.cell(record["repeat"], record["fold"])["test"]
    if strange := set(table["run"]) - {record["run"]}:
        yield f"it holds {min(strange)}, not {record['run']}"
    if list(table["image_id"]) != [image for image in images for _ in classes]:
        yield f"its images are not the test images of {record['run']} in {FOLDS}"
    if list(table["class"]) != [*classes] * len(images):
        yield f"its classes are not those of {FOLDS}"
    both, union, truth, predicted = (
        table[name].to_numpy(np.int64) for name in ("intersection", "union", "truth", "predicted")
    )
    if not np.all((both >= 0) & (both <= np.minimum(truth, predicted)) & (union == truth + predicted - both)):
        yield "its pixel counts contradict each other"
    for name in metrics.OVERLAPS:
        if name in table and not table[name].isna().all():
            values = table[name].dropna()
            if values.dtype.kind != "f" or not values.between(0, 1).all():
                yield f"its column {name} is not from 0 to 1"
