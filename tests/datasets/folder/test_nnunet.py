"""Folders of nnU-Net's: channels and classes by dataset.json, of its first version and its second."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from datasets import formats
from datasets.errors import DataError
from datasets.folder import layout, pairs
from datasets.folder.scan import scan
from datasets.folder.settings import settings
from datasets.formats.stack import How
from sharp_unet_jax.data.pixels import as_trained
from tests.datasets.folder.test_matching import touch

FILES = (
    *("imagesTr/c1_0000.nii.gz", "imagesTr/c1_0001.nii.gz", "imagesTr/c2_0000.nii.gz", "imagesTr/c2_0001.nii.gz"),
    *("labelsTr/c1.nii.gz", "labelsTr/c2.nii.gz", "imagesTs/c3_0000.nii.gz"),
)
SECOND = {
    "channel_names": {"0": "T1", "1": "FLAIR"},
    "labels": {"background": 0, "tumor": 2, "edema": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}
FIRST = {"modality": {"0": "T1", "1": "FLAIR"}, "labels": {"0": "background", "2": "tumor", "1": "edema"}}


def nnunet(root: Path, content: Any) -> Path:
    touch(root, *FILES)
    (root / "dataset.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return root


@pytest.mark.parametrize("content", [FIRST, SECOND])
def test_channels_and_classes(content: dict[str, Any], tmp_path: Path) -> None:
    found = layout.complete(settings(images=nnunet(tmp_path, content)))
    assert (found.images, found.masks) == (tmp_path / "imagesTr", tmp_path / "labelsTr")
    assert found.classes == ("background", "edema", "tumor")
    assert found.channel_files == ("_0000", "_0001")
    assert found.ignore == ""
    paired = pairs.pairs(found)
    assert [pair.id for pair in paired] == ["c1", "c2"]
    assert [path.name for path in (*paired[0].image, *paired[0].mask)] == [*(FILES[at][9:] for at in (0, 1, 4))]
    assert "a file per channel (_0000, _0001)" in pairs.describe(found)


@pytest.mark.parametrize(("modality", "pages"), [({"0": "MRI"}, ""), ({"0": "T2", "1": "ADC"}, "channels")])
def test_a_folder_of_the_decathlon(modality: dict[str, str], pages: str, tmp_path: Path) -> None:
    """Its modalities are no files: several are the fourth axis of one."""
    for number in range(2):
        voxels = np.random.default_rng(number).integers(0, 900, (8, 9, 3, len(modality))).astype(np.int16)
        label = np.zeros((8, 9, 3), np.uint8)
        label[2:5, 3:6] = 1
        for kind, array in (("imagesTr", voxels.squeeze()), ("labelsTr", label)):
            (tmp_path / kind).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / kind / f"c_{number:03}.nii.gz")
            (tmp_path / kind / f"._c_{number:03}.nii.gz").write_bytes(b"macOS")
    labels = {"0": "background", "1": "Anterior"}
    (tmp_path / "dataset.json").write_text(json.dumps({"modality": modality, "labels": labels}))
    found = scan(settings(images=tmp_path))
    assert (found.settings.channel_files, found.settings.pages) == ((), pages)
    assert (found.channels, len(found.names)) == (len(modality), 6)
    assert found.reading.classes == ("background", "Anterior")
    image, labels = found.read(0)
    path = tmp_path / "imagesTr/c_000.nii.gz"
    there = formats.read([path], How(channels=found.channels)).pictures  # as a run reads it, which knows no pages
    np.testing.assert_array_equal(as_trained(there, found.channels, found.window), image)


def test_the_label_that_is_ignored(tmp_path: Path) -> None:
    labels = {"background": 0, "cell": 1, "ignore": 2}
    found = layout.complete(settings(images=nnunet(tmp_path, {**SECOND, "labels": labels})))
    assert found.classes == ("background", "cell")
    assert found.ignore == "2"


def test_names_that_are_given_win(tmp_path: Path) -> None:
    found = layout.complete(settings(images=nnunet(tmp_path, SECOND), classes=["air", "a", "b"]))
    assert found.classes == ("air", "a", "b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as nnU-Net's"),
        ("[1]", "cannot be read as nnU-Net's"),
        ({"labels": {"background": 0}}, "cannot be read as nnU-Net's"),
        ({**SECOND, "labels": {"background": 0, "whole": [1, 2], "core": 2}}, "whole is a region of several labels"),
        ({**SECOND, "labels": {"background": 0, "tumor": 2}}, "they must be 0, 1, 2"),
        (
            {**SECOND, "labels": {"background": 0, "HU=9": 1}},
            "a class is called 'HU=9'; rename it, or name all classes",
        ),
        ({**SECOND, "labels": {"a": 1, "b": 2}}, "they must be 0, 1, 2"),
        ({**SECOND, "labels": {"background": "x"}}, "cannot be read as nnU-Net's"),
    ],
)
def test_errors(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as error:
        layout.complete(settings(images=nnunet(tmp_path, content)))
    assert str(error.value).startswith(str(tmp_path / "dataset.json"))
    assert "\n" not in str(error.value)


def test_without_its_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds imagesTr and labelsTr but no dataset\.json"):
        layout.complete(settings(images=touch(tmp_path, *FILES)))


def test_its_two_folders_do_without(tmp_path: Path) -> None:
    root = touch(tmp_path, *FILES)
    found = layout.complete(settings(images=root / "imagesTr", masks=root / "labelsTr"))
    assert found.channel_files == ("_0000", "_0001")
    assert found.classes == ()
