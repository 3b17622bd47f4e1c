"""A warning where pretrained weights have seen the images that they will be tested on."""

import dataclasses

import pytest

from launch.console import seen_before
from tests.conftest import squares

RUN = "runs/unet/repeat0-fold0"


@pytest.mark.parametrize("name", [RUN, f"{RUN}/checkpoint"])
def test_a_run_on_the_same_images_is_told(finished, name):
    text = seen_before.warning(str(finished / name), squares())
    assert "has seen 6 of these 12 images. Folds that test them score too high" in text
    renamed = dataclasses.replace(squares(), name="others")
    assert seen_before.warning(str(finished / name), renamed) == text
    other = squares(seed=1)
    assert "6 of these 12 images, if those of the same names are the same." in seen_before.warning(
        str(finished / name), other
    )


def test_a_run_on_other_images_or_none_is_not(finished, tmp_path):
    other = dataclasses.replace(squares(), ids=tuple(f"other {index}" for index in range(12)))
    assert seen_before.warning(str(finished / RUN), other) == ""
    assert seen_before.warning(str(finished / RUN), dataclasses.replace(squares(seed=1), name="others")) == ""
    for weights in ("", "imagenet", str(tmp_path / "vgg16.pth"), str(tmp_path / RUN)):
        assert seen_before.warning(weights, squares()) == ""
