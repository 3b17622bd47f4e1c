"""A folder as nnU-Net has it: imagesTr with a file per channel, labelsTr, and dataset.json, which names the classes.

The Medical Segmentation Decathlon has the same, but one file per image: its channels are the fourth axis.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import files, formats
from datasets.errors import DataError
from datasets.folder.settings import Settings
from datasets.formats import channel_files

FILE = "dataset.json"
IGNORE = "ignore"  # nnU-Net's name of the label that is neither trained on nor scored


def is_one(folder: Path) -> bool:
    """Say whether a folder is one of nnU-Net's."""
    return (folder / "imagesTr").is_dir() and (folder / "labelsTr").is_dir()


def settings(given: Settings, folder: Path) -> Settings:
    """Return the settings that the folder's dataset.json stands for; those that are given win.

    Raises DataError for a file of another form, and for labels that are no plain classes.
    """
    path = folder / FILE
    if not path.is_file():
        raise DataError(f"{folder}: holds imagesTr and labelsTr but no {FILE}; add it, or name the two folders")
    try:
        content: Any = json.loads(path.read_bytes())
        channels = content.get("channel_names") or content["modality"]
        indices = sorted(int(index) for index in channels)
        label_of = _labels(path, content["labels"])
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"{path}: cannot be read as nnU-Net's ({type(error).__name__}: {reason})") from error
    ignored = {name: label for name, label in label_of.items() if name.casefold() == IGNORE}
    names = sorted(label_of.keys() - ignored.keys(), key=label_of.__getitem__)
    if [label_of[name] for name in names] != list(range(len(names))) or len(names) < 2:
        raise DataError(f"{path}: its labels are {label_of}; they must be 0, 1, 2, ..., and 0 the background")
    if (odd := [name for name in names if "=" in name]) and not given.classes:
        raise DataError(f"{path}: a class is called {odd[0]!r}; rename it, or name all classes in data.classes")
    endings = tuple(f"_{index:04}" for index in indices)
    stems = [formats.stem(path) for path in (folder / "imagesTr").iterdir() if files.is_shown(path.name)]
    apart = any(channel_files.stripped(stem, endings) for stem in stems)
    return replace(
        given,
        images=folder / "imagesTr",
        masks=folder / "labelsTr",
        channel_files=given.channel_files or (endings if apart else ()),
        pages=given.pages or ("channels" if len(indices) > 1 and not (apart or given.channel_files) else ""),
        classes=given.classes or tuple(names),
        ignore=given.ignore or "".join(map(str, ignored.values())),
    )


def _labels(path: Path, labels: dict[str, Any]) -> dict[str, int]:
    """Return labels by name: {"tumor": 1} or, as in nnU-Net's first version, {"1": "tumor"}."""
    if regions := [name for name, label in labels.items() if isinstance(label, list)]:
        raise DataError(
            f"{path}: {regions[0]} is a region of several labels, which is not trained on; give each label a name"
        )
    if all(isinstance(name, str) for name in labels.values()):
        return {name: int(label) for label, name in labels.items()}
    return {name: int(label) for name, label in labels.items()}
