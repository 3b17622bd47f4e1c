"""Predictions for images of any size: resized, in tiles, over flips and turns, by one run and by several."""

import dataclasses

import jax
import numpy as np
import pytest

from sharp_unet_jax.advice import memory
from sharp_unet_jax.data import neighbours
from sharp_unet_jax.data.resize import resize, restore
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import loading, predict
from sharp_unet_jax.report import records
from sharp_unet_jax.training import compile
from tests.edits import edit_folds
from tests.inference.test_export import fresh_run

pytestmark = [
    pytest.mark.usefixtures("tiny_models"),
    pytest.mark.filterwarnings("ignore::sharp_unet_jax.errors.ResolutionWarning"),
]


@pytest.fixture
def run(finished):
    return loading.load(finished / "runs/sharp_unet/repeat0-fold1")


def test_images_of_the_training_size_give_the_saved_predictions(run, finished, dataset):
    sweep = records.load(finished)
    rows = [dataset.ids.index(image) for image in sweep.test_ids(run.name)]
    found = np.stack(run.predict(dataset.images[rows]))
    np.testing.assert_array_equal(np.round(255 * found).astype(np.uint8), sweep.predictions(run.name))


def test_every_image_comes_back_in_order_and_at_its_own_size(run, dataset):
    """An image enlarged by repeating pixels is resized to the same input: averaging undoes the repetition."""
    images = [dataset.images[0], np.kron(dataset.images[1], np.ones((2, 2, 1), np.uint8)), dataset.images[2][..., 0]]
    found = run.predict(images)
    assert [each.shape for each in found] == [(16, 24, 1), (32, 48, 1), (16, 24, 1)]
    grey = np.repeat(images[2][..., None], 3, axis=-1)
    np.testing.assert_allclose(found[2], run.probabilities(grey[None])[0], atol=1e-6)
    small, _ = resize(images[1], images[1][..., 0], (16, 24), "stretch")
    expected = restore(run.probabilities(small[None])[0], (32, 48), "stretch")
    np.testing.assert_allclose(found[1], expected, atol=1e-6)


def test_more_images_than_a_batch(run, dataset):
    count = run.config.batch_size + 3
    images = dataset.images[np.arange(count) % 12]
    np.testing.assert_allclose(np.stack(run.predict(images)), run.probabilities(images), atol=1e-6)
    assert run.predict([]) == []


@pytest.mark.parametrize(("tile", "width", "batches"), [(None, 24, [4, 4]), ((16, 48), 120, [2] * 10)])
def test_large_images_are_predicted_a_few_at_once(run, monkeypatch, tile, width, batches):
    """The network's input decides: 16x24 pixels, or tiles of 16x48, of which an image of 16x120 has four."""
    monkeypatch.setattr(compile, "_CPU_PIXELS", 4 * 16 * 24)
    given = []
    step = run.step("cpu")

    def spied(weights, images):
        given.append(len(images))
        return step(weights, images)

    spied.lower = step.lower
    run.__dict__["step"] = {"cpu": spied}.__getitem__
    run.predict([np.zeros((16, width, 3), np.uint8)] * 5, tile=tile)
    assert given == batches


def test_the_network_is_compiled_once_for_images_of_all_sizes(run):
    for size in ((10, 30), (16, 24), (99, 7)):
        run.predict([np.zeros((*size, 3), np.uint8)] * 2)
    assert run.step("cpu")._cache_size() == 1


def test_a_letterbox_is_undone():
    """A ramp from top to bottom is resized and restored."""
    ramp = np.tile(np.linspace(0, 1, 30, dtype=np.float32)[:, None, None], (1, 10, 1))
    image = np.round(255 * ramp).astype(np.uint8)
    small, _ = resize(image, image[..., 0], (20, 20), "letterbox")
    back = restore(small.astype(np.float32) / 255, (30, 10), "letterbox")
    assert back.shape == ramp.shape
    np.testing.assert_allclose(back, ramp, atol=0.06)


def test_an_ensemble_is_the_mean_of_its_members(finished, dataset):
    members = loading.load_all(finished, "unet")
    assert [member.name for member in members] == ["unet/repeat0-fold0", "unet/repeat0-fold1"]
    found = next(predict.predict(members, dataset.images[:1]))
    each = [member.probabilities(dataset.images[:1])[0] for member in members]
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)
    assert np.abs(each[0] - each[1]).max() > 1e-3


def test_an_ensemble_of_several_networks_gives_each_run_its_own(finished, dataset):
    """The twins have the same weights by name: the step of the other would run, and predict something else."""
    members = loading.load_all(finished, "sharp_unet, unet")
    assert [member.name for member in members] == [
        f"{model}/repeat0-fold{fold}" for fold in range(2) for model in ("unet", "sharp_unet")
    ]
    image, alone = (
        np.kron(dataset.images[0], np.ones((2, 1, 1), np.uint8)),
        loading.load_all(finished, "unet,sharp_unet"),
    )
    for options in ({}, {"flips": True}, {"tile": (16, 24), "devices": jax.devices()[:2]}):
        (found,) = predict.predict(members, [image], **options)
        each = [next(predict.predict(member, [image], **options)) for member in alone]
        np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)
    used = [member.step("cpu")._cache_size() for member in members]
    assert used[0] == used[1] > 0, "the first run of each network serves the others"
    assert used[2:] == [0, 0]


def test_tiles_suit_the_strides_of_all_networks(normed, monkeypatch):
    """The strides are 2 and 4."""
    members = [fresh_run("unet", fit="crop"), fresh_run(normed, fit="crop")]
    assert [member.stride for member in members] == [2, 4]
    cuts, cut = [], predict.tiles.cut
    monkeypatch.setattr(predict.tiles, "cut", lambda image, *place: cuts.append(place) or cut(image, *place))
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    for runs in (members, members[::-1]):
        (found,) = predict.predict(runs, [image], tile=(6, 5))
        each = [next(predict.predict(member, [image], tile=(8, 8))) for member in members]
        np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)
        assert [cuts[0], *cuts[1:]] == [((8, 8), 4), ((8, 8), 2), ((8, 8), 4)]
        cuts.clear()


def test_the_memory_of_every_network_is_checked(finished, dataset, monkeypatch):
    members = loading.load_all(finished, "unet,sharp_unet")
    needed = []
    monkeypatch.setattr(predict, "_check_room", lambda size, *_: needed.append(size))
    next(predict.predict(members, dataset.images[:1]))
    assert len(needed) == 3, "the pixels, and a program for each network"


@pytest.mark.parametrize(("flips", "rotations", "count"), [(True, False, 4), (False, True, 4), (True, True, 8)])
def test_flips_and_turns_are_averaged(run, dataset, flips, rotations, count):
    """The prediction of a turned image is the turned prediction, if all symmetries are averaged."""
    image = dataset.images[0]
    options = {"flips": flips, "rotations": rotations, "tile": (16, 16)}
    square = image[:, :16]
    turn = (lambda x: x[::-1]) if flips else (lambda x: np.rot90(x))
    plain, turned = run.predict([square, np.ascontiguousarray(turn(square))], **options)
    np.testing.assert_allclose(turned, turn(plain), atol=1e-5)
    one = next(predict.predict(run, [square], tile=(16, 16)))
    assert np.abs(one - plain).max() > 1e-4, "nothing was averaged"
    views = {np.rot90(square[:, ::-1] if mirror else square, k).tobytes() for k in range(4) for mirror in (0, 1)}
    assert len(views) == 8 >= count


def test_turns_at_the_training_size(run, dataset):
    """A quarter turn of 16x24 pixels is 24x16."""
    image = dataset.images[0]
    (found,) = run.predict([image], rotations=True)
    each = [np.rot90(run.probabilities(np.rot90(image, k)[None])[0], -k) for k in range(4)]
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-5)


def test_tiles_predict_what_the_whole_image_predicts(run):
    """The tests' network has a receptive field of ten pixels on each side: within a tile, it sees the same.

    It repeats the last of 201 columns to pad them, and tiles mirror the image there.
    """
    image = np.random.default_rng(0).integers(0, 256, (150, 201, 3), np.uint8)
    whole = run.probabilities(image[None])[0]
    (tiled,) = run.predict([image], tile=(64, 64))
    assert tiled.shape == whole.shape
    np.testing.assert_allclose(tiled[:, :190], whole[:, :190], atol=2e-3)
    (single,) = run.predict([image], tile=(160, 224))
    np.testing.assert_allclose(single[:130, :180], whole[:130, :180], atol=1e-5)


def test_devices_share_a_batch(run, dataset):
    assert len(jax.devices()) >= 3
    found = list(predict.predict(run, dataset.images[:5], devices=jax.devices()[:3]))
    np.testing.assert_allclose(np.stack(found), run.probabilities(dataset.images[:5]), atol=1e-5)


def test_the_platform_that_computes_decides_precision_and_options(run, dataset, monkeypatch):
    """A CPU may predict while JAX's default is a GPU."""
    asked, jit = [], compile.jit

    def spied(function, config, platform, **options):
        asked.append(platform)
        return jit(function, config, platform, **options)

    monkeypatch.setattr(compile, "jit", spied)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    found = run.predict(dataset.images[:2], devices=jax.devices("cpu")[1:2])
    np.testing.assert_allclose(np.stack(found), run.probabilities(dataset.images[:2]), atol=1e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-run.logits(dataset.images[:2]))), np.stack(found), atol=1e-5)
    assert asked == ["cpu", "cpu"]  # one program for probabilities, one for logits


@pytest.mark.parametrize("tile", [(0, 0), (0, -3), 64, (64.5, 64), (64,)])
def test_a_wrong_tile_is_refused(run, dataset, tile):
    with pytest.raises(InputError, match="tile: give a height and a width"):
        list(run.predict([dataset.images[0]], tile=tile))


@pytest.mark.parametrize("tile", [(99999999999, 16), (2000, 2000)])
def test_a_tile_too_large_for_the_memory_is_refused_before_anything_is_taken(run, dataset, tile, monkeypatch):
    """XLA would end the process, or the system would: most need more than there is only within the network."""
    monkeypatch.setattr(memory, "free", lambda: 2**27)  # more than the second tile's pixels need
    compiled = run.step("cpu")._cache_size()
    with pytest.raises(InputError, match=r"GB of memory, and 0.1 GB are free: give a smaller tile"):
        run.predict([dataset.images[0]], tile=tile)
    assert run.step("cpu")._cache_size() == compiled, "nothing ran"


@pytest.mark.parametrize("error", [MemoryError(), jax.errors.JaxRuntimeError("INTERNAL: Out of memory allocating 9 b")])
def test_memory_that_ends_on_the_way_is_said_so(run, finished, dataset, error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(predict, "restore", fail)
    with pytest.raises(InputError, match=r"predicting at 16x24 pixels needs more memory than is free"):
        run.predict([dataset.images[0]])
    monkeypatch.setattr(loading.checkpoint, "load", fail)
    with pytest.raises(type(error)):  # it is no fault of the checkpoint
        loading.load(finished / "runs" / run.name)


@pytest.mark.parametrize("image", ["image.png", [[1, 2], [3, 4]]])
def test_an_image_that_is_no_array_is_refused(run, image):
    with pytest.raises(InputError, match="an image is an array of pixels, not a"):
        list(run.predict([image]))


def test_the_runs_window_is_used(run, done, dataset):
    deep = dataset.images[0].astype(np.int16) * 4 - 512
    edit_folds(done, window=[-512.0, 508.0])
    windowed = loading.load(done / "runs" / run.name)
    np.testing.assert_allclose(windowed.predict([deep])[0], run.predict([dataset.images[0]])[0], atol=1e-6)
    with pytest.raises(InputError, match="trained on 8 bits"):
        run.predict([deep])
    with pytest.raises(InputError, match=r"\(height, width\)"):
        run.predict([dataset.images])


def test_a_tile_too_small_to_reflect_is_refused():
    run = fresh_run("sharp_unet", size=(64, 64), skip_kernel="laplacian_of_gaussian", skip_padding="reflect")
    with pytest.raises(InputError, match=r"the coarsest sharp block .* take a larger data.size or tile"):
        run.predict([np.zeros((64, 64, 3), np.uint8)], tile=(run.stride, run.stride))


def test_slices_without_their_neighbours_are_refused():
    run = fresh_run("unet")
    run = dataclasses.replace(
        run, config=dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, context=1))
    )
    slices = [np.zeros((16, 24), np.uint8)]
    with pytest.raises(InputError, match=r"data.context=1\): give images of 3 channels"):
        list(predict.with_disagreement([run, run], slices))
    assert (
        len(list(predict.with_disagreement([run, run], neighbours.stacked([np.zeros((16, 24, 1), np.uint8)], 1)))) == 1
    )
