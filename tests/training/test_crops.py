"""Training on crops, and scores of whole images by tiles: against NumPy and against the network on a whole image."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sharp_unet_jax import decision, metrics, models
from sharp_unet_jax.config import Augment, Data
from sharp_unet_jax.data import augment, resize
from sharp_unet_jax.data.folds import Split
from sharp_unet_jax.models import layers
from sharp_unet_jax.training import epochs, train
from tests.training.fits import CONFIG, make, run
from tests.uneven import SIZES, uneven

ALL = np.arange(len(SIZES))
SPLIT = Split(ALL[:5], ALL[4:6], ALL[3:])
SIZE = (16, 24)
AUGMENT = Augment(flip=0.5, rotate=30, elastic=1, noise=0.05)


def changed(augment=None, **changes):
    """Return the config with crops; keywords of `Data` go there."""
    of_data = {name: value for name, value in changes.items() if name in Data.__dataclass_fields__}
    rest = {name: value for name, value in changes.items() if name not in of_data}
    data = Data(size=SIZE, fit="crop", **of_data)
    return dataclasses.replace(CONFIG, data=data, augment=augment or Augment(), **rest)


class Pixels(nnx.Module):
    """An encoder that sees one pixel at a time."""

    stride, widths = 4, (4,)

    def __init__(self, in_channels, *, rngs):
        self.conv = layers.Conv(in_channels, 4, 1, rngs=rngs)

    def __call__(self, x, weight=None):
        return [jax.nn.relu(self.conv(x))]


class PixelHead(nnx.Module):
    heads: tuple[str, ...] = ("head",)

    def __init__(self, *, num_classes, rngs):
        self.head = layers.Conv(4, num_classes, 1, rngs=rngs)

    def __call__(self, maps, skip, weight=None):
        return self.head(maps[0])


@pytest.fixture
def by_pixel(monkeypatch):
    """Register a network whose answer for a pixel depends only on that pixel."""

    def parts(*, num_classes, in_channels, rngs):
        return Pixels(in_channels, rngs=rngs), PixelHead(num_classes=num_classes, rngs=rngs)

    monkeypatch.setitem(models.MODELS, "by_pixel", models.Network(parts, "by_pixel", "plain", "by_pixel"))
    return "by_pixel"


def both(foreground):
    """Return the probabilities of the foreground and of the background, (h, w) each."""
    return foreground[..., 0], 1 - foreground[..., 0]


def on_whole(program, state, image):
    """Return the network's probabilities (h, w, num_classes) for a whole image."""
    model = nnx.merge(program.definition.graph, *map(jax.device_get, (state.params, state.stats)))
    logits = model(jnp.asarray(image[None], jnp.float32) / 255)
    return np.asarray(jax.nn.sigmoid(logits) if logits.shape[-1] == 1 else jax.nn.softmax(logits))[0]


@pytest.mark.parametrize(
    ("classes", "channels", "devices", "seed"),
    [(2, 3, 1, 4), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((4, 1, 1, 2), (3, 5, 3, 11)))],
)
def test_a_whole_image_has_the_counts_of_the_network_on_it(by_pixel, classes, channels, devices, seed):
    dataset = uneven(classes=classes, channels=channels)
    program = make(changed(monitor="soft_jaccard"), by_pixel, dataset, devices)
    rng, state = np.random.default_rng(seed), program.init(0)
    state = state._replace(params=jax.tree.map(lambda p: rng.normal(0, 2, p.shape).astype("float32"), state.params))
    order = ALL[::-1]
    loss, counts, soft = train.evaluate_whole(program, state.params, state.stats, order)
    predictions = train.predict(program, train.Result([], 1, *jax.device_get(state[:2]), counts), order)
    seen = set()
    for index, each, count, softly, predicted in zip(order, loss, counts, soft, predictions, strict=True):
        image, mask = dataset.images[index], dataset.masks[index]
        expected = on_whole(program, state, image)
        np.testing.assert_allclose(predicted, expected, rtol=1e-4)
        np.testing.assert_array_equal(count, metrics.count(decision.labels(expected, 0.5), mask, classes))
        np.testing.assert_array_equal(train.count(dataset, changed(), index, predicted), count)
        assert count[:, 1].sum() == (mask != metrics.IGNORE).sum()
        assert softly[1] == (count[1, 1] if classes == 2 else count[:, 1].sum())
        if (dataset.sizes[index] <= SIZE).all():  # a single tile
            truth = np.maximum(mask, 0)[..., None] * (mask != metrics.IGNORE)[..., None]
            right = (
                np.take_along_axis(expected, truth, axis=-1)[..., 0] if classes > 2 else np.where(mask, *both(expected))
            )
            assert each == pytest.approx(-np.log(right)[mask != metrics.IGNORE].mean(), rel=1e-4)
        seen |= {*np.flatnonzero(count[:, 2])}
    assert len(seen) > 1  # it predicts several classes


def test_far_from_its_edges_a_whole_image_has_the_probabilities_of_the_network_on_it(tiny_models):
    """The network sees 14 pixels far; tiles of 64 pixels overlap by half, and there the weight of edges is small."""
    dataset = uneven(sizes=((150, 170),))
    config = dataclasses.replace(changed(), data=Data(size=(64, 64), fit="crop"))
    program = make(config, "sharp_unet", dataset)
    state = program.init(0)
    result = train.Result([], 1, *jax.device_get(state[:2]), np.zeros(0))
    (found,) = train.predict(program, result, np.array([0]))
    expected = on_whole(program, state, dataset.images[0])
    inside = slice(14, -14), slice(14, -14)
    difference = abs(found - expected)[inside]
    assert expected[inside].std() > 1e-3
    assert difference.mean() < 0.02 * expected[inside].std()


def test_an_image_has_the_same_numbers_in_any_order_and_in_any_company(tiny_models):
    dataset = uneven()
    program = make(changed(monitor="soft_jaccard"), "sharp_unet", dataset)
    state = program.init(0)
    measure = lambda images: train.evaluate_whole(program, state.params, state.stats, np.array(images))  # noqa: E731
    together = measure(ALL)
    for images in ([3], [6, 0, 6], ALL[::-1], [7, 4, 1]):
        for found, expected in zip(measure(images), together, strict=True):
            np.testing.assert_allclose(found, expected[images], rtol=1e-5)
        np.testing.assert_array_equal(measure(images)[1], together[1][images])
    assert program.tile_step._cache_size() == program.paste._cache_size() == program.canvas_counts._cache_size() == 1
    assert program.blank._cache_size() == 1


def test_one_canvas_lies_on_the_devices(by_pixel):
    """It has the size of the largest image, which may fill a device."""
    dataset, there = uneven(), []
    program = make(changed(), by_pixel, dataset)

    def blank():
        canvases = [each for each in jax.live_arrays() if (each.shape, each.dtype) == (program.canvas_size, np.uint8)]
        there.append(len(canvases))
        return program.blank()

    watched, state = dataclasses.replace(program, blank=blank), program.init(0)
    _, counts = train.evaluate_whole(watched, state.params, state.stats, ALL)
    sheets = len(there)
    list(train.predict(watched, train.Result([], 1, *jax.device_get(state[:2]), counts), ALL))
    assert sheets > 1
    assert there == [0] * 2 * sheets


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("fit", ["crop", "stretch", "letterbox"])
def test_counts_at_the_resolution_of_the_files_are_numpys(classes, fit):
    """The masks of the files are twice as large as those of training."""
    rng = np.random.default_rng(0)
    dataset = uneven(classes=classes, native=True)
    config = dataclasses.replace(changed(), data=Data(size=SIZE, fit=fit, score="native"), threshold=0.4)
    for index in ALL:
        own = tuple((2 * dataset.sizes[index]).tolist())
        at = tuple(dataset.sizes[index].tolist()) if fit == "crop" else SIZE
        probabilities = rng.random((*at, 1 if classes == 2 else classes), np.float32)
        counts = train.count(dataset, config, index, probabilities)
        restored, truth = resize.restore(probabilities, own, fit), dataset.native[index]
        decided = restored[..., 0] > 0.4 if classes == 2 else restored.argmax(axis=-1)
        valid = truth != metrics.IGNORE
        for label in range(classes):
            true, predicted = (truth == label)[valid], (decided == label)[valid]
            assert counts[label].tolist() == [(true & predicted).sum(), true.sum(), predicted.sum()]


@pytest.mark.parametrize(
    ("classes", "channels", "changes"),
    [
        (2, 3, {}),
        pytest.param(3, 1, {"precision": "bfloat16", "share": "area", "foreground": 1.0}, marks=pytest.mark.slow),
        pytest.param(
            *(2, 5, {"accumulate": 2, "validate": "crops", "monitor": "soft_jaccard", "crops": 22}),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_network_learns_from_crops(tiny_models, classes, channels, changes):
    dataset = uneven(sizes=SIZES + SIZES[:2], classes=classes, channels=channels)
    few = {"epochs": 40, "patience": 40, "plateau_patience": 40, "learning_rate": 1e-2}
    config = changed(**few, **changes)
    program = make(config, "sharp_unet", dataset)
    split = Split(np.array([0, 1, 2, 3, 4, 6, 7]), ALL[5:6], np.array([8, 5]))
    _, result = run(train.fit(program, split, config, binary=classes == 2, seed=0))
    assert result.rows[-1]["train_loss"] < 0.5 * result.rows[0]["train_loss"]
    assert max(row["validation_jaccard"] for row in result.rows) > 0.6
    assert ("validation_soft_jaccard" in result.rows[0]) == (config.monitor == "soft_jaccard")
    scored = train.scored_in_an_epoch(dataset, config, split.test)
    assert result.counts.shape == (scored, classes, 3)
    assert scored == (22 if config.data.validate == "crops" else 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("validate", "devices"),
    [
        ("crops", 1),
        pytest.param("images", 1, marks=pytest.mark.slow),
        pytest.param("crops", 3, marks=pytest.mark.slow),
        pytest.param("images", 3, marks=pytest.mark.slow),
    ],
)
def test_an_epoch_in_one_call_is_the_same_as_step_by_step(tiny_models, validate, devices):
    """One call is what a GPU does."""
    dataset, config = uneven(), changed(AUGMENT, validate=validate, monitor="soft_jaccard")
    devices = jax.devices()[:devices]
    pairs = epochs.put(dataset, devices)
    stepwise, looped = (
        epochs.build(config, "sharp_unet", dataset, pairs, devices, loop=loop) for loop in (False, True)
    )
    for split in (SPLIT, Split(ALL[:3], ALL[3:], ALL[3:])):
        one, other = (run(train.fit(program, split, config, binary=True, seed=0))[1] for program in (stepwise, looped))
        chex.assert_trees_all_close(one.params, other.params, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(one.counts, other.counts)
        for ours, theirs in zip(one.rows, other.rows, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4)
    assert looped.train_loop._cache_size() == 1
    assert looped.eval_loop._cache_size() == (validate == "crops")


@pytest.mark.parametrize("augment", [pytest.param(Augment(), marks=pytest.mark.slow), AUGMENT])
@pytest.mark.slow
def test_crops_that_are_read_from_the_disk_give_the_bits_of_those_on_the_device(tiny_models, augment):
    dataset, config = uneven(), changed(augment)
    resident = make(config, "sharp_unet", dataset)
    streamed = epochs.build(config, "sharp_unet", dataset, None, jax.devices()[:1])
    one, other = (run(train.fit(each, SPLIT, config, binary=True, seed=0))[1] for each in (resident, streamed))
    chex.assert_trees_all_equal(one.params, other.params)
    assert one.rows == other.rows
    np.testing.assert_array_equal(one.counts, other.counts)


@pytest.mark.slow  # by parts: crops are whole images to what shares a batch, see test_epochs.py
def test_several_devices_give_the_result_of_one(tiny_models):
    dataset, config = uneven(), changed(AUGMENT)
    programs = [make(config, "sharp_unet", dataset, devices) for devices in (1, 3)]
    one, three = (run(train.fit(program, SPLIT, config, binary=True, seed=0))[1] for program in programs)
    chex.assert_trees_all_close(three.params, one.params, rtol=1e-3, atol=1e-4)
    for ours, theirs in zip(three.rows, one.rows, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_the_validation_crops_are_the_same_after_every_epoch(tiny_models, monkeypatch):
    config, seen = changed(validate="crops", epochs=2), []
    program, evaluate = make(config, "sharp_unet", uneven()), train.evaluate
    monkeypatch.setattr(
        train, "evaluate", lambda program, state, crops: seen.append(crops) or evaluate(program, state, crops)
    )
    run(train.fit(program, SPLIT, config, binary=True, seed=0))
    on_test, on_validation, *again = seen
    np.testing.assert_array_equal(on_test, again[0])
    np.testing.assert_array_equal(on_validation, again[1])
    assert {*on_validation[:, 0]} == {*SPLIT.validation}
    trained = train.order_of(program.dataset, config, SPLIT.validation, 0, 1)
    assert not np.array_equal(on_validation, trained)


@pytest.mark.slow  # the crops are a function that knows no model
def test_twins_see_the_same_crops(tiny_models, monkeypatch):
    config, seen = changed(AUGMENT, epochs=2), {}
    original = epochs.Program.train

    def spy(self, state, index, *rest):
        seen.setdefault(self, []).append(index)
        return original(self, state, index, *rest)

    monkeypatch.setattr(epochs.Program, "train", spy)
    monkeypatch.setattr(epochs.Program, "__hash__", object.__hash__)
    for model in ("unet", "sharp_unet"):
        run(train.fit(make(config, model, uneven()), SPLIT, config, binary=True, seed=9))
    plain, sharp = seen.values()
    for one, other in zip(plain, sharp, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(*plain)


def test_the_order_of_whole_images_is_as_without_crops():
    dataset = uneven()
    whole = train.order_of(dataset, CONFIG, ALL, seed=3, epoch=2)
    np.testing.assert_array_equal(whole, train.shuffled(ALL, 3, 2))


@pytest.mark.parametrize(
    ("gigabytes", "pixels", "fits"), [(4.0, 2**29 - 1, True), (4.0, 2**29, False), (1.0, 2**28, False)]
)
def test_a_data_set_lies_on_the_device_if_32_bits_count_its_values(gigabytes, pixels, fits):
    dataset = uneven()
    flat = np.broadcast_to(np.zeros(4, np.uint8), (pixels, 4))  # takes no memory
    large = dataclasses.replace(dataset, images=dataclasses.replace(dataset.images, flat=flat))
    assert epochs.fits(changed(resident_gb=gigabytes), large) == fits


def test_every_crop_of_an_epoch_is_augmented_by_its_own_number(by_pixel, monkeypatch):
    """Two crops of an image would be changed alike by the image's number."""
    original, seen = augment.batch, []

    def spy(settings, images, masks, index, *rest):
        jax.debug.callback(lambda numbers: seen.append(np.asarray(numbers)), index)
        return original(settings, images, masks, index, *rest)

    monkeypatch.setattr(augment, "batch", spy)
    config = changed(Augment(flip=0.5), crops=11, epochs=1)
    program = make(config, by_pixel, uneven())
    run(train.fit(program, SPLIT, config, binary=True, seed=0))
    jax.effects_barrier()
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), [0, *range(11)])  # one is padding
