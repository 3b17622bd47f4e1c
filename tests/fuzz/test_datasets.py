"""The user's folder of images and masks, built data sets, prepared sets, and the archives of published data sets."""

import hashlib
import importlib
import shutil
from pathlib import Path

import pandas as pd
import pytest

from datasets.errors import DataError
from launch import prepare
from launch.console import dataset
from sharp_unet_jax.config import Data
from tests.datasets import test_covid19_ct, test_lung_ct, writers
from tests.fuzz import commands, inputs
from tests.fuzz.harness import Act, Kind, equal


def _load(**fields) -> dict:
    """Return the digest of each image and mask by id, the groups, and the classes."""
    import io

    from rich.console import Console

    data = dataset.load(Data(**fields), Console(file=io.StringIO()))
    assert data.masks.max() < len(data.classes) or data.masks.max() == 255
    found = {"classes": data.classes, "channels": data.images.shape[-1], "window": data.window}
    for image, mask, name, group in zip(data.images, data.masks, data.ids, data.groups, strict=True):
        found[name] = hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest(), group
    return found


def load(box: Path) -> dict:
    mine = box / "mine"
    return _load(
        builder="folder", images=str(mine), groups=str(mine / "groups.csv"), data_dir=str(box / "out"), size=(24, 32)
    )


def others_are_equal(figures, original, box: Path, target: Path) -> str:
    """All but the changed pair is read as before; if the kind of the whole set changed, all may be read otherwise."""
    if any(figures[field] != original[field] for field in ("classes", "channels", "window")):
        return ""
    if target.suffix == ".csv":
        return _groups_are_of(figures, original, target)
    names = (original.keys() | figures.keys()) - {target.stem}
    if differing := [name for name in sorted(names) if figures.get(name) != original.get(name)]:
        return f"{differing[0]} was read otherwise"
    return ""


def _groups_are_of(figures, original, target: Path) -> str:
    """Images are as before, and each group stands in the file."""
    if not target.is_file():
        return "groups of no file"
    text = target.read_text(errors="replace")
    for name, found in original.items():
        if name not in figures:
            return f"{name} is missing"
        if name.startswith("i") and (figures[name][0] != found[0] or figures[name][1].strip() not in text):
            return f"{name} has a group that is not in the file"
    return ""


def look(box: Path) -> dict:
    """Prepare: list all faults, or the shares of each image."""
    arguments = [
        "--config=folder.py",
        f"--config.data.images={box / 'mine'}",
        f"--config.data.groups={box / 'mine/groups.csv'}",
    ]
    arguments += ["--config.data.size=32,32", "--config.folds=2", f"--output={box / 'out'}"]
    code, _ = commands.command(prepare.main, *arguments)
    table = pd.read_csv(box / "out" / "images.csv").set_index("id").astype(str)
    if code:
        faults = (box / "out" / "report.md").read_text().replace("\\", "").partition("would refuse")[2]
        raise DataError(faults.partition("##")[0])
    return {name: tuple(row) for name, row in table.drop(columns="relatives").iterrows()}


def other_rows_are_equal(figures, original, box: Path, target: Path) -> str:
    if target.suffix == ".csv":
        return ""
    names = original.keys() - {target.stem}
    return equal({name: figures.get(name) for name in names}, {name: original[name] for name in names}, box, target)


def mine(box: Path) -> None:
    inputs.pairs(box / "mine")


FOLDER = Kind(
    "folder",
    mine,
    ("mine/*/*", "mine/groups.csv"),
    (Act(load, judge=others_are_equal), Act(load, judge=others_are_equal), Act(look, judge=other_rows_are_equal)),
    share=2,
)


def built(box: Path) -> None:
    """Build the user's folder and the phantom; drop the prepared sets."""
    inputs.pairs(box / "mine")
    read(box)
    for path in (box / "data").rglob("prepared-*"):
        shutil.rmtree(path)


def read(box: Path) -> dict:
    found = _load(builder="folder", images=str(box / "mine"), data_dir=str(box / "data"), size=(24, 32))
    return found | _load(builder="phantom", data_dir=str(box / "data"), size=(16, 16))


BUILT = Kind("built", built, ("data/**/*",), (Act(read, ("data",)),))


def prepared(box: Path) -> None:
    inputs.pairs(box / "mine")
    read(box)


PREPARED = Kind("prepared", prepared, ("data/**/prepared-*/*",), (Act(read, ("data",)),))

LAYOUTS = ("cvc_clinicdb", "isbi2012", "dsb2018")


def archives(box: Path) -> None:
    for name in LAYOUTS:
        layout = writers.LAYOUTS[name]()
        layout.zip(box / name / layout.zip_name)


def build_all(box: Path) -> dict:
    """Build the data sets without a network: a missing archive would be downloaded."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "*")
        patch.setattr("tensorflow_datasets.core.download.downloader.MAX_RETRIES", 0)
        for name in LAYOUTS:
            module = importlib.import_module(f"datasets.{name}.{name}_dataset_builder")
            patch.setattr(module, "URL", "http://127.0.0.1:9/", raising=False)
            found[name] = _load(builder=name, data_dir=str(box / "out"), manual_dir=str(box / name), size=(24, 32))
    return found


ARCHIVES = Kind("archives", archives, ("*/*.zip",), (Act(build_all),))


def scans(box: Path) -> None:
    test_lung_ct.kaggle(box / "lung")
    test_covid19_ct.medseg(box / "covid")


def build_scans(box: Path) -> dict:
    found = {}
    for name, folder in (("lung_ct", "lung"), ("lung_ct/volumes", "lung"), ("covid19_ct", "covid")):
        found[name] = _load(builder=name, data_dir=str(box / "out"), manual_dir=str(box / folder), size=(16, 16))
    return found


def of_other_scans(figures, original, box: Path, target: Path) -> str:
    """The pair of the changed file may be read otherwise: other voxels are another scan."""
    changed = {"2d": "lung_ct", "3d": "lung_ct/volumes"}.get(target.parent.name[:2], "covid19_ct")
    if differing := [name for name in original if name != changed and figures[name] != original[name]]:
        return f"{differing[0]} was read otherwise"
    return ""


SCANS = Kind("scans", scans, ("lung/*/*", "covid/*"), (Act(build_scans, judge=of_other_scans),))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FOLDER, BUILT, PREPARED, ARCHIVES, SCANS], ids=lambda kind: kind.name)
def test_datasets(fuzz, kind):
    fuzz(kind)
