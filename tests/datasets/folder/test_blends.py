"""Colours at smoothed edges: snapped to named colours, or recognised and asked about."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from datasets.errors import DataError
from datasets.folder import masks
from datasets.folder.blends import are_blends, nearest
from datasets.folder.check import check
from datasets.folder.scan import scan
from datasets.folder.settings import settings

SIDE = 96
BLACK, RED, GREEN, WHITE = (0, 0, 0), (200, 0, 0), (0, 180, 60), (255, 255, 255)


def drawn(seed: int, ground: tuple[int, int, int], scale: int = 4, far: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return two discs that overlap, drawn `scale` times as large and shrunk by areas, and their labels."""
    colours, labels = Image.new("RGB", (SIDE * scale,) * 2, ground), Image.new("L", (SIDE * scale,) * 2)
    x, y = np.random.default_rng(seed).uniform(30, 50, 2) * scale
    for label, (colour, move, radius) in enumerate(((RED, 0, 24), (GREEN, 26, 16)), 1):
        box = [x + (move - radius) * scale, y - radius * scale, x + (move + radius) * scale, y + radius * scale]
        ImageDraw.Draw(colours).ellipse(box, fill=colour)
        ImageDraw.Draw(labels).ellipse(box, fill=label)
    if far:
        ImageDraw.Draw(colours).rectangle([0, 0, 8 * scale - 1, 8 * scale - 1], fill=(100, 0, 0))
    shrunk = np.asarray(colours).reshape(SIDE, scale, SIDE, scale, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    return shrunk, np.asarray(labels)[scale // 2 :: scale, scale // 2 :: scale]


@pytest.fixture
def smoothed(tmp_path: Path, save: Callable[..., None]) -> Callable[..., tuple[Path, list[np.ndarray]]]:
    """Return a function that writes three smoothed masks, and returns the folder and their labels."""

    def write(ground: tuple[int, int, int], far: bool = False) -> tuple[Path, list[np.ndarray]]:
        pairs = [drawn(seed, ground, far=far) for seed in range(3)]
        for number, (mask, labels) in enumerate(pairs):
            save(tmp_path / "masks" / f"{number}.png", mask)
            save(tmp_path / "images" / f"{number}.png", labels)
        return tmp_path, [labels for _, labels in pairs]

    return write


@pytest.mark.parametrize("ground", [BLACK, WHITE])
def test_blends_are_refused_with_names_for_the_main_colours(ground: tuple[int, int, int], smoothed: Callable) -> None:
    root, truth = smoothed(ground)
    checked = check(settings(images=root))
    names = f"background=#{bytes(ground).hex()}", "class1=#c80000", "class2=#00b43c"
    assert checked.suits == {"classes": names}
    (fault,) = checked.faults
    assert "colours, as it seems blends of #" in fault
    assert f"--config.data.classes={','.join(names)}" in fault
    found = scan(settings(images=root, classes=names))
    for pair, labels in zip(found.pairs, truth, strict=True):
        read = found.reading.labels(pair.mask)[0]
        assert np.isin(read, (0, 1, 2)).all()
        assert np.mean(read != labels) < 0.01
    (note,) = check(settings(images=root, classes=names)).notes
    assert "% of all pixels are blends of colours" in note


def test_each_blend_takes_the_nearest_colour(smoothed: Callable) -> None:
    root, _ = smoothed(BLACK)
    found = scan(settings(images=root, classes=("background=#000000", "a=#c80000", "b=#00b43c")))
    pixels = np.asarray(Image.open(root / "masks/0.png")).astype(int)
    distances = np.linalg.norm(pixels[..., None, :] - np.array([BLACK, RED, GREEN]), axis=-1)
    read = found.reading.labels(found.pairs[0].mask)[0]
    chosen = np.take_along_axis(distances, read[..., None].astype(int), axis=-1)[..., 0]
    np.testing.assert_allclose(chosen, distances.min(axis=-1))


def test_an_area_of_a_colour_between_two_others_is_no_blend(smoothed: Callable) -> None:
    """A square of dark red is a class of its own, that no name carries."""
    root, _ = smoothed(BLACK, far=True)
    with pytest.raises(DataError, match=r"0\.png: masks hold #640000 \(0\.8 %\), which no name"):
        scan(settings(images=root, classes=("background=#000000", "a=#c80000", "b=#00b43c")))


def test_more_blends_than_edges_have_are_refused(tmp_path: Path, save: Callable[..., None]) -> None:
    ramp = np.zeros((40, 40, 3), np.uint8)
    ramp[:, 20:] = RED
    ramp[:, 18:23, 0] = [40, 80, 120, 160, 180]
    save(tmp_path / "masks/0.png", ramp)
    save(tmp_path / "images/0.png", ramp)
    with pytest.raises(DataError, match=r"0\.png: 12\.5% of all pixels are blends of the named colours, .* 5%"):
        scan(settings(images=tmp_path, classes=("background=#000000", "a=#c80000")))


def test_a_colour_far_from_all_blends_is_refused(tmp_path: Path, save: Callable[..., None]) -> None:
    mask = np.zeros((40, 40, 3), np.uint8)
    mask[:, 20:], mask[3, 3] = RED, (0, 0, 250)
    save(tmp_path / "masks/0.png", mask)
    save(tmp_path / "images/0.png", mask)
    with pytest.raises(DataError, match=r"0\.png: masks hold #0000fa \(0\.062 %\), which no name in data\.classes"):
        scan(settings(images=tmp_path, classes=("background=#000000", "a=#c80000")))


def test_small_areas_of_many_colours_stay_classes(tmp_path: Path, save: Callable[..., None]) -> None:
    colours = np.array([BLACK, RED, GREEN, (0, 0, 250), (250, 250, 0)], np.uint8)
    mask = np.kron(np.arange(5), np.ones((8, 8), int))
    save(tmp_path / "masks/0.png", colours[mask])
    save(tmp_path / "images/0.png", colours[mask])
    assert len(scan(settings(images=tmp_path)).reading.classes) == 5


def test_mixtures_of_up_to_three_colours_are_blends() -> None:
    codes = np.array([0x640000, 0x640014, 0x30B060, 0xFFFFFF, 0x444A14]) + masks.COLOUR
    of = (np.array([0x000000, 0xC80000, 0x00B43C]) + masks.COLOUR).tolist()
    assert are_blends(codes, of).tolist() == [True, True, False, False, True]
    assert nearest(codes[:3], [masks.TRANSPARENT, *of]).tolist() in ([1, 1, 3], [2, 2, 3])
