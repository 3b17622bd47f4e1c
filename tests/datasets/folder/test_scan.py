"""Two folders scanned: what is found, and faults collected or raised."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.files import DataError
from datasets.folder.scan import scan, scan_pairs
from datasets.folder.settings import settings

BLOB = np.zeros((12, 10), np.uint8)
BLOB[3:8, 2:6] = 255
MASKS = BLOB, BLOB[::-1], BLOB[:, ::-1]


def test_a_set_is_described_in_a_paragraph(with_masks: Callable[..., Path], save: Callable[..., None]) -> None:
    root = with_masks(MASKS)
    save(root / "masks" / "0.png", BLOB * 0)
    for kind in ("images", "masks"):
        save(root / kind / "1.png", np.zeros((20, 30), np.uint8))
    assert scan(settings(images=root)).describe() == (
        f"3 images in {root}/images with masks in {root}/masks, paired by name; 10x12 to 30x20 (width x height), RGB; "
        "mask values: 0 is background, 255 is foreground; 2 of the masks are empty."
    )


def test_faults_are_collected_or_the_first_is_raised(with_masks: Callable[..., Path]) -> None:
    root = with_masks(MASKS)
    Image.fromarray(BLOB[:5]).save(root / "masks" / "0.png")
    (root / "masks" / "2.png").write_text("no image")
    with pytest.raises(DataError, match=r"0\.png is 10x12 but its mask 0\.png is 10x5"):
        scan_pairs(settings(images=root))
    faults: list[str] = []
    scanned, indices = scan_pairs(settings(images=root), faults)
    assert [one.pair.id for one in scanned] == ["1"]
    assert len(faults) == 2
    assert indices
    assert scanned[0].mask.values.tolist() == [0, 255]
    assert scanned[0].header.size == scanned[0].mask.size == (10, 12)


def test_the_iteration_can_be_tracked(with_masks: Callable[..., Path]) -> None:
    root, seen = with_masks(MASKS), []
    scan_pairs(settings(images=root), track=lambda items, total: seen.append(total) or items)
    assert seen == [3]
