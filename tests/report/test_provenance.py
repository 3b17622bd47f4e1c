"""The provenance of numbers in words, for chosen settings."""

import dataclasses

import pytest

from sharp_unet_jax.report import provenance, records
from tests.edits import edit_config
from tests.report import sweep_writer
from tests.report.sweep_writer import scores

SCORES = {"unet": scores(0.7, shape=(2, 3, 4))}


def write(path, models=SCORES, config=None, **options):
    """Write a sweep whose config also has the fields `config`, and return it."""
    sweep_writer.write(path, models, **options)
    edit_config(path, **config or {})
    return records.load(path)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "Protocol: paper (stopping, learning rate and weights decided on the reported fold: optimistic)."),
        ({}, "3 random folds x 2 repeats."),
        ({}, "n = 12 images (12 groups)."),
        ({}, "192x256 pixels (stretch)."),
        ({"data": {"size": [96, 128], "fit": "letterbox", "mask_filter": "nearest"}}, "96x128 pixels (letterbox)."),
        (
            {"data": {"size": [96, 128], "fit": "stretch", "mask_filter": "antialiased"}},
            "96x128 pixels (stretch, masks antialiased).",
        ),
        (
            {"data": {"size": [96, 128], "fit": "stretch", "mask_filter": "any"}},
            "96x128 pixels (stretch, masks dilated).",
        ),
        (
            {"data": {"size": [96, 128], "fit": "crop", "mask_filter": "any"}},
            "Trained on crops of 96x128 pixels; whole images are predicted by tiles at the files' own resolution.",
        ),
        (
            {"data": {"size": [96, 128], "fit": "crop", "scale": 0.5, "mask_filter": "any"}},
            "whole images are predicted by tiles at 0.5 times the files' own resolution, masks dilated.",
        ),
        ({"data": {"size": [96, 128], "fit": "crop", "validate": "crops"}}, "Scores of epochs are those of crops."),
        ({"threshold": 0.3}, "Threshold 0.3."),
        ({"empty": "one"}, "An image's class in neither truth nor prediction scores 1."),
        ({"empty": "zero"}, "An image's class in neither truth nor prediction scores 0."),
        ({"empty": "nan"}, "An image's class in neither truth nor prediction is left out."),
        ({}, "Started from scratch."),
        ({"weights": "imagenet"}, "Started from imagenet."),
        ({"weights": "a.npz", "frozen_epochs": 3}, "Started from a.npz, encoder frozen for 3 epochs."),
        ({"encoder_learning_rate_factor": 0.1}, "Started from scratch, learning rate of the encoder times 0.1."),
        (
            {"monitor": "soft_jaccard", "patience": 20},
            "Each run was decided by the soft Jaccard index, and ended 20 epochs after its best one.",
        ),
        ({"augment": {"flip": 0.5, "rotate": 0}}, "augmented by flip 0.5, float32, seed 0."),
        (
            {"optimizer": "sgd", "schedule": "poly", "clip": 12.0, "ema": 0.0, "class_weights": []},
            "Recipe: sgd, learning rate poly, gradients clipped to the norm 12.",
        ),
        (
            {"weight_decay": 3e-5, "warmup": 2, "ema": 0.99, "class_weights": [1.0, 2.0]},
            "Recipe: weight decay 3e-05, 2 epochs of warm-up, weights averaged with the decay 0.99, class weights "
            "[1.0, 2.0].",
        ),
        ({}, "Loss cross_entropy, batch 16, at most 2 epochs, augmented by nothing, float32, seed 0."),
    ],
)
def test_settings_are_stated(tmp_path, config, sentence):
    assert sentence in provenance.describe([write(tmp_path, config=config)])


def test_the_recipe_of_the_paper_is_not_stated(tmp_path):
    assert "Recipe" not in provenance.describe([write(tmp_path)])


def test_the_protocol_is_stated(tmp_path):
    sentence = "nested (decided on about 20% of the training folds; the test fold was held out)."
    assert sentence in provenance.describe([write(tmp_path, protocol="nested")])


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (2, "over the foreground"),
        (3, "over the 3 classes, background included"),
        (3, "Each pixel gets its most probable class"),
    ],
)
def test_classes_are_stated(tmp_path, classes, sentence):
    text = provenance.describe([write(tmp_path, classes=classes)])
    assert sentence in text
    assert ("Threshold" in text) == (classes == 2)


def test_folds_that_test_the_same_images_are_counted(tmp_path):
    sweep = sweep_writer.write(tmp_path / "w", {"unet": scores(0.7)})
    assert "count runs on the same images as one" not in provenance.describe([sweep])
    assert provenance.more_repeats(sweep) == "two more repeats, each with new folds, for narrower intervals"
    cells = sweep.folds["folds"]
    cells[5]["test"] = cells[2]["test"][::-1]
    assert "Of 10 test folds 9 are different; intervals and tests count runs on" in provenance.describe([sweep])
    for cell in cells:
        cell["test"] = cells[0]["test"]
    assert provenance.FIXED in provenance.describe([sweep])
    assert provenance.more_repeats(sweep).startswith("with two more seeds on the same split")


def test_more_repeats_of_as_many_groups_as_folds_are_seeds(tmp_path):
    sweep = sweep_writer.write(tmp_path / "w", {"unet": scores(0.7)}, grouped=True, group_size=4)
    assert provenance.more_repeats(sweep).startswith("two more repeats of the same folds, to see")


def test_what_sweeps_share_is_said_once(tmp_path):
    first = write(tmp_path / "a", dataset="one")
    second = write(tmp_path / "b", dataset="two", config={"threshold": 0.3})
    shared, *own = provenance.describe([first, second]).splitlines()
    assert own == ["one: Threshold 0.5.", "two: Threshold 0.3."]
    assert shared.count("Protocol") == 1
    assert "Threshold" not in shared


def test_labels_are_as_short_as_they_can_be(tmp_path):
    one, two = write(tmp_path / "a", dataset="one"), write(tmp_path / "b", dataset="two")
    nested = write(tmp_path / "c", dataset="one", protocol="nested", grouped=True)
    assert provenance.labels([one, two]) == ["one", "two"]
    assert provenance.labels([one, two, nested]) == ["one, paper, random", "two", "one, nested, grouped"]
    again = dataclasses.replace(one, workdir=tmp_path / "again")
    assert provenance.labels([one, again]) == [
        f"one, paper, random, {tmp_path / 'a'}",
        f"one, paper, random, {tmp_path / 'again'}",
    ]


def test_an_unfinished_sweep_is_named_where_there_are_several(tmp_path):
    gone = {"missing": ("unet/repeat0-fold1",), "failed": ("unet/repeat1-fold2",)}
    part, whole = write(tmp_path / "a", dataset="one", **gone), write(tmp_path / "b", dataset="two")
    assert provenance.unfinished([whole]) == ""
    alone, among = provenance.unfinished([part]), provenance.unfinished([part, whole])
    assert alone == "**4 of 6 runs are finished, 1 failed: the numbers are not those of the whole sweep.**"
    assert among == alone.replace("**4", "**one: 4")


def test_the_kernel_is_stated_where_all_sharp_blocks_have_the_same(tmp_path):
    for name, models, stated in (
        ("a", ("unet", "sharp_unet", "sharp_unet_resnet50"), "Sharp blocks: laplacian, zero padding."),
        ("b", ("sharp_unet+laplacian_of_gaussian+reflect",), "Sharp blocks: laplacian of gaussian, reflect padding."),
        ("c", ("sharp_unet+laplacian", "sharp_unet+scaled"), None),
        ("d", ("unet",), None),
    ):
        sweep = sweep_writer.write(tmp_path / name, dict.fromkeys(models, scores(0.7, shape=(1, 2, 3))))
        text = provenance.describe([sweep])
        assert (stated in text) if stated else "Sharp blocks" not in text
