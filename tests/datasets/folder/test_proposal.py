"""Settings that are proposed where names do not pair; each of them pairs all files."""

import re
import shlex
from pathlib import Path

import pytest

from datasets.errors import DataError
from datasets.folder import check, pairs
from datasets.folder.proposal import UnpairedError
from datasets.folder.settings import settings
from launch.console import config as configs
from sharp_unet_jax.config import Config, Data
from tests.datasets.folder.test_matching import touch

NUMBERS = range(8, 13)
LAYOUTS = {
    "data.image_prefix=image data.mask_prefix=mask": ("images/image_{}.png", "masks/mask_{}.png"),
    "data.mask_suffix=_cp_masks": ("images/p{}.png", "masks/p{}_cp_masks.png"),
    "data.image_suffix=sat data.mask_suffix=mask": ("images/{}_sat.png", "masks/{}_mask.png"),
    "data.mask_suffix=_lesion": ("IMD{}/IMD{}_image/IMD{}.bmp", "IMD{}/IMD{}_lesion/IMD{}_lesion.bmp"),
    "data.image_suffix=img data.mask_suffix=masks": ("{}_img.png", "{}_masks.png"),
    "data.mask_prefix=gt_": ("images/scan {}.png", "masks/GT_scan {}.png"),
    "data.image_suffix=_raw": ("images/{}_raw.png", "masks/{}.png"),
    "data.class_files=core,wall": ("images/{}.png", "masks/core/{}.png", "masks/wall/{}.png"),
    "data.class_files=_core,_wall": ("images/{}.png", "masks/{}_core.png", "masks/{}_wall.png"),
    "data.channel_files=_b,_g,_r": ("images/{}_r.png", "images/{}_g.png", "images/{}_b.png", "masks/{}.png"),
}


@pytest.mark.parametrize("expected", LAYOUTS)
def test_what_is_proposed_pairs_all(expected: str, tmp_path: Path) -> None:
    touch(tmp_path, *(name.replace("{}", str(number)) for name in LAYOUTS[expected] for number in NUMBERS))
    fields = [f"--config.{field}" for field in expected.split()]
    with pytest.raises(DataError, match=f"; or give {re.escape(' '.join(fields))}, which pairs all 5$") as error:
        pairs.pairs(settings(images=tmp_path))
    assert "\n" not in str(error.value)
    data = configs.overridden(Config(data=Data(builder="folder", images=str(tmp_path))), fields).data
    given = {name.removeprefix("data.").partition("=")[0] for name in expected.split()}
    found = pairs.pairs(settings(images=tmp_path, **{name: getattr(data, name) for name in given}))
    assert len(found) == 5


@pytest.mark.parametrize(
    ("names", "proposed"),
    [
        (
            ("images/1.png", "images/2.png", "images/3.png", "masks/1_lesion.png", "masks/2_lesion.png"),
            "--config.data.mask_suffix=_lesion, which pairs 2 of 3 images",
        ),
        (
            ("1/1.png", "1/1_lesion.png", "1/1_roi.png", "2/2.png", "2/2_lesion.png"),
            "--config.data.mask_suffix=_lesion, which pairs 2 of 3 images",
        ),
    ],
)
def test_a_few_files_that_stay_alone_hide_no_pattern(names: tuple[str, ...], proposed: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"; or give {proposed}$"):
        pairs.pairs(settings(images=touch(tmp_path, *names)))


@pytest.mark.parametrize("masks", [None, ""])  # "": the folder of images
def test_files_of_other_folders_are_left_out_by_patterns(tmp_path: Path, masks: str | None) -> None:
    """PH2: the regions of interest that lie beside a lesion's mask are neither image nor mask."""
    for name in ("IMD002", "IMD003", "IMD010"):
        folder = f"images/{name}/{name}"
        touch(tmp_path, f"{folder}_Dermoscopic_Image/{name}.bmp", f"{folder}_lesion/{name}_lesion.bmp")
    touch(tmp_path, "images/IMD003/IMD003_roi/IMD003_R1_Label3.bmp", "images/IMD003/IMD003_roi/IMD003_R2_Label2.bmp")
    with pytest.raises(UnpairedError, match=r"which pairs all 3$") as error:
        pairs.pairs(settings(images=tmp_path, masks=None if masks is None else tmp_path / masks))
    found = error.value.settings
    assert found["images"] == tmp_path / "images/*/*_Dermoscopic_Image/*.bmp"
    assert found["masks"] == tmp_path / "images/*/*_lesion/*_lesion.bmp"
    assert shlex.quote(f"--config.data.images={found['images']}") in str(error.value)
    assert len(pairs.pairs(settings(**found))) == 3
    assert check.check(settings(images=tmp_path)).suits == found


@pytest.mark.parametrize(
    "names",
    [
        ("images/a.png", "images/b.png", "masks/c.png", "masks/d.png"),
        ("images/1.png", "images/2.png", "images/3.png", "masks/1.png", "masks/2_x.png", "masks/3_x.png"),
        ("a.png", "b.png", "a_lesion.png"),
        ("1/1_t.png", "2/1_manual.png", "3/1_t_mask.png", "1/2_t.png", "2/2_manual.png", "3/2_t_mask.png"),
        ("images/a.png", "masks/b.png"),
    ],
)
def test_nothing_is_proposed_that_helps_little(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        pairs.pairs(settings(images=touch(tmp_path, *names)))
    assert "--config" not in str(error.value)
