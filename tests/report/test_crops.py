"""Reports of sweeps whose images have their own sizes, and of those that are scored at another resolution."""

import dataclasses
import io
import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sharp_unet_jax import ragged
from sharp_unet_jax.config import Data
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import (
    baselines,
    boundaries,
    calibration,
    conventions,
    examples,
    figures,
    optimism,
    overlays,
    provenance,
    records,
    summary,
    thumbnails,
    write,
)
from tests.conftest import squares
from tests.edits import edit_record, follow
from tests.report import browser, synthetic, whole
from tests.report.synthetic import noisy, of_sizes, with_native

SIZES = [(16, 24), (30, 20), (40, 17), (18, 60), (33, 33), (16, 16)]
CROPS = Data(builder="squares", size=(16, 16), fit="crop")
NATIVE = Data(builder="squares", size=(16, 24), score="native")


def nothing(run, masks):
    return [np.zeros((*mask.shape, 1), np.uint8) for mask in masks]


def score_epochs(sweep, jaccard):
    """Give all epochs of a sweep this score on the test images; return the sweep."""
    for path in sweep.workdir.glob("runs/*/*/metrics.jsonl"):
        rows = [json.loads(line) | {"test_jaccard": jaccard} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    follow(sweep.workdir)
    return records.load(sweep.workdir)


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    return whole.sweep(tmp_path_factory.mktemp("sweep"), of_sizes(SIZES), noisy, data=CROPS, repeats=1)


def made(sweep):
    """Return the cells of all tables of single images, and the note of each."""
    tables = [baselines.table(sweep), conventions.table(sweep), boundaries.table(sweep), calibration.table(sweep)]
    return {table.name: (table.frame.to_numpy().tolist(), table.note) for table in tables}


@pytest.mark.parametrize("classes", [2, 3])
def test_images_of_one_size_have_the_same_tables_as_resized_ones(tmp_path, classes):
    dataset = squares(n=8, classes=classes)
    ours = dataclasses.replace(dataset, images=ragged.of(dataset.images), masks=ragged.of(dataset.masks))
    resized = synthetic.sweep(tmp_path / "a", dataset, lambda run, masks: np.stack(noisy(run, masks)))
    cut = synthetic.sweep(tmp_path / "b", ours, noisy, data=CROPS)
    expected, found = made(resized), made(cut)
    assert {name: cells for name, (cells, _) in found.items()} == {name: cells for name, (cells, _) in expected.items()}
    assert any(baselines.MEAN_MASK in row for row in found["baselines"][0])
    assert "in pixels at 16x24" in expected["boundaries"][1]
    assert "in pixels at the files' own resolution" in found["boundaries"][1]


def test_without_a_prediction_an_image_has_its_own_diagonal(tmp_path):
    dataset = of_sizes(SIZES)
    sweep = synthetic.sweep(tmp_path, dataset, nothing, data=CROPS)
    table = boundaries.table(sweep)
    diagonal = {image: np.hypot(h - 1, w - 1) for image, (h, w) in zip(dataset.ids, SIZES, strict=True)}
    folds = [np.mean([diagonal[image] for image in sweep.test_ids(run)]) for run in sweep.finished]
    (cell,) = table.frame["HD95, misses at the diagonal (px)"]
    assert cell == f"{np.mean(folds):.2f} ± {np.std(folds, ddof=1):.2f}"
    assert "diagonal, from 21 to 61 px" in table.note


def test_pixels_of_a_known_size_are_said(tmp_path):
    sweep = synthetic.sweep(tmp_path, of_sizes(SIZES), noisy, data=dataclasses.replace(CROPS, spacing=0.5))
    assert "Both are in pixels of 0.5 mm. Lower" in boundaries.table(sweep).note
    assert "whole images are predicted by tiles at 0.5 mm per pixel." in provenance.describe([sweep])


def test_every_pixel_of_every_image_is_calibrated(crops):
    run = next(iter(crops.finished))
    levels = calibration.histogram(crops.scored(run)).sum(axis=0)
    _, masks, row = crops.prepared
    truth = np.concatenate([masks[row[image]].ravel() for image in crops.test_ids(run)])
    probabilities = np.concatenate([each.ravel() for each in crops.predictions(run)])
    for right in (0, 1):
        np.testing.assert_array_equal(levels[right], np.bincount(probabilities[(truth == 1) == right], minlength=256))


def test_the_mean_mask_needs_images_of_one_size(crops):
    table = baselines.table(crops)
    assert baselines.MEAN_MASK not in set(table.frame["prediction"])
    assert table.note.endswith(baselines.NO_MEAN_MASK)


def test_pictures_keep_their_aspect(crops):
    predicted = overlays.predictions(crops)
    found = thumbnails.pictures(crops, predicted, list(crops.groups))
    _, masks, row = crops.prepared
    for image, picture in found.items():
        labels = np.asarray(Image.open(io.BytesIO(picture.labels)))
        expected = [masks[row[image]], *(predicted[model][image].labels for model in picture.models)]
        np.testing.assert_array_equal(labels, np.concatenate(expected))
        assert Image.open(io.BytesIO(picture.image)).size == masks[row[image]].shape[::-1]


def test_an_image_that_is_one_pixel_high_has_no_outline_and_stops_nothing():
    axes = Figure().subplots(1, 3)
    for each, shape in zip(axes, [(1, 25), (25, 1), (5, 5)], strict=True):
        labels = np.zeros(shape, np.uint8)
        labels[shape[0] // 2, shape[1] // 2] = 1
        examples.outline(each, labels, width=0.7)
    assert [len(each.collections) for each in axes] == [0, 0, 2]


def test_rows_of_examples_are_as_high_as_their_images(crops):
    (drawn,) = examples.draw(crops, overlays.predictions(crops))
    drawn.figure.draw_without_rendering()
    pictures = [axes for axes in drawn.figure.axes if axes.images]
    assert len({axes.images[0].get_array().shape for axes in pictures}) > 2
    for axes in pictures:
        height, width = axes.images[0].get_array().shape[:2]
        box = axes.get_window_extent()
        assert box.height / box.width == pytest.approx(height / width, rel=0.01)
        if height <= examples.TALLEST * width:
            assert box.width > 0.9 * max(other.get_window_extent().width for other in pictures)


@pytest.mark.usefixtures("undrawn")
def test_a_page_of_crops_says_what_is_true(crops, tmp_path):
    page = (write.write([crops.workdir], tmp_path) / "report.html").read_text()
    place = "at the files&#39; own resolution"
    assert f"Trained on crops of 16x16 pixels; whole images are predicted by tiles {place}." in page
    assert f"Jaccard on the test images, {place}:" in page
    assert "pixels at 16x16" not in page


@pytest.mark.slow
def test_a_browser_shows_images_of_every_aspect_undistorted(crops, tmp_path):
    if not browser.CHROMIUM:
        pytest.skip("there is no chromium here: apt-get install chromium")
    boxes = "[...document.querySelectorAll('{}')].map(one => [one.clientHeight, one.clientWidth])"
    page = write.write([crops.workdir], tmp_path) / "report.html"
    with browser.tab() as tab:
        tab.resize(1200, 500)
        tab.open(page)
        own = tab.run("[...document.querySelectorAll('.pairs img')].map(one => [one.naturalHeight, one.naturalWidth])")
        assert len(set(map(tuple, own))) > 2
        for (height, width), shown in zip(own, tab.run(boxes.format(".pairs img")), strict=True):
            assert shown[0] / shown[1] == pytest.approx(height / width, rel=0.02)
        tab.run("document.querySelector('.open[data-image=\"002\"]').click()")  # 40x17
        tab.run("new Promise(resolve => setTimeout(resolve, 300))")
        panels = tab.run(boxes.format(".panels canvas"))
        assert [height for height, _ in panels] == [375] * 3  # three quarters of the window


def test_predictions_of_other_sizes_than_the_images_are_refused(tmp_path):
    def turned(run, masks):
        return [np.zeros((*mask.shape[::-1], 1), np.uint8) for mask in masks]

    dataset = of_sizes(SIZES)
    synthetic.sweep(tmp_path, dataset, noisy, data=CROPS)
    path = tmp_path / "runs/unet/repeat0-fold0/predictions.npz"
    with np.load(path) as file:
        np.savez_compressed(path, probabilities=file["probabilities"], sizes=file["sizes"][:, ::-1])
    follow(tmp_path)
    sweep = records.load(tmp_path)
    image = next(image for image in sweep.test_ids("unet/repeat0-fold0") if image not in ("004", "005"))
    height, width = SIZES[int(image)]
    with pytest.raises(InputError, match=rf"predictions.npz is damaged \(it has {image} at {width}x{height}, not "):
        overlays.predictions(sweep)


@pytest.fixture
def native(tmp_path):
    """A sweep that is scored at the resolution of its files: 0.9 there, and 0.1 by epochs."""
    sweep = score_epochs(whole.sweep(tmp_path, with_native(), data=NATIVE, repeats=1), 0.1)
    for run in sweep.planned:
        scores = {"jaccard": 0.9, "best_on_test": {"epoch": 2, "jaccard": 0.3, "dice": 0.3}}
        edit_record(sweep.folder(run) / "record.json", **scores)
    return records.load(tmp_path)


@pytest.mark.slow
def test_native_scores_do_not_meet_those_of_training(native):
    gaps = optimism.gaps(native, "unet")
    assert gaps["gap"].to_numpy() == pytest.approx([20, 20])
    table = optimism.tables([native])[0]
    assert table.frame["reported epoch"].tolist() == ["10.00 ± 0.00"] * 2
    assert "here the reported epoch too is scored at 16x24" in table.note
    rescored = conventions.table(native)
    assert not rescored.frame["convention"].str.contains("threshold|without a decision").any()
    assert rescored.note.endswith(conventions.AT_ANOTHER_SIZE)
    assert baselines.table(native).note.endswith(baselines.NO_MEAN_MASK)
    said = provenance.describe([native])
    assert "Reported scores and large pictures are at the files' own resolution; scores of epochs, small" in said
    assert "calibration are at 16x24." in said
    assert "at the files' own resolution: `unet` 90.00" in summary.paragraph({"mine": native})
    (drawn,) = examples.draw(native, overlays.predictions(native))
    assert "Jaccard index at the files' own resolution, the picture is at 16x24." in drawn.caption
    assert "mine: epochs are scored at 16x24." in figures.curves({"mine": native}).caption
    page = (write.write([native.workdir], native.workdir / "report") / "report.html").read_text()
    assert "Epochs are scored at 16x24, unlike the reported scores." in page
    assert "first repeat at 16x24, and scores are those at the files' own resolution." in page


def test_epochs_that_are_scored_on_crops_do_not_meet_whole_images(tmp_path):
    data = dataclasses.replace(CROPS, validate="crops")
    fields = {"data": data, "repeats": 1, "models": ("unet",)}
    sweep = score_epochs(whole.sweep(tmp_path, of_sizes(SIZES), noisy, **fields), 0.1)
    table = optimism.tables([sweep])[0]
    assert table.frame["reported epoch"].tolist() == ["10.00 ± 0.00"]
    assert "here the reported epoch too is scored on crops" in table.note
    assert "Scores of epochs are those of crops." in table.provenance
    assert any("mean over 256" in name for name in conventions.table(sweep).frame["convention"])


def test_sweeps_that_are_scored_at_other_resolutions_are_told_apart(tmp_path, crops):
    dataset = of_sizes(SIZES)
    small = squares(n=len(SIZES))
    alike = dataclasses.replace(small, ids=dataset.ids, groups=dataset.groups)
    resized = whole.sweep(tmp_path / "a", alike, repeats=1)
    scored = dataclasses.replace(alike, native=dataset.masks)
    natively = score_epochs(whole.sweep(tmp_path / "b", scored, data=NATIVE, repeats=1), 0.1)
    assert provenance.labels([resized, natively, crops]) == [
        "squares, paper, random",
        "squares, paper, random, native scores",
        "squares, paper, random, crops",
    ]
    _, protocols = optimism.tables([resized, natively, crops])
    assert protocols.note.count("their scores are not alike") == 2
    one, other = "squares, paper, random", "squares, paper, random, crops"
    assert f"**{one} is scored at 16x24, {other} at the files' own resolution: their" in protocols.note
    _, protocols = optimism.tables([natively, crops])
    assert "not alike" not in protocols.note
