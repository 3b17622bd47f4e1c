"""Pixels that are not scored: nothing that is predicted there changes a table, and at the sides they are as cut off."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.report import baselines, boundaries, calibration, classes, conventions, other_overlaps
from tests.conftest import squares
from tests.report import synthetic

SIDES = (0, 0), (4, 2), (3, 0)


def tables(sweep):
    """Return every table of a sweep that is computed from masks."""
    found = [classes.table(sweep), baselines.table(sweep), conventions.table(sweep), boundaries.table(sweep)]
    found += [calibration.table(sweep), other_overlaps.table([sweep])]
    return {each.name: each.frame for each in found if each is not None}


def noisy(seed):
    """Return a prediction that is right in most places and errs at others, the same for the same labels."""

    def predict(run, masks):
        number = max(2, int(masks[masks != IGNORE].max()) + 1)
        channels = np.arange(number) if number > 2 else np.array([1])
        noise = np.stack([np.random.default_rng(run.fold).integers(0, 120, (*m.shape, len(channels))) for m in masks])
        hidden = np.random.default_rng(seed).integers(0, 256, noise.shape)
        likely = np.where(masks[..., None] == channels, 250 - noise, noise + 30).clip(0, 255)
        return np.where((masks == IGNORE)[..., None], hidden, likely).astype(np.uint8)

    return predict


@pytest.mark.parametrize("number", [2, 3])
def test_predictions_under_ignored_pixels_change_no_table(tmp_path, number):
    dataset = squares(n=8, classes=number)
    dataset.masks[:, 5:8, 6:20] = IGNORE
    dataset.masks[::2, :, :3] = IGNORE
    one, other = (tables(synthetic.sweep(tmp_path / str(seed), dataset, noisy(seed))) for seed in range(2))
    assert {"baselines", "rescored", "boundaries", "calibration", "overlaps"} <= set(one)
    assert one.keys() == other.keys()
    for name, frame in one.items():
        pd.testing.assert_frame_equal(frame, other[name], obj=name)


@pytest.mark.parametrize("number", [2, 3])
def test_ignored_sides_are_as_cut_off(tmp_path, number):
    dataset = squares(n=8, classes=number)
    larger = dataclasses.replace(
        dataset,
        images=np.pad(dataset.images, (*SIDES, (0, 0)), mode="reflect"),
        masks=np.pad(dataset.masks, SIDES, constant_values=IGNORE),
    )

    def predict(run, masks):
        inside = masks[:, 4:20, 3:27] if masks.shape[1] > 16 else masks
        predicted = noisy(0)(run, inside)
        if masks is inside:
            return predicted
        return np.pad(predicted, (*SIDES, (0, 0)), constant_values=200)

    one = tables(synthetic.sweep(tmp_path / "one", dataset, predict))
    other = tables(synthetic.sweep(tmp_path / "other", larger, predict))
    for name, frame in one.items():
        pd.testing.assert_frame_equal(frame, other[name], obj=name)
