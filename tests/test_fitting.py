"""Training on arrays: the weights returned, the files kept, and the input refused."""

import json

import jax
import numpy as np
import pytest
from rich.console import Console

import sharp_unet_jax
from launch import export
from sharp_unet_jax import metrics
from sharp_unet_jax.data.resize import restore
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import loading
from sharp_unet_jax.report import records
from tests import crop_runs
from tests.conftest import squares

pytestmark = pytest.mark.usefixtures("tiny_programs")

DATA = squares()
OPTIONS = {"epochs": 2, "batch_size": 4}


def fit(images=DATA.images, masks=DATA.masks, model="sharp_unet", **options):
    return sharp_unet_jax.fit(model, images, masks, **OPTIONS | options)


def weights(run):
    return jax.tree.leaves(run.weights)


def assert_same_weights(one, another):
    for a, b in zip(weights(one), weights(another), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_weights_are_those_of_the_lowest_validation_loss():
    held = squares(5, seed=1)
    history = []
    run = fit(validation=(held.images, held.masks), epochs=4, learning_rate=0.05, on_epoch=history.append)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert not any(key.startswith("test_") for row in history for key in row)
    best = min(history, key=lambda row: row["validation_loss"])
    logits = run.logits(held.images)[..., 0].astype(np.float64)
    entropy = np.where(held.masks == 1, np.logaddexp(0, -logits), np.logaddexp(0, logits))
    assert best["validation_loss"] == pytest.approx(entropy.mean(), rel=1e-5)
    scores = metrics.jaccard(held.masks == 1, np.stack(run.masks(held.images)) == 1)
    assert best["validation_jaccard"] == pytest.approx(scores.mean())
    assert (run.model, run.dataset, run.channels, run.num_classes) == ("sharp_unet", "arrays", 3, 1)
    assert all(image.base is None for image in run.examples().images), "a view keeps all images of the training"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fitted") / "w"


def test_a_folder_is_a_sweep_that_commands_read(folder, tmp_path):
    run = fit(folder=folder, name="mine")
    assert_same_weights(run, fit())  # also without a folder, and a second time
    loaded = sharp_unet_jax.load(folder / "runs/sharp_unet/repeat0-fold0")
    assert_same_weights(run, loaded)
    assert (loaded.config, loaded.classes, loaded.dataset) == (run.config, ("background", "foreground"), "mine")

    again = []
    (folder / "choice.json").write_text("of other runs in the folder")
    assert_same_weights(run, fit(folder=folder, name="mine", on_epoch=again.append))
    (folder / "choice.json").unlink()
    assert again == []
    fit(model="unet", folder=folder, name="mine")
    assert [one.model for model in ("sharp_unet", "unet") for one in loading.load_all(folder, model)] == [
        "sharp_unet",
        "unet",
    ]
    to = tmp_path / "model.safetensors"
    export.run([f"--run={folder}", "--model=unet", "--format=safetensors", f"--output={to}"], Console(quiet=True))
    card = to.with_name("model.safetensors.md").read_text()
    assert "One division of the images, no cross-validation; seed: 0." in card
    assert "folds" not in card

    with pytest.raises(InputError, match=r"holds a sweep with inner_validation=0.2, not 0.3"):
        fit(folder=folder, name="mine", validation=0.3)
    with pytest.raises(InputError, match="holds a sweep on other images"):
        fit(DATA.images[::-1], folder=folder, name="mine")


def test_a_call_that_was_cut_off_goes_on(tmp_path):
    class CutOffError(Exception):
        pass

    def cut_off(row):
        if row["epoch"] == 2:
            raise CutOffError

    options = {"epochs": 3, "checkpoint_minutes": 0.0, "folder": tmp_path / "w"}
    with pytest.raises(CutOffError):
        fit(on_epoch=cut_off, **options)
    rows = []
    run = fit(on_epoch=rows.append, **options)
    assert [row["epoch"] for row in rows] == [3]  # the states were saved at the end of epoch 2
    assert_same_weights(run, fit(epochs=3))


@pytest.mark.slow  # tests/sweeps/test_train_on.py trains sweeps on
def test_a_call_with_more_epochs_goes_on(tmp_path):
    fit(epochs=1, folder=tmp_path / "w")
    rows = []
    run = fit(epochs=2, folder=tmp_path / "w", on_epoch=rows.append)
    assert [row["epoch"] for row in rows] == [2]
    assert_same_weights(run, fit(epochs=2))


def test_groups_are_not_split_by_the_share(tmp_path):
    groups = [number // 3 for number in range(12)]
    fit(groups=groups, validation=0.25, epochs=1, folder=tmp_path / "w")
    saved = json.loads((tmp_path / "w/folds.json").read_text())
    (cell,) = saved["folds"]
    assert len(cell["validation"]) == 3
    assert len({groups[int(name)] for name in cell["validation"]}) == 1
    assert cell["test"] == cell["validation"]


def test_images_of_any_size_grey_and_of_other_numbers():
    sizes = [(16, 24), (20, 20), (31, 40)]
    images = [np.full(sizes[n % 3], 0.0) for n in range(9)]
    for image in images:
        image[4:12, 6:18] = 1.0
    masks = [image > 0.5 for image in images]
    run = fit(images, masks, size=(16, 24), window=(0, 1), validation=0.3, letterbox=True)
    assert (run.channels, run.window, run.config.data.fit) == (1, (0, 1), "letterbox")
    eight_bits = [(255 * image).astype(np.uint8) for image in images]
    other = fit(eight_bits, masks, size=(16, 24), validation=0.3, letterbox=True)
    assert_same_weights(run, other)
    for image, a, b in zip(images, run.predict(images), other.predict(eight_bits), strict=True):
        assert a.shape == (*image.shape, 1)
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_crops_of_images_of_any_size(tmp_path):
    """Fractions and 8 bits give one run, which predicts whole images as it was scored."""
    data = crop_runs.examples(10, classes=3, channels=1)
    images, masks = ([example[part][..., 0] for example in data] for part in ("image", "mask"))
    options = {"size": (16, 24), "crop": True, "classes": ("background", "square", "other"), "validation": 0.3}
    history = []
    run = fit(
        images, masks, scale=0.5, crops=7, foreground=1, folder=tmp_path / "w", on_epoch=history.append, **options
    )
    data = run.config.data
    assert (data.fit, data.size, data.scale, data.crops, data.foreground) == ("crop", (16, 24), 0.5, 7, 1)
    assert (len(history), run.num_classes, run.channels) == (2, 3, 1)
    fractions = [image / np.float32(255) for image in images]
    other = fit(fractions, masks, window=(0, 1), scale=0.5, crops=7, foreground=1, **options)
    assert_same_weights(run, other)
    sweep = records.load(tmp_path / "w")
    saved = dict(zip(map(int, sweep.test_ids(run.name)), sweep.predictions(run.name), strict=True))
    assert len(saved) == 3
    loaded = sharp_unet_jax.load(tmp_path / "w/runs/sharp_unet/repeat0-fold0")
    for number, small in saved.items():
        own = images[number].shape
        expected = restore(small / np.float32(255), own, "crop")
        for one, image in ((run, images[number]), (loaded, images[number]), (other, fractions[number])):
            np.testing.assert_allclose(one.predict([image])[0], expected, atol=1.01 / 255)


def test_scores_of_resized_images_at_their_own_resolution(tmp_path):
    data = crop_runs.examples(8)
    images, masks = [example["image"] for example in data], [example["mask"][..., 0] for example in data]
    run = fit(images, masks, size=(16, 24), score="native", epochs=1, folder=tmp_path / "w")
    table = records.load(tmp_path / "w").per_image.query("`class` == 'foreground'").set_index("image_id")
    assert len(table) == 2
    for name, row in table.iterrows():
        (mask,) = run.masks([images[int(name)]])
        assert (row["truth"], row["predicted"]) == ((masks[int(name)] == 1).sum(), mask.sum())


@pytest.mark.parametrize("channels", [5, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_images_of_any_number_of_channels_with_a_window_each(channels, tmp_path):
    eight_bits = squares(channels=channels).images
    scale, offset = 2.0 ** np.arange(channels), 100.0 * np.arange(channels)
    deep = eight_bits * scale + offset
    window = [(low, low + 255 * step) for step, low in zip(scale, offset, strict=True)]
    run = fit(deep, window=window, validation=0.3, epochs=1, folder=tmp_path / "w")
    assert (run.channels, run.window) == (channels, tuple(np.ravel(window)))
    assert repr(sharp_unet_jax.load(tmp_path / "w")) == repr(run)
    other = fit(eight_bits, validation=0.3, epochs=1)
    assert_same_weights(run, other)
    for one, same in zip(run.predict(deep[:3]), other.predict(eight_bits[:3]), strict=True):
        assert one.shape == (16, 24, 1)
        np.testing.assert_array_equal(one, same)
    with pytest.raises(InputError, match=r"predict takes several images, and this is one"):
        run.predict(deep[0])
    with pytest.raises(InputError, match=rf"is RGB, and the run was trained on images that are of {channels} channels"):
        run.predict([np.zeros((16, 24, 3), np.uint8)])
    to = tmp_path / "model.safetensors"
    export.run([f"--run={tmp_path / 'w'}", "--format=safetensors", f"--output={to}"], Console(quiet=True))
    card = to.with_name("model.safetensors.md").read_text()
    assert run.name in card


def test_numpy_numbers_are_taken_as_pythons():
    assert_same_weights(
        fit(
            epochs=np.int64(2),
            learning_rate=np.float32(0.5),
            size=np.array([16, 24]),
            validation=[IMAGES[:4], MASKS[:4]],
        ),
        fit(epochs=2, learning_rate=0.5, size=(16, 24), validation=(IMAGES[:4], MASKS[:4])),
    )


def test_a_recipe_is_given_by_the_settings_of_a_config():
    recipe = {"optimizer": "sgd", "schedule": "cosine", "warmup": 1, "ema": 0.5, "weight_decay": 0.01, "clip": 0.1}
    history = []
    run = fit(epochs=3, batch_size=16, learning_rate=0.1, class_weights=(1.0, 3.0), on_epoch=history.append, **recipe)
    assert [row["learning_rate"] for row in history] == pytest.approx([0.1, 0.1, 0.05])
    assert (run.config.optimizer, run.config.class_weights) == ("sgd", (1.0, 3.0))
    with pytest.raises(InputError, match="class_weights: give 2 numbers, for background, foreground; got"):
        fit(epochs=1, class_weights=(1.0, 3.0, 2.0))


def test_several_classes_and_devices():
    data = squares(classes=3)
    classes, losses = ["background", "square", "other"], ([], [])
    for masks, devices, rows in zip((data.masks.astype(np.int64), data.masks), (1, 2), losses, strict=True):
        run = fit(data.images, masks, classes=classes, devices=jax.devices()[:devices], epochs=1, on_epoch=rows.append)
        assert (run.num_classes, run.config.devices_per_run) == (3, devices)
    for one, two in zip(*losses, strict=True):
        assert one["train_loss"] == pytest.approx(two["train_loss"], rel=1e-4)


def test_a_loss_that_became_nan_is_an_input_error():
    with pytest.raises(InputError, match=r"^sharp_unet: the .* loss became NaN .*; try a lower learning_rate$"):
        fit(learning_rate=1e38, epochs=3)


IMAGES, MASKS = DATA.images, DATA.masks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": IMAGES / 255}, "image 0 is float64, from 0 to 1: give uint8, or as window="),
        ({"images": IMAGES[..., None]}, r"image 0 is \(16, 24, 3, 1\): give \(height, width\) or"),
        ({"images": IMAGES[:5]}, "5 images, but 12 masks: every image needs one"),
        ({"images": [], "masks": []}, "there are no images"),
        ({"images": [*IMAGES[:11], IMAGES[11, :, :, 0]]}, "some images are grey and some are RGB"),
        ({"images": [*IMAGES[:11], np.zeros((9, 9, 3), np.uint8)]}, r"mask 11 is \(16, 24\), and its image is \(9, 9"),
        ({"masks": MASKS[..., None]}, r"mask 0 is \(16, 24, 1\), and its image is .*: a mask is \(height, width\)"),
        ({"masks": MASKS / 2}, "mask 0 is float64, from 0.0 to 0.5: give the class of each pixel"),
        ({"masks": MASKS.astype(int) - 1}, "mask 0 is int64, from -1 to 0: give the class"),
        ({"masks": 255 * MASKS}, "masks hold only 0 and 255, .*: give masks > 0"),
        ({"masks": 2 * MASKS}, "the mask of '00000' holds label 2, but there are 2 classes"),
        ({"masks": 0 * MASKS}, "all 12 masks are empty"),
        ({"validation": (IMAGES, 255 * MASKS)}, "the validation masks hold only 0 and 255"),
        ({"validation": (IMAGES, MASKS[:3])}, "12 validation images, but 3 masks"),
        ({"validation": 1.5}, r"validation: give a share between 0 and 1, or a pair \(images, masks\), not 1.5"),
        ({"validation": 3}, "validation: give a share"),
        ({"groups": ["a"] * 12}, "12 images in 1 groups: too few to train and validate on"),
        ({"groups": ["a"]}, "12 images, but 12 masks and 1 groups"),
        ({"classes": "square"}, "classes: give names, at least two, each once, the background first; not 'square'"),
        ({"window": (0, 1), "images": np.where(IMAGES > 9, np.nan, 0.5)}, "image 0: some pixels are not numbers"),
        (
            {"validation": IMAGES},
            r"validation: give a share between 0 and 1, or a pair \(images, masks\), not a ndarray",
        ),
        ({"classes": (0, 1)}, "classes: give names"),
        ({"window": 3}, r"window: give \(low, high\), not 3"),
        ({"window": (0, 1, 0)}, r"window: give \(low, high\), not \(0, 1, 0\); or such a pair for each channel"),
        ({"window": [(0, 1), (2, 2)]}, r"window: give \(low, high\), not"),
        ({"window": (0, 1, 0, 2)}, "image 0: window: has 2 pairs of low,high, and the images are RGB"),
        ({"window": (1, 0)}, r"window: give \(low, high\), not \(1, 0\)"),
        ({"size": 64}, "data.size: 64 is not"),
        ({"crop": True}, r"size: with crop=True give size=\(H, W\) of the crops, such as \(256, 256\)"),
        ({"crop": True, "size": (16, 16), "letterbox": True}, "letterbox: images are not resized with crop=True"),
        ({"crop": True, "size": (16, 16), "foreground": 2}, "data.foreground: must be from 0 to 1, got 2"),
        ({"foreground": 0.5}, "foreground: is only for crop=True"),
        ({"spacing": 0.5}, "spacing: fit has no such setting"),
        ({"size": (16.5, 24)}, r"data.size: \(16.5, 24\) is not"),
        ({"size": (8, 8)}, "data.size: height and width must be from 16 to 16384 pixels"),
        ({"model": "sharp_net"}, "no model 'sharp_net'; did you mean 'sharp_unet'"),
        ({"epoch": 3}, "epoch: fit has no such setting; did you mean 'epochs'"),
        ({"folds": 3}, "folds: fit has no such setting"),
        ({"epochs": "3"}, "epochs: '3' is not <class 'int'>"),
        ({"loss": "dise"}, "loss: unknown loss 'dise': did you mean 'dice'"),
        ({"weights": "imagenet"}, "weights: there are no ImageNet weights for sharp_unet"),
    ],
)
def test_wrong_input_is_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        fit(**arguments)
    assert "\n" not in str(caught.value)


def test_images_of_several_sizes_need_one_to_train_at():
    images = [*IMAGES, np.zeros((20, 20, 3), np.uint8)]
    with pytest.raises(InputError, match=r"the images are of 2 sizes, from \(16, 24\) to \(20, 20\): give size="):
        fit(images, [*MASKS, np.zeros((20, 20), np.uint8)])


def test_one_image_is_not_taken_for_several():
    run = fit(epochs=1)
    for image in IMAGES[0], IMAGES[0, :, :, 0]:
        with pytest.raises(InputError, match=r"predict takes several images, and this is one, .*: give \[image\]"):
            run.predict(image)
