"""Settings for data sets with a known answer."""

import dataclasses

import numpy as np
import pytest

from sharp_unet_jax.advice import profile, settings
from sharp_unet_jax.advice.memory import Need
from sharp_unet_jax.config import Config, Data


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([(512, 512)] * 9, (256, 256)),
        ([(288, 384)] * 9, (192, 256)),
        ([(2000, 3000), (1000, 1500)], (192, 288)),
        ([(200, 300), (300, 200)], (256, 256)),  # portraits and landscapes
        ([(96, 96)] * 3, (96, 96)),  # no image is enlarged
        ([(28, 28)], (32, 32)),
        ([(5, 7)], (32, 32)),
        ([(100, 800)], (96, 768)),
    ],
)
def test_size(images, expected):
    size = settings.size(np.array(images), 256 * 256, 32)
    assert size == expected


@pytest.mark.parametrize("most", [64 * 64, 256 * 256, 512 * 512])
def test_any_size_is_a_multiple_near_the_aspect_and_within_the_budget(most):
    rng = np.random.default_rng(0)
    for height, width in rng.integers(100, 3000, (50, 2)):
        size = settings.size(np.array([(height, width)]), most, 16)
        assert not size[0] % 16
        assert not size[1] % 16
        assert size[0] * size[1] <= 1.3 * most
        if 1 / 3 < height / width < 3:
            assert abs(np.log(size[0] / size[1] * width / height)) < 0.26


def test_fit():
    assert settings.fit(np.array([(288, 384), (290, 384)]), (192, 256))[0] == "stretch"
    kind, why = settings.fit(np.array([(256, 256), (256, 512)]), (256, 256))
    assert kind == "letterbox"
    assert "100%" in why
    assert "25% on average" in why


def profile_of(n, size=(300, 300), groups=None):
    """Return the profile of `n` equal images."""
    image = np.random.default_rng(0).integers(0, 255, (*size, 1), np.uint8)
    one = profile.profile_image(image, image[..., 0] // 128, 2)
    ids = [str(index) for index in range(n)]
    return profile.Profile(ids, groups or ids, ("background", "a"), [one] * n)


@pytest.fixture
def needs(monkeypatch):
    monkeypatch.setattr(
        settings.memory, "need", lambda config, *_, **__: Need(2**30, 1000 * int(np.prod(config.data.size)), 32)
    )


CONFIG = Config(data=Data(builder="folder", size=(256, 256)), protocol="nested", repeats=1, batch_size=8)


def advised(config=CONFIG, n=100, room=2**34, fast=False, kept=(), **options):
    profile = profile_of(n, **options)
    found = settings.settings(config, profile, profile.sizes, channels=1, room=room, fast=fast, kept=kept)
    return {each.field: each for each in found}


@pytest.mark.usefixtures("needs")
def test_batch_and_size_fit_into_memory():
    plenty, little, least = (advised(room=room) for room in (2**34, int(1.5 * 2**30), int(1.25 * 2**30) + 2**21))
    assert (plenty["data.size"].value, plenty["batch_size"].value) == ("256,256", "8")
    # 0.8 x 1.5 GiB less 1 GiB of state are 215 MB; an image takes 65.5
    assert (little["data.size"].value, little["batch_size"].value) == ("256,256", "2")
    assert "room for 3" in little["batch_size"].why
    assert least["data.size"].value == "32,32"
    assert advised(room=2**34, fast=True)["data.size"].value == "288,288"
    kept = advised(room=int(1.5 * 2**30), kept=("data.size", "batch_size", "data.fit"))
    assert kept["batch_size"].value == "8"
    assert "TOO MUCH" in kept["batch_size"].why
    assert set(kept) == {"batch_size"}


@pytest.mark.usefixtures("needs")
def test_few_images_make_small_batches_and_fewer_folds():
    assert advised(n=20)["batch_size"].value == "2"  # 12.8 images train on average
    assert "folds" not in advised(n=20)
    assert advised(n=4)["folds"].value == "4"
    number, why = settings.fold_count(CONFIG, profile_of(2))
    assert number == 0
    assert "2 images" in why
    grouped = dataclasses.replace(CONFIG, grouped=True)
    assert settings.fold_count(grouped, profile_of(20, groups=[str(i % 4) for i in range(20)]))[0] == 4


@pytest.mark.parametrize(
    ("images", "most", "expected"),
    [
        ([(2000, 3000), (1000, 1500), (1024, 1360)], 256 * 256, (256, 256)),
        ([(2000, 3000)], 512 * 512, (512, 512)),
        ([(200, 3000)], 256 * 256, (192, 256)),  # no side is longer than the median image's
        ([(100, 100), (130, 100), (300, 300)], 256 * 256, (128, 96)),
        ([(20, 20)], 256 * 256, (32, 32)),
        ([(2000, 3000)], 100 * 100, (96, 96)),  # by memory
    ],
)
def test_size_of_crops(images, most, expected):
    assert settings.crop_size(np.array(images), most, 32) == expected


@pytest.mark.parametrize(
    ("side", "best", "advised"), [(600, 0.8, True), (500, 0.8, False), (600, 0.95, False), (600, None, False)]
)
def test_crops_are_advised_where_whole_images_lose_objects(side, best, advised):
    """Twice the size of training at least, and masks that lose a tenth by resizing."""
    ceilings = np.array([best - 0.02, best, 0.99] if best else [])
    why = settings.crops(np.array([(side, side)] * 4), (256, 256), ceilings)
    assert bool(why) == advised
    if advised:
        assert "2.3 times as high and wide as 256x256" in why
        assert "at most 0.80 with the originals" in why


CROPS = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, fit="crop"))


@pytest.mark.usefixtures("needs")
def test_crops_stay_crops_and_fit_into_memory():
    plenty, little = (advised(CROPS, room=room, size=(600, 700)) for room in (2**34, int(1.25 * 2**30) + 2**21))
    assert "data.fit" not in plenty
    assert (plenty["data.size"].value, plenty["batch_size"].value) == ("256,256", "8")
    assert little["data.size"].value == "32,32"
    assert advised(CROPS, fast=True, size=(600, 700))["data.size"].value == "512,512"
    # 64 images of 420,000 pixels train on average: 410 crops of 256x256, 52 steps of 8
    assert "; 52 steps per epoch" in plenty["batch_size"].why


@pytest.mark.usefixtures("needs")
def test_few_crops_make_small_batches():
    few = dataclasses.replace(CROPS, data=dataclasses.replace(CROPS.data, crops=10))
    assert advised(few)["batch_size"].value == "2"  # four steps at least


@pytest.mark.usefixtures("needs")
def test_images_of_any_size_and_their_canvas_are_counted():
    """100 images of 600x700 with one channel and a mask are 84 MB; one on a canvas takes 14 bytes per pixel."""
    why = advised(CROPS, room=2**34, size=(600, 700))["batch_size"].why
    height, width = 8 * 256, 768  # eight tiles below each other are higher than an image
    held = 100 * 600 * 700 * 2 + 14 * height * width
    expected = (2**30 + held + 8 * 1000 * 256 * 256) / 2**30
    assert why.startswith(f"takes about {expected:.2g} of 16 GiB")
    streamed = dataclasses.replace(CROPS, data=dataclasses.replace(CROPS.data, resident_gb=0.0))
    less = advised(streamed, room=2**34, size=(600, 700))["batch_size"].why
    assert less.startswith(f"takes about {expected - 100 * 600 * 700 * 2 / 2**30:.2g} of 16 GiB")
