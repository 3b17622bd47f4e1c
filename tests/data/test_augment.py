"""Augmentation: masks move with their images, labels stay labels, and changes depend only on the image."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from scipy import ndimage

from sharp_unet_jax.config import Augment, Config
from sharp_unet_jax.data import augment, folds
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.sweeps import check
from sharp_unet_jax.training import epochs, train

MANY = Augment(flip=0.5, rotate=20, elastic=2, brightness=0.1, noise=0.05)
DRAW = np.array([7, 1], np.uint32)
change = functools.cache(lambda settings: jax.jit(functools.partial(augment.batch, settings)))


def pairs(n: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, height, width, 3), np.uint8), rng.integers(0, 4, (n, height, width), np.uint8)


def changed(settings: Augment, images: np.ndarray, masks: np.ndarray, draw=DRAW) -> tuple[np.ndarray, np.ndarray]:
    index = np.arange(len(images), dtype=np.int32)
    return tuple(map(np.asarray, change(settings)(images, masks, index, draw)))


def where_from(settings: Augment, n: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Augment images whose colours encode rows and columns.

    Returns:
        The row and column that each pixel came from, (n, H, W, 2), NaN for pixels from beyond the image; the masks
        before, and after.
    """
    at = np.stack(np.mgrid[:size, :size], axis=-1)
    images = np.zeros((n, size, size, 3), np.uint8)
    images[..., :2], images[..., 2] = 3 * at + 10, 255
    masks = np.tile((at[..., 0] // 5 + at[..., 1] // 7).astype(np.uint8) % 3, (n, 1, 1))
    out, labels = changed(settings, images, masks)
    np.testing.assert_array_equal(out[..., 2], np.where(labels == IGNORE, 0, 255))
    return np.where((labels == IGNORE)[..., None], np.nan, (out[..., :2] - 10.0) / 3), masks, labels


@pytest.mark.parametrize("shape", [(9, 9), (9, 12)])
def test_flips_and_turns_are_numpys(shape):
    images, masks = pairs(120, *shape)
    out, labels = changed(Augment(flip=0.3, turn=0.6), images, masks)
    quarters = range(4) if shape[0] == shape[1] else (0, 2)
    symmetries = [(turns, mirror) for turns in quarters for mirror in (False, True)]

    def moved(x, turns, mirror):
        return np.rot90(np.flip(x, 1) if mirror else x, turns)

    found = []
    for image, mask, after, label in zip(images, masks, out, labels, strict=True):
        found.append([s for s in symmetries if np.array_equal(moved(image, *s), after)])
        assert len(found[-1]) == 1
        np.testing.assert_array_equal(moved(mask, *found[-1][0]), label)
    assert {each for (each,) in found} == set(symmetries)
    # One flip of the two mirrors; two of the three turns are by a quarter.
    assert np.mean([mirror for ((_, mirror),) in found]) == pytest.approx(2 * 0.3 * 0.7, abs=0.12)
    if shape[0] == shape[1]:
        assert np.mean([turns % 2 for ((turns, _),) in found]) == pytest.approx(0.6 * 2 / 3, abs=0.12)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels_is_changed_as_three_are(channels):
    """Noise aside, which each pixel of each channel has of its own, a channel's change depends on that channel."""
    settings = Augment(flip=0.5, turn=0.5, rotate=20, zoom=0.1, elastic=2, brightness=0.1, contrast=0.2, gamma=0.2)
    images, masks = pairs(6, 16, 24)
    many = np.resize(np.moveaxis(images, -1, 0), (channels, *masks.shape))
    (found, labels), (expected, same) = (changed(settings, x, masks) for x in (np.moveaxis(many, 0, -1), images))
    np.testing.assert_array_equal(labels, same)
    assert found.shape == (6, 16, 24, channels)
    for channel in range(channels):
        np.testing.assert_allclose(found[..., channel].astype(int), expected[..., channel % 3], atol=1)
    rest = changed(Augment(blur=1, noise=0.1), np.moveaxis(many, 0, -1), masks)[0]
    assert rest.shape == found.shape


def test_affine_keeps_to_its_limits_and_moves_masks_along():
    size, limits = 48, Augment(rotate=30, zoom=0.25, shift=0.1)
    came_from, masks, labels = where_from(limits, 40, size)
    ground = np.stack([*np.mgrid[:size, :size], np.ones((size, size))], axis=-1) - [23.5, 23.5, 0]
    angles, zooms, shifts = [], [], []
    for source, mask, label in zip(came_from, masks, labels, strict=True):
        inside = ~np.isnan(source[..., 0])
        (along, across, shift), *_ = np.linalg.lstsq(ground[inside], source[inside] - 23.5, rcond=None)
        np.testing.assert_allclose(across, [-along[1], along[0]], atol=0.02)  # rotation and zoom
        angles.append(np.rad2deg(np.arctan2(along[1], along[0])))
        zooms.append(np.log(np.hypot(*along)))
        shifts.append(shift / size)
        rows, columns = np.clip(np.round(ground @ [along, across, shift] + 23.5), 0, size - 1).astype(int).T
        assert np.mean(mask[rows.T, columns.T][inside] == label[inside]) > 0.98  # the fit rounds the rest
    for drawn, limit in ((angles, 30), (zooms, np.log(1.25)), (shifts, 0.1)):
        assert 0.8 * limit < np.max(np.abs(drawn)) < 1.01 * limit
        assert np.min(drawn) < 0 < np.max(drawn)
    assert set(np.unique(labels)) == {0, 1, 2, IGNORE}


def test_elastic_is_smooth_and_as_strong_as_asked():
    size = 48
    came_from, masks, labels = where_from(Augment(elastic=3), 30, size)
    moved = came_from - np.stack(np.mgrid[:size, :size], axis=-1)
    assert np.nanstd(moved[:, 8::16, 8::16]) == pytest.approx(3, rel=0.15)  # at the knots
    assert np.nanmax(np.abs(np.diff(moved, axis=1))) < 1.5
    inside = labels != IGNORE
    rows, columns = np.moveaxis(np.round(came_from[inside]).astype(int), -1, 0)
    assert np.mean(masks[0][rows, columns] == labels[inside]) > 0.9  # rounding by 1/3 pixel shows at borders


def test_blur_is_scipys():
    image = np.random.default_rng(0).random((20, 30, 3), np.float32)
    for sigma in (1e-3, 0.7, 1.5):
        expected = ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", radius=(5, 5, 0))
        np.testing.assert_allclose(augment._blurred(1.5, np.float32(sigma), image), expected, atol=2e-3)


def test_colours_keep_to_their_limits():
    images, masks = np.full((60, 8, 8, 1), 128, np.uint8), np.zeros((60, 8, 8), np.uint8)
    images[:, :4] = 64
    out, labels = changed(Augment(brightness=0.2, noise=0.1), images, masks)
    difference = (out.astype(float) - images) / 255
    noise = difference.std((1, 2, 3))
    assert 0.3 < np.mean(noise < 1e-9) < 0.7
    assert 0.08 < noise.max() < 0.12
    added = difference.mean((1, 2, 3))[noise < 1e-9]
    assert -0.21 < added.min() < -0.15
    assert 0.15 < added.max() < 0.21
    out, _ = changed(Augment(contrast=1, gamma=0.5), images, masks)
    spread = (out[:, 4, 0, 0].astype(float) - out[:, 0, 0, 0]) / 64
    assert spread.min() < 0.8
    assert 1.3 < spread.max() < 2.5
    np.testing.assert_array_equal(labels, masks)


def test_the_strongest_changes_that_a_config_may_have():
    strongest = {"flip": 1, "turn": 1, "rotate": 180, "zoom": 10, "shift": 1, "elastic": 100, "brightness": 1}
    settings = Augment(**strongest, contrast=10, gamma=10, blur=20, noise=1)
    check.config(Config(augment=settings), devices=1)
    images, masks = np.full((4, 16, 24, 3), 128, np.uint8), np.ones((4, 16, 24), np.uint8)
    out, labels = changed(settings, images, masks)
    assert (out.shape, labels.shape) == (images.shape, masks.shape)
    assert set(np.unique(labels)) <= {1, IGNORE}


def test_an_image_s_changes_are_its_own():
    images, masks = pairs(8, 16, 16)
    index = np.arange(8, dtype=np.int32)
    out, labels = changed(MANY, images, masks)
    again, _ = changed(MANY, images, masks)
    np.testing.assert_array_equal(again, out)
    order = np.array([3, 0, 7, 7, 1, 2, 4, 5], np.int32)  # another order, and one image twice
    elsewhere, elsewhere_labels = change(MANY)(images[order], masks[order], order, DRAW)
    np.testing.assert_array_equal(elsewhere, out[order])
    np.testing.assert_array_equal(elsewhere_labels, labels[order])
    for other in ([7, 2], [8, 1]):  # another epoch, another seed
        assert not np.array_equal(changed(MANY, images, masks, np.array(other, np.uint32))[0], out)

    place = NamedSharding(jax.make_mesh((8,), ("batch",)), PartitionSpec("batch"))
    sharded = change(MANY)(*(jax.device_put(x, place) for x in (images, masks, index)), DRAW)
    assert all(len(x.sharding.device_set) == 8 for x in sharded)
    np.testing.assert_array_equal(sharded[0], out)
    np.testing.assert_array_equal(sharded[1], labels)


def test_no_strength_no_change():
    images, masks = pairs(3, 5, 4)
    out, labels = changed(Augment(), images, masks)
    np.testing.assert_array_equal(out, images)
    np.testing.assert_array_equal(labels, masks)


def test_a_run_augments_its_training_alone_and_goes_on_as_it_was(tiny_models, dataset, monkeypatch):
    config = Config(models=("unet",), augment=Augment(flip=0.5, brightness=0.3), batch_size=3, epochs=2)
    split = folds.Split(np.arange(7), np.arange(7, 12), np.arange(7, 12))
    device = jax.devices()[:1]

    program = epochs.build(config, "unet", dataset, epochs.put(dataset, device), device)
    draws, original = [], epochs.Program.train

    def spy(self, *arguments):
        draws.append(arguments[-1].tolist())
        return original(self, *arguments)

    monkeypatch.setattr(epochs.Program, "train", spy)

    def fit(start=None):
        for epoch in train.fit(program, split, config, binary=True, seed=5, start=start):
            yield epoch.row, epoch.progress._replace(state=jax.tree.map(np.array, epoch.progress.state))

    (_, after), (second, end) = fit()
    ((resumed, end_again),) = fit(after)
    assert draws == [[5, 1], [5, 2], [5, 2]]
    assert resumed == second
    jax.tree.map(np.testing.assert_array_equal, end_again.state, end.state)
    index, weight = train.batches(split.train, 3, program.batch_size)
    losses = [
        np.asarray(program.train(program.init(5), index, weight, 0.0, False, np.array([5, epoch], np.uint32))[1])
        for epoch in (1, 2)
    ]
    assert not np.allclose(*losses)  # the same images, changed otherwise


def test_a_step_without_augmentation_draws_no_random_numbers(tiny_models, dataset):
    device = jax.devices()[:1]
    program = epochs.build(Config(batch_size=3), "unet", dataset, epochs.put(dataset, device), device)
    state, index, weight = jax.eval_shape(lambda: program.init(0)), np.arange(3, dtype=np.int32), np.ones(3, np.float32)
    jaxpr = program.train_step.trace(False, state, program.pairs, index, weight, np.float32(1)).jaxpr
    assert "random_" not in str(jaxpr)
