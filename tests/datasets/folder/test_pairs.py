"""Images and masks matched by file name: what pairs, and that no file is ever dropped."""

import os
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from datasets.errors import DataError
from datasets.folder import layout, pairs
from datasets.folder.names import ENDING
from datasets.folder.pairs import Pair
from datasets.folder.settings import settings

ENDINGS = (
    "",
    "_mask",
    "_masks",
    "_segmentation",
    "_seg",
    "_label",
    "_labels",
    "-mask",
    ".seg",
    " gt",
    "_MASK",
    "_Mask",
)


def paired(images: Path, masks: Path) -> tuple[Pair, ...]:
    return pairs.pairs(settings(images=images, masks=masks))


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("ending", ENDINGS)
def test_endings_of_mask_names(ending: str, tmp_path: Path) -> None:
    images, masks = touch(tmp_path / "i", "Case 7.jpg"), touch(tmp_path / "m", f"case 7{ending}.png")
    (pair,) = paired(images, masks)
    assert (pair.id, pair.image[0].name, pair.mask[0].name) == ("Case 7", "Case 7.jpg", f"case 7{ending}.png")


stems = st.text(st.sampled_from("aA1é_-m"), min_size=1, max_size=4).filter(lambda stem: not ENDING.search(stem))


@hypothesis.settings(max_examples=40)
@hypothesis.given(st.lists(stems, min_size=1, max_size=6, unique_by=str.casefold), st.randoms(use_true_random=False))
def test_case_accents_suffixes_and_endings_do_not_matter(stems: list[str], random: Any) -> None:
    mask_of = {
        stem: unicodedata.normalize(random.choice(("NFC", "NFD")), random.choice((stem, stem.upper())))
        + random.choice(ENDINGS)
        for stem in stems
    }
    with tempfile.TemporaryDirectory() as root:
        images = touch(
            Path(root, "i"), "._a.png", *(f"{stem}{random.choice(('.png', '.JPG', '.tif'))}" for stem in stems)
        )
        masks = touch(Path(root, "m"), ".DS_Store", *(f"{mask}.BMP" for mask in mask_of.values()))
        assert {pair.id: pair.mask[0].stem for pair in paired(images, masks)} == mask_of


@hypothesis.settings(max_examples=60)
@hypothesis.given(
    st.sets(st.sampled_from(["a", "A", "a_mask", "a_mask_mask", "b", "a1", "a10", "a2"])),
    st.sets(st.sampled_from(["a", "a_mask", "a_Mask_mask", "a1_seg", "a1", "a10", "a2", "b"])),
)
def test_no_file_is_ever_dropped(image_stems: set[str], mask_stems: set[str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        images, masks = (
            touch(Path(root, name), *(f"{stem}.png" for stem in stems))
            for name, stems in (("i", image_stems), ("m", mask_stems))
        )
        try:
            found = paired(images, masks)
        except DataError:
            return
    assert len(found) == len(image_stems) == len(mask_stems)
    assert {pair.image[0].stem for pair in found} == image_stems
    assert {pair.mask[0].stem for pair in found} == mask_stems


def test_an_image_may_be_named_like_a_mask(tmp_path: Path) -> None:
    images, masks = (touch(tmp_path / kind, "a_seg.png", "b.png") for kind in ("i", "m"))
    assert [(pair.id, pair.mask[0].name) for pair in paired(images, masks)] == [
        ("a_seg", "a_seg.png"),
        ("b", "b.png"),
    ]
    assert len(paired(touch(tmp_path / "i", "a.png"), touch(tmp_path / "m", "a_mask.png"))) == 3


def test_order_is_natural(tmp_path: Path) -> None:
    names = [f"{stem}.png" for stem in ("10", "2", "1b", "1", "b1", "a", "01")]
    found = paired(touch(tmp_path / "i", *names), touch(tmp_path / "m", *names))
    assert [pair.id for pair in found] == ["01", "1", "1b", "2", "10", "a", "b1"]


def test_real_names_with_endings(real_data: Path) -> None:
    manual = real_data / "manual"
    found = paired(manual / "ISIC2018_Task1-2_Training_Input", manual / "ISIC2018_Task1_Training_GroundTruth")
    assert len(found) == 300
    assert all(pair.mask[0].stem == f"{pair.image[0].stem}_segmentation" for pair in found)


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"a\nb.png"])
def test_a_name_that_is_no_text_is_refused(name: bytes, tmp_path: Path) -> None:
    images, masks = touch(tmp_path / "i", "0.png"), touch(tmp_path / "m", "0.png")
    for folder in (images, masks):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).touch()
    with pytest.raises(DataError, match=r"/i: the name 'caf\\udce9\.png' is|/i: the name 'a\\nb\.png' is") as error:
        paired(images, masks)
    assert str(error.value).isprintable()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        layout.complete(settings(images=tmp_path / "nowhere"))


def test_images_and_masks_by_patterns_of_their_paths(tmp_path: Path) -> None:
    for name in ("P1", "P2"):
        for end in ("image/{}.png", "lesion/{}_lesion.png", "roi/{}_R1.png"):
            path = tmp_path / name / end.format(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    given = settings(images=tmp_path / "*/image/*.png", masks=tmp_path / "*/lesion/*.png", mask_suffix="_lesion")
    assert [(pair.id, pair.mask[0].name) for pair in pairs.pairs(given)] == [
        ("P1", "P1_lesion.png"),
        ("P2", "P2_lesion.png"),
    ]
    assert pairs.notes(layout.complete(given)) == []
    with pytest.raises(DataError, match="by a pattern"):
        pairs.pairs(settings(images=tmp_path, mask_suffix="_lesion"))
