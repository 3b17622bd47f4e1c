"""Settings that suit: names of classes, groups of related images, and fields that the user gave."""

import jax
import numpy as np
import pandas as pd
import pytest

from datasets.folder import groups
from launch.preview import suggestions
from launch.preview.source import Source
from sharp_unet_jax.advice.profile import Profile, profile_image
from sharp_unet_jax.config import Config, Data
from tests.advice.test_profile import pictures
from tests.launch.preview.pairs import squares

pytestmark = pytest.mark.usefixtures("tiny_models")

CONFIG = Config(data=Data(builder="folder"), models=("unet",))


def suggest(tmp_path, images, *, config=CONFIG, given=(), groups=None, faults=(), proposed=None, ids=None):
    each = [profile_image(image, mask, 2) for image, mask in zip(images, squares(len(images), value=1), strict=True)]
    ids, classes = ids or [f"{chr(97 + index)}" for index in range(len(images))], ("background", "cell")
    profile = Profile(ids, groups or ids, classes, each)
    pairs = list(zip(images, squares(len(images), value=1), strict=True))
    options = {"faults": list(faults), "notes": [], "proposed": proposed or {}}
    source = Source("mine", ids, profile.groups, classes, 3, pairs.__getitem__, {}, "", **options)
    advice = suggestions.suggest(config, given, source, profile, tmp_path, jax.devices()[0])
    return {each.field: each.value for each in advice}


def with_a_copy():
    images = pictures(12)
    images[3] = images[1]
    return images


def test_copies_are_put_into_one_group(tmp_path):
    advice = suggest(tmp_path, with_a_copy())
    assert (advice["data.groups"], advice["grouped"]) == (str(tmp_path / "groups.csv"), "true")
    table = pd.read_csv(tmp_path / "groups.csv").set_index("id")["group"]
    assert table["d"] == table["b"] == "b"
    assert table.nunique() == 11


def test_ids_that_look_like_formulas_are_text_for_spreadsheets_and_come_back(tmp_path):
    ids = [f"=cmd|' /C calc'!A{number}" for number in range(10)] + ["+1+1", "'@a"]
    suggest(tmp_path, with_a_copy(), ids=ids)
    assert not any(line.startswith(("=", "+", "@")) for line in (tmp_path / "groups.csv").read_text().splitlines())
    assert groups.groups(tmp_path / "groups.csv", ids) == {one: one for one in ids} | {ids[3]: ids[1]}


def test_a_table_that_the_user_changed_is_kept(tmp_path):
    (tmp_path / "groups.csv").write_text("id,group\na,x\n")
    assert suggest(tmp_path, with_a_copy())["data.groups"] == str(tmp_path / "groups.csv")
    assert (tmp_path / "groups.csv").read_text() == "id,group\na,x\n"


@pytest.mark.parametrize(
    "reason", ["no relatives", "an image that cannot be read", "another builder", "too few groups"]
)
def test_no_table_is_written(tmp_path, reason):
    changes = {
        "no relatives": {"images": pictures(12)},
        "an image that cannot be read": {"faults": ["x.png: cannot be read"]},
        "another builder": {"config": Config(data=Data(builder="phantom"), models=("unet",))},
        "too few groups": {"images": [pictures(1)[0]] * 12},
    }[reason]
    advice = suggest(tmp_path, **{"images": with_a_copy(), **changes})
    assert "data.groups" not in advice
    assert "grouped" not in advice
    assert list(tmp_path.iterdir()) == []


def test_known_groups_are_kept_whole(tmp_path):
    groups = [f"p{index // 2}" for index in range(12)]
    advice = suggest(tmp_path, with_a_copy(), groups=groups)
    assert advice["grouped"] == "true"
    assert "data.groups" not in advice
    grouped = suggestions.applied(CONFIG, [suggestions.Advice("grouped", "true", "")])
    assert "grouped" not in suggest(tmp_path, pictures(12), config=grouped, groups=groups)


def test_proposed_classes_and_fields_that_were_given(tmp_path):
    proposed = {"classes": ("background", "value3"), "ignore": "255"}
    advice = suggest(tmp_path, pictures(12), given=("data.size", "batch_size"), proposed=proposed)
    assert (advice["data.classes"], advice["data.ignore"]) == ("background,value3", "255")
    assert "data.size" not in advice
    assert advice["batch_size"] == str(CONFIG.batch_size)
    assert "data.size" in suggest(tmp_path, pictures(12))


def test_sizes_of_a_built_in_data_set_are_its_papers(tmp_path):
    config = Config(data=Data(builder="phantom"), models=("unet",))
    assert not {"data.size", "data.fit"} & set(suggest(tmp_path, pictures(12), config=config))


def dots(n, side):
    """Masks of dots of 3x3 pixels, and images that show them."""
    masks = np.zeros((n, side, side), np.uint8)
    for mask, rng in zip(masks, np.random.default_rng(0).spawn(n), strict=True):
        for row, column in rng.integers(0, side // 4, (side // 4, 2)) * 4:
            mask[row : row + 3, column : column + 3] = 1
    return np.repeat(masks[..., None] * 200, 3, axis=-1), masks


@pytest.mark.parametrize(
    ("given", "side", "fit"),
    [
        ({}, 640, "crop"),
        ({}, 320, "stretch"),  # not twice the size of training
        ({"data.fit": "letterbox"}, 640, None),
        ({"data.size": "256,256"}, 640, "crop"),
    ],
)
def test_crops_suit_small_objects_in_large_images(tmp_path, monkeypatch, given, side, fit):
    images, masks = dots(6, side)
    monkeypatch.setattr("tests.launch.preview.test_suggestions.squares", lambda n, value: masks)
    config = suggestions.applied(CONFIG, [suggestions.Advice("data.size", "256,256", "")])
    advice = suggest(tmp_path, list(images), config=config, given=given)
    assert advice.get("data.fit") == fit
    if fit == "crop":
        assert ("data.size" in advice) == ("data.size" not in given)
