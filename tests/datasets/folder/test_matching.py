"""Images and masks matched by pattern, by folders, by channel and by class; no file is ever dropped."""

import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from datasets.errors import DataError
from datasets.folder import layout, pairs
from datasets.folder.pairs import Pair
from datasets.folder.settings import settings


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def paired(root: Path, **given: Any) -> dict[str, tuple[str, ...]]:
    """Return the files of each pair below `root`, by its id."""
    found = pairs.pairs(settings(images=root, **given))
    return {pair.id: names(pair, root) for pair in found}


def names(pair: Pair, root: Path) -> tuple[str, ...]:
    return tuple(path.relative_to(root).as_posix() for path in (*pair.image, *pair.mask))


# Files, settings, and what pairs.
PATTERNS: dict[str, tuple[list[str], dict[str, Any], dict[str, tuple[str, ...]]]] = {
    "words before": (
        ["images/image_1.png", "images/image_2.jpg", "masks/mask_1.png", "masks/mask_2.png"],
        {"image_prefix": "image", "mask_prefix": "mask"},
        {"image_1": ("images/image_1.png", "masks/mask_1.png"), "image_2": ("images/image_2.jpg", "masks/mask_2.png")},
    ),
    "cellpose": (
        ["images/p1.tif", "images/p2.tif", "masks/p1_cp_masks.png", "masks/P2_CP_Masks.png"],
        {"mask_suffix": "_cp_masks"},
        {"p1": ("images/p1.tif", "masks/p1_cp_masks.png"), "p2": ("images/p2.tif", "masks/P2_CP_Masks.png")},
    ),
    "both in one folder": (
        ["1.jpg", "1_lesion.png", "2.jpg", "2_lesion.png"],
        {"mask_suffix": "_lesion"},
        {"1": ("1.jpg", "1_lesion.png"), "2": ("2.jpg", "2_lesion.png")},
    ),
    "both in one folder, the image is marked": (
        ["1_raw.png", "1.png"],
        {"image_suffix": "_raw"},
        {"1_raw": ("1_raw.png", "1.png")},
    ),
    "both ends": (
        ["images/a-7-b.png", "masks/c-7-d.png"],
        {"image_prefix": "a-", "image_suffix": "-b", "mask_prefix": "c-", "mask_suffix": "-d"},
        {"a-7-b": ("images/a-7-b.png", "masks/c-7-d.png")},
    ),
    "PH2": (
        ["I2/I2_image/I2.bmp", "I2/I2_lesion/I2_lesion.bmp", "I10/I10_image/I10.bmp", "I10/I10_lesion/I10_lesion.bmp"],
        {"mask_suffix": "_lesion"},
        {
            "I2": ("I2/I2_image/I2.bmp", "I2/I2_lesion/I2_lesion.bmp"),
            "I10": ("I10/I10_image/I10.bmp", "I10/I10_lesion/I10_lesion.bmp"),
        },
    ),
    "a folder per patient": (
        ["images/b/1.png", "images/a/1.png", "images/a/2.png", "masks/a/1.png", "masks/a/2_mask.png", "masks/b/1.png"],
        {},
        {
            "a/1": ("images/a/1.png", "masks/a/1.png"),
            "a/2": ("images/a/2.png", "masks/a/2_mask.png"),
            "b/1": ("images/b/1.png", "masks/b/1.png"),
        },
    ),
    "folders of images, and masks in one": (
        ["images/a/1.png", "images/b/2.png", "masks/1.png", "masks/2.png"],
        {},
        {"1": ("images/a/1.png", "masks/1.png"), "2": ("images/b/2.png", "masks/2.png")},
    ),
    "names that repeat in each folder, masks beside": (
        ["x/a/photo/1.png", "x/a/lesion/1_m.png", "x/b/photo/1.png", "x/b/lesion/1_m.png"],
        {"mask_suffix": "_m"},
        {
            "a/1": ("x/a/photo/1.png", "x/a/lesion/1_m.png"),
            "b/1": ("x/b/photo/1.png", "x/b/lesion/1_m.png"),
        },
    ),
    "nnU-Net's channels are found": (
        [
            "images/a_0000.png",
            "images/a_0001.png",
            "images/b_0001.png",
            "images/b_0000.png",
            "masks/a.png",
            "masks/b.png",
        ],
        {},
        {
            "a": ("images/a_0000.png", "images/a_0001.png", "masks/a.png"),
            "b": ("images/b_0000.png", "images/b_0001.png", "masks/b.png"),
        },
    ),
    "nnU-Net's only channel is found": (
        ["images/a_0000.nii.gz", "masks/a.nii.gz"],
        {},
        {"a": ("images/a_0000.nii.gz", "masks/a.nii.gz")},
    ),
    "frames of a video are no channels": (
        ["images/a_0000.png", "images/a_0001.png", "masks/a_0000.png", "masks/a_0001.png"],
        {},
        {"a_0000": ("images/a_0000.png", "masks/a_0000.png"), "a_0001": ("images/a_0001.png", "masks/a_0001.png")},
    ),
    "channels in the order that is given": (
        ["images/a_DAPI.tif", "images/a_actin.tif", "masks/a_mask.png"],
        {"channel_files": ["_dapi", "_actin"]},
        {"a": ("images/a_DAPI.tif", "images/a_actin.tif", "masks/a_mask.png")},
    ),
    "a folder per class, not all in all images": (
        ["images/a.png", "images/b.png", "masks/wall/a.png", "masks/core/a.png", "masks/core/b.png"],
        {"class_files": ["core", "wall"]},
        {"a": ("images/a.png", "masks/core/a.png", "masks/wall/a.png"), "b": ("images/b.png", "masks/core/b.png")},
    ),
    "an ending per class, one in another": (
        ["images/a.png", "masks/a_wall.png", "masks/a_cell_wall.png"],
        {"class_files": ["wall", "cell_wall"]},
        {"a": ("images/a.png", "masks/a_wall.png", "masks/a_cell_wall.png")},
    ),
    "one class, in a folder": (
        ["images/a.png", "masks/core/a_mask.png"],
        {"class_files": ["core"]},
        {"a": ("images/a.png", "masks/core/a_mask.png")},
    ),
    "folder and ending": (
        ["images/a.png", "masks/core/a_core.png", "masks/wall/a_wall.png"],
        {"class_files": ["core", "wall"]},
        {"a": ("images/a.png", "masks/core/a_core.png", "masks/wall/a_wall.png")},
    ),
    "a pattern around a class": (
        ["images/a.png", "images/b.png", "masks/m_a_core.png", "masks/m_b_wall.png", "masks/m_a_wall.png"],
        {"class_files": ["_core", "_wall"], "mask_prefix": "m_"},
        {
            "a": ("images/a.png", "masks/m_a_core.png", "masks/m_a_wall.png"),
            "b": ("images/b.png", "masks/m_b_wall.png"),
        },
    ),
    "classes of patients": (
        ["images/p/1.png", "images/q/1.png", "masks/core/p/1.png", "masks/core/q/1.png", "masks/wall/q/1.png"],
        {"class_files": ["core", "wall"]},
        {
            "p/1": ("images/p/1.png", "masks/core/p/1.png"),
            "q/1": ("images/q/1.png", "masks/core/q/1.png", "masks/wall/q/1.png"),
        },
    ),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_what_pairs(name: str, tmp_path: Path) -> None:
    there, given, expected = PATTERNS[name]
    found = paired(touch(tmp_path, *there), **given)
    assert found == expected
    assert list(found) == list(expected)


# Files, settings, and the one line that refuses them.
REFUSED: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "an image without the prefix": (
        ["images/image_1.png", "images/2.png", "masks/mask_1.png"],
        {"image_prefix": "image", "mask_prefix": "mask"},
        r"images/2\.png: not named as data\.image_prefix=image says; rename or remove",
    ),
    "a mask without the suffix": (
        ["images/1.png", "masks/1_lesion.png", "masks/1.png"],
        {"mask_suffix": "_lesion"},
        r"masks/1\.png: not named as data\.mask_suffix=_lesion says",
    ),
    "a third kind of file beside images and masks": (
        ["a/1.png", "a/1_lesion.png", "a/1_roi.png"],
        {"mask_suffix": "_lesion"},
        r"no mask in .* for 1_roi\.png; add",
    ),
    "a channel is missing": (
        ["images/a_0000.png", "images/a_0001.png", "images/b_0000.png", "masks/a.png", "masks/b.png"],
        {},
        r"images: b has no file of _0001; add it",
    ),
    "a file of no channel": (
        ["images/a_r.png", "images/a_g.png", "images/a.png", "masks/a.png"],
        {"channel_files": ["_r", "_g"]},
        r"images/a\.png: ends in none of data\.channel_files=_r,_g",
    ),
    "a channel twice": (
        ["images/a_r.png", "images/a_r.tif", "masks/a.png"],
        {"channel_files": ["_r"]},
        r"images/a_r\.png and a_r\.tif have the same name",
    ),
    "a mask of no class": (
        ["images/a.png", "masks/a_core.png", "masks/a_hole.png"],
        {"class_files": ["core", "wall"]},
        r"masks/a_hole\.png: not named as data\.class_files=core,wall says",
    ),
    "a class twice": (
        ["images/a.png", "masks/core/a.png", "masks/core/a_core.png", "masks/wall/a.png"],
        {"class_files": ["core", "wall"]},
        r"core/a\.png and a_core\.png have the same name, a;",
    ),
    "an image of no class": (
        ["images/a.png", "images/b.png", "masks/a_core.png"],
        {"class_files": ["core"]},
        r"no mask in .* for b\.png; add",
    ),
    "a patient without masks": (
        ["images/a/1.png", "images/b/1.png", "masks/a/1.png"],
        {},
        r"no mask in .* for b/1\.png; add",
    ),
    "two images of one name": (["images/a/1.png", "images/a/1.bmp", "masks/a/1.png"], {}, r"1\.bmp and 1\.png have"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    there, given, message = REFUSED[name]
    with pytest.raises(DataError, match=message) as error:
        paired(touch(tmp_path, *there), **given)
    assert "\n" not in str(error.value)
    faults: list[str] = []
    pairs.pairs(settings(images=tmp_path, **given), faults)
    assert str(error.value) == faults[0]


def test_an_image_that_lacks_a_channel_is_left_out(tmp_path: Path) -> None:
    there, given, _ = REFUSED["a channel is missing"]
    faults: list[str] = []
    found = pairs.pairs(settings(images=touch(tmp_path, *there), **given), faults)
    assert [pair.id for pair in found] == ["a"]
    assert len(faults) == 1


STEMS = [
    "a",
    "b",
    "a_mask",
    "a_lesion",
    "b_lesion",
    "image_a",
    "mask_a",
    "a_core",
    "b_core",
    "a_0000",
    "a_0001",
    "b_0000",
]
FOLDERS = ["images", "images/p", "images/q", "masks", "masks/p", "masks/q", "masks/core", "masks/wall", "."]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"mask_suffix": "_lesion"},
    {"image_prefix": "image", "mask_prefix": "mask"},
    {"channel_files": ["_0000", "_0001"]},
    {"class_files": ["core", "wall"]},
    {"groups": "folders"},
]


@hypothesis.settings(max_examples=100)
@hypothesis.given(
    st.sets(st.tuples(st.sampled_from(FOLDERS), st.sampled_from(STEMS)), min_size=2, max_size=8),
    st.sampled_from(SETTINGS),
)
def test_no_file_is_ever_dropped(there: set[tuple[str, str]], given: dict[str, Any]) -> None:
    """Every picture is in one pair, or there is a fault; or it lies below pictures and a note says so."""
    with tempfile.TemporaryDirectory() as root:
        top = touch(Path(root), *(f"{folder}/{stem}.png" for folder, stem in there))
        try:
            whole = layout.complete(settings(images=top, **given))
            found = pairs.pairs(whole)
        except DataError:
            return
        used = [path for pair in found for path in (*pair.image, *pair.mask)]
        assert len(used) == len(set(used))
        assert len({pair.id for pair in found}) == len(found) > 0
        unread = {path for folder in layout.folders(whole) for path in folder.rglob("*.png")} - set(used)
        noted = [note for note in pairs.notes(whole) if "not read" in note]
        assert bool(unread) == bool(noted)
        assert all(any(path.parent.is_relative_to(folder) for folder in layout.folders(whole)) for path in unread)
        assert set(layout.paths(whole)) == set(used)
