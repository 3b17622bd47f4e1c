"""The description of a sweep: config.json and folds.json, read and checked. `storage.run_files` compares runs to it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharp_unet_jax.errors import FROM_A_COPY, InputError
from sharp_unet_jax.storage.atomic import to_json
from sharp_unet_jax.storage.contents import Cell, Environment, Folds, Prepared, Settings
from sharp_unet_jax.storage.layout import CONFIG, DATA, DIGESTS, ENVIRONMENT, EPOCHS, FOLDS, RUNS
from sharp_unet_jax.storage.reading import damaged, read_json


@dataclass(frozen=True, eq=False)
class Description:
    """A sweep's settings and folds."""

    workdir: Path  # or the folder of packed results
    config: dict[str, Any]  # config.json; has the fields of `contents.Settings`
    folds: Folds  # folds.json
    sha256: Mapping[str, str]  # digests of packed files by name; empty for a workdir

    def cell(self, repeat: int, fold: int) -> Cell:
        """Return a fold of a repeat. Raises InputError if folds.json has none."""
        for cell in self.folds["folds"]:
            if (cell["repeat"], cell["fold"]) == (repeat, fold):
                return cell
        raise InputError(f"{self.workdir / FOLDS} has no repeat {repeat}, fold {fold}: give the sweep's command again")


def read(folder: Path) -> Description:
    """Return the description of the sweep in a workdir, or in a folder of packed results.

    Raises InputError if `folder` holds none, or if config.json, folds.json or sha256.json is damaged or they do not
    agree.
    """
    sha256 = _read_digests(folder)
    config = read_config(folder, sha256.get(CONFIG))
    description = Description(folder, config, read_folds(folder, config, sha256.get(FOLDS)), sha256)
    for place in range(min(config["repeats"] * config["folds"], 1 + len(description.folds["folds"]))):
        description.cell(*divmod(place, config["folds"]))
    return description


def check_unpacked(sweep: Description) -> None:
    """Refuse packed results where weights or images are needed. Raises InputError."""
    if sweep.sha256:
        raise InputError(f"{sweep.workdir} holds packed results, without images and weights: name the sweep's workdir")


def read_config(folder: Path, sha256: str | None = None) -> dict[str, Any]:
    """Return config.json, which must have the fields of `contents.Settings`. Raises InputError."""
    _check_there(folder, CONFIG)
    config = read_json(folder / CONFIG, Settings, remedy=FROM_A_COPY, sha256=sha256)
    if len(set(config["models"])) < len(config["models"]):
        raise damaged(folder / CONFIG, "one of its models stands there twice", FROM_A_COPY)
    return dict(config)


def read_folds(folder: Path, config: Mapping[str, Any], sha256: str | None = None) -> Folds:
    """Return folds.json, whose parts must agree. Raises InputError."""
    _check_there(folder, FOLDS)
    folds = read_json(folder / FOLDS, Folds, remedy=FROM_A_COPY, sha256=sha256)
    if why := _inconsistency(folds, config):
        raise damaged(folder / FOLDS, why, FROM_A_COPY)
    return folds


def read_prepared(folder: Path) -> Path | None:
    """Return the folder of the prepared images and masks, as data.json says it; None without one. Raises InputError."""
    path, remedy = folder / DATA, "delete it and give the sweep's command again"
    return Path(read_json(path, Prepared, remedy=remedy)["prepared"]) if path.exists() else None


def read_environment(folder: Path, sha256: str | None = None) -> dict[str, Any]:
    """Return environment.json, which has the fields of `contents.Environment`; {} without one. Raises InputError."""
    path = folder / ENVIRONMENT
    return dict(read_json(path, Environment, remedy="delete it", sha256=sha256)) if path.exists() else {}


def digest(folds: Mapping[str, Any], cell: Mapping[str, Any]) -> str:
    """Return the digest of what a run takes from folds.json: the data set, and the images of the run's cell."""
    of_the_data = [folds["sha256"], folds["classes"], folds["window"], folds["group_of"]]
    return hashlib.sha256(to_json([*of_the_data, cell["validation"], cell["test"]]).encode()).hexdigest()


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {"seed": 0, "data": {"size": x}} as {"seed": 0, "data.size": x}."""
    fields: dict[str, Any] = {}
    for key, value in config.items():
        if key in ("data", "augment"):
            fields |= flat(value, f"{key}.")
        else:
            fields[prefix + key] = value
    return fields


def _read_digests(folder: Path) -> dict[str, str]:
    """Return sha256.json of packed results; {} for a workdir. Raises InputError."""
    path = folder / DIGESTS
    if not path.exists() and not (folder / RUNS).exists():
        return {}
    sha256 = read_json(path, dict[str, str], remedy=FROM_A_COPY)
    if lacking := [name for name in (CONFIG, FOLDS, RUNS, EPOCHS) if name not in sha256]:
        raise damaged(path, f"it lacks {', '.join(lacking)}", FROM_A_COPY)
    return sha256


def _check_there(folder: Path, name: str) -> None:
    if not (folder / name).exists():
        raise InputError(f"{folder} holds no sweep: there is no {name}")


def _inconsistency(folds: Folds, config: Mapping[str, Any]) -> str:
    """Return in what the parts of folds.json do not agree, "" if they do."""
    known = folds["group_of"]
    if (len(known), len(set(known.values()))) != (folds["images"], folds["groups"]):
        return "its group_of has not as many images and groups as it says"
    tests: dict[int, dict[int, list[str]]] = {}
    for cell in folds["folds"]:
        place = f"repeat {cell['repeat']}, fold {cell['fold']}"
        tests_of_repeat = tests.setdefault(cell["repeat"], {})
        if cell["fold"] in tests_of_repeat:
            return f"it has {place} twice"
        tests_of_repeat[cell["fold"]] = cell["test"]
        for ids in (cell["validation"], cell["test"]):
            if len(set(ids)) < len(ids):
                return f"an image is in {place} twice"
            if strange := set(ids) - known.keys():
                return f"{min(strange)!r} of {place} is not in its group_of"
    for repeat, parts in tests.items():
        ids = [image for part in parts.values() for image in part]
        if len(set(ids)) < len(ids):
            return f"an image is tested twice in repeat {repeat}"
        drawn = config["split"] == "folds" and len(parts) == config["folds"] > 1  # by this project
        if drawn and len(ids) < folds["images"]:
            return f"the folds of repeat {repeat} do not test every image"
    return ""
