"""Exported files against their runs, at sizes that the export did not see, and without this project."""

import contextlib
import functools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from safetensors import safe_open
from scipy import ndimage

from sharp_unet_jax import decision, ops
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.data.resize import resize_image, restore
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import export, model_card, predict
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.training import network

pytestmark = pytest.mark.usefixtures("tiny_models")


def fresh_run(model="sharp_unet", num_classes=1, channels=3, fit="stretch", seed=0, size=(16, 24), **fields):
    """Return a run with fresh weights, as `loading.load` would, and with the scores that a model card names."""
    config = Config(data=Data(size=size, fit=fit), **fields)
    segmenter = network.build(config, model, num_classes=num_classes, channels=channels, rngs=nnx.Rngs(seed))
    params, stats = jax.device_get(network.arrays(segmenter))
    classes = ("background", "polyp") if num_classes == 1 else tuple("abcd"[:num_classes])
    graph, weights = nnx.graphdef(segmenter), {"params": params, "stats": stats}
    name = f"{model}/repeat0-fold{seed}"
    record = {"run": name, "images": {"test": 3}, "jaccard": 0.5, "dice": 0.6}
    return Trained(name, model, "squares", classes, config, channels, None, num_classes, graph, weights, record=record)


def with_data(run, **fields):
    return replace(run, config=replace(run.config, data=replace(run.config.data, **fields)))


def images(size, channels=3):
    """Return two smooth images of `size`."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [127 + 120 * np.sin((y * (c + 1) + 2 * x) / 9) for c in range(channels)]
    return np.stack([np.stack(waves, -1)] * 2).astype(np.uint8)


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(16, 24), (31, 17), (9, 40)])
def test_exported_resizing_is_that_of_training_and_back(fit, size):
    given = images(size)
    small = jax.jit(lambda x: export._resize(x, (16, 24), fit))(given.astype(np.float32))
    # Pillow rounds to 8 bits twice.
    np.testing.assert_allclose(small, [resize_image(one, (16, 24), fit) for one in given], atol=1.6)
    ours = jax.jit(lambda x: export._restore(x, size, fit))(small / 255)
    np.testing.assert_allclose(ours, [restore(np.asarray(one) / 255, size, fit) for one in small], atol=1e-5)


@pytest.mark.parametrize("convert", [export.to_stablehlo, export.to_onnx])
def test_too_little_memory_is_no_fault_of_the_network(convert, monkeypatch):
    @contextlib.contextmanager
    def fail():
        raise MemoryError
        yield

    run = fresh_run()
    monkeypatch.setattr(ops, "by_definition", fail)
    with pytest.raises(MemoryError):
        convert([run])


@pytest.mark.parametrize("num_classes", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_stablehlo_of_an_ensemble_in_a_process_without_this_project(num_classes, tmp_path):
    networks = ("sharp_unet", "unet")  # twins, with the same weights by name
    runs = [fresh_run(name, num_classes=num_classes, channels=1, seed=seed) for seed, name in enumerate(networks)]
    (tmp_path / "model").write_bytes(export.to_stablehlo(runs))
    given = images((31, 17), 1)
    np.save(tmp_path / "images.npy", given)
    code = """
import jax, numpy as np, sys
model = jax.export.deserialize(bytearray(open("model", "rb").read()))
assert model.platforms == ("cpu", "cuda", "tpu")
mask, probabilities = model.call(np.load("images.npy"))
assert not any(name.startswith(("sharp_unet_jax", "flax")) for name in sys.modules)
np.savez("out.npz", mask=mask, probabilities=probabilities)
"""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    out = np.load(tmp_path / "out.npz")
    small = np.stack([resize_image(one, (16, 24), "stretch") for one in given])
    mean = np.mean([run.probabilities(small) for run in runs], axis=0)
    expected = np.stack([restore(one, (31, 17), "stretch") for one in mean])
    np.testing.assert_allclose(out["probabilities"], expected, atol=0.01)  # Pillow rounds to 8 bits
    own = out["probabilities"]
    labels = own[..., 0] > 0.5 if num_classes == 1 else own.argmax(-1)
    np.testing.assert_array_equal(out["mask"], labels)
    assert out["mask"].dtype == np.uint8


def check_onnx(runs, size):
    """Compare the ONNX file with the converted function, at a new size and number of images; return the mask."""
    import onnxruntime

    session = onnxruntime.InferenceSession(export.to_onnx(runs))
    given = images(size, runs[0].channels)[:1]
    mask, probabilities = session.run(None, {"images": given})
    expected_mask, expected = jax.jit(export.predictor([export._in_float32(run) for run in runs]))(given)
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    np.testing.assert_array_equal(mask, expected_mask)
    assert np.ptp(probabilities) > 0
    assert session.get_modelmeta().custom_metadata_map["use"] == "research; not a medical device"
    return mask


@pytest.mark.filterwarnings("ignore")  # jax2onnx's own
@pytest.mark.slow
def test_onnx_of_an_ensemble_in_bfloat16():
    check_onnx([fresh_run(seed=seed, precision="bfloat16") for seed in (0, 1)], (31, 17))


@pytest.mark.filterwarnings("ignore")
def test_onnx_of_batch_statistics_several_classes_five_channels_and_a_learnt_kernel(normed):
    options = {"fit": "letterbox", "skip_kernel": "learnable", "skip_padding": "reflect"}
    check_onnx([fresh_run(normed, num_classes=4, channels=5, **options)], (31, 17))


@pytest.mark.filterwarnings("ignore")
def test_onnx_decides_one_class_by_the_threshold_of_its_rule():
    """The threshold lies in the widest gap between the probabilities, so rounding flips no pixel."""
    _, probabilities = jax.jit(export.predictor([fresh_run()]))(images((31, 17))[:1])
    values = np.sort(np.ravel(probabilities))[100:-100]
    widest = np.argmax(np.diff(values))
    threshold = float(values[widest : widest + 2].mean())
    mask = check_onnx([replace(fresh_run(), chosen=Rule(threshold, fill=True))], (31, 17))
    assert set(np.unique(mask)) == {0, 1}


@pytest.mark.filterwarnings("ignore")
def test_onnx_pads_the_max_pool_of_a_resnet():
    import jax2onnx
    import onnxruntime

    x = -np.random.default_rng(0).random((1, 8, 12, 2), np.float32)
    with ops.by_definition():
        pool = functools.partial(ops.max_pool, size=3)
        model = jax2onnx.to_onnx(pool, inputs=[jax.ShapeDtypeStruct(("N", 8, 12, 2), np.float32)])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (there,) = session.run(None, {session.get_inputs()[0].name: x})
    expected = nnx.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    np.testing.assert_array_equal(there, expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", ["unet_resnet18", "sharp_ternausnet16", "sharp_unet_resnet50"])
def test_onnx_of_whole_networks(model):
    check_onnx([fresh_run(model, size=(64, 96))], (70, 50))


@pytest.mark.filterwarnings("ignore")
def test_what_onnx_cannot_express_is_one_line(monkeypatch):
    monkeypatch.setattr(network, "probabilities", lambda logits: jax.pure_callback(np.asarray, logits, logits))
    with pytest.raises(InputError, match=r"cannot be converted to ONNX .*try --format=stablehlo") as error:
        export.to_onnx([fresh_run()])
    assert "\n" not in str(error.value)


def test_what_stablehlo_cannot_express_is_one_line(monkeypatch):
    monkeypatch.setattr(network, "probabilities", lambda logits: jax.pure_callback(np.asarray, logits, logits))
    with pytest.raises(InputError, match=r"sharp_unet cannot be converted to StableHLO .*callback") as error:
        export.to_stablehlo([fresh_run()])
    assert "\n" not in str(error.value)


def run_card(card, folder, monkeypatch, image=None, **names):
    """Run the Python code of a model card in `folder`, beside an image, with these variables; return its variables."""
    monkeypatch.chdir(folder)
    if image is not None:
        np.save("image.npy", image)
        if image.shape[-1] in (1, 3):
            Image.fromarray(image.squeeze()).save("image.png")
    for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        exec(code, names)
    return names


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("form", "second", "fields", "resolution", "channels", "num_classes"),
    [
        ("onnx", "sharp_normed", {}, "the images' resolution", 3, 1),
        ("stablehlo", "sharp_unet", {"scale": 0.5}, "0.5 times the images' resolution", 1, 3),
        pytest.param("onnx", "sharp_unet", {"spacing": 0.5}, "0.5 mm per pixel", 5, 4, marks=pytest.mark.slow),
    ],
)
def test_the_card_of_runs_on_crops_predicts_whole_images(
    form, second, fields, resolution, channels, num_classes, tmp_path, monkeypatch, normed
):
    """At the resolution of training: `spacing` and `scale` are applied before. The strides of two networks differ."""
    options = {"fit": "crop", "channels": channels, "num_classes": num_classes}
    networks, rule = ("sharp_unet", second), Rule(0.45, True, 200)
    fresh = (fresh_run(name, seed=seed, **options) for seed, name in enumerate(networks))
    runs = [replace(with_data(run, **fields), chosen=rule) for run in fresh]
    (tmp_path / "model").write_bytes({"onnx": export.to_onnx, "stablehlo": export.to_stablehlo}[form](runs))
    card = model_card.write(runs, form, "model", "")
    image = np.random.default_rng(0).integers(0, 256, (70, 101, channels), np.uint8)
    found = run_card(card, tmp_path, monkeypatch, image)
    plain = [with_data(run, scale=1.0, spacing=0.0) for run in runs]
    (expected,) = predict.predict(plain, [image])
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
    np.testing.assert_array_equal(found["mask"], plain[0].decide(expected))
    assert (found["mask"] != decision.labels(expected, 0.45)).any()
    seen = found["mask"] * (255 // max(num_classes - 1, 1))
    np.testing.assert_array_equal(np.asarray(Image.open("mask.png")), seen)
    assert f"(N, 16, 24, {channels}), N free: tiles at {resolution}." in card
    assert (f"Images are resized to {resolution} (bilinear) before" in card) == bool(fields)
    said = export.describe(runs)
    assert said["model"] == ", ".join(dict.fromkeys(networks))
    assert (said["fit"], said["size"], said["resolution"]) == ("crop", "16x24", resolution)


@pytest.mark.filterwarnings("ignore")
def test_the_card_of_runs_on_whole_images_reads_a_picture_and_saves_its_mask(tmp_path, monkeypatch):
    run = fresh_run()
    (tmp_path / "model").write_bytes(export.to_stablehlo([run]))
    image = np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8)
    found = run_card(model_card.write([run], "stablehlo", "model", ""), tmp_path, monkeypatch, image)
    np.testing.assert_array_equal(np.asarray(Image.open("mask.png")), 255 * np.asarray(found["mask"][0]))
    (expected,) = predict.predict(run, [image])
    np.testing.assert_allclose(found["probabilities"][0], expected, atol=0.01)  # no rounding to 8 bits


def test_the_metadata_name_no_folder_of_the_machine():
    run = with_data(fresh_run(), images="/home/me/images", masks="/home/me/masks", data_dir="/home/me/built")
    run = replace(run, config=replace(run.config, weights="/home/me/vgg16.pth", split="folds"))
    said = export.describe([run])
    assert "/home" not in json.dumps(said)
    config = json.loads(said["config"])
    assert (config["weights"], config["split"], config["data"]["size"]) == ("vgg16.pth", "folds", [16, 24])


RULES = [Rule(0.45, fill=True), Rule(0.5, largest=True), Rule(0.45, True, 30), Rule(0.5, True, 12, True)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("fit", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("num_classes", [1, 4])
def test_the_card_cleans_masks_as_the_run_does(rule, fit, num_classes, tmp_path, monkeypatch):
    run = replace(fresh_run(num_classes=num_classes, fit=fit), chosen=rule)
    card = model_card.write([run], "onnx", "model", "")
    *_, code, _ = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    noise = np.random.default_rng(0).random((3, 41, 60, num_classes), np.float32)
    probabilities = ndimage.gaussian_filter(noise, (0, 1.5, 1.5, 0)) + np.float32(0.02)
    before = decision.labels(probabilities, rule.threshold)
    expected = np.stack([run.decide(one) for one in probabilities])
    assert (expected != before).any()
    for masks, cleaned in zip(before, expected, strict=True) if fit == "crop" else [(before, expected)]:
        found = run_card(f"```python\n{code}```", tmp_path, monkeypatch, mask=masks)["mask"]
        np.testing.assert_array_equal(found, cleaned)
        assert found.dtype == np.uint8
    assert f"is: {'the ' * (num_classes > 1)}{rule.words(num_classes == 1)}." in card
    assert "They are of masks without the rule above" in card
    assert export.describe([run])["rule"] == json.dumps(rule._asdict())


@pytest.mark.parametrize("rule", [None, Rule(0.5), Rule(0.6)])
def test_the_card_has_nothing_to_clean_where_the_threshold_is_all(rule):
    run = replace(fresh_run(), chosen=rule)
    card = model_card.write([run], "onnx", "model", "")
    assert "scipy" not in card
    assert ("without the rule above" in card) == (run.rule != Rule(0.5))
    assert "of pixels above 0.5;" in card, "scores are those of the config's threshold"
    assert f"is: above {run.rule.threshold}." in card


def test_the_card_of_weights_alone_cleans_nothing():
    run = replace(fresh_run(), chosen=RULES[0])
    card = model_card.write([run], "safetensors", "model", "")
    assert "scipy" not in card
    assert "is: above 0.45, holes filled." in card


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "Scores are means over test images at 16x24, "),
        ({"score": "native"}, "Scores are means over whole test images at the resolution of their files"),
        ({"fit": "crop", "scale": 2.0}, "Scores are means over whole test images at 2 times the images' resolution"),
    ],
)
def test_the_card_says_what_images_were_scored(fields, text):
    run = with_data(fresh_run(), **fields)
    card = model_card.write([run], "safetensors", "model", "")
    assert text in card
    cut = "Cutting images at 2 times the images' resolution into overlapping tiles of 16x24"
    assert (cut in card) == ("scale" in fields)


def test_safetensors_hold_every_weight_by_name(tmp_path):
    run = fresh_run()
    (tmp_path / "weights").write_bytes(export.to_safetensors(run))
    with safe_open(tmp_path / "weights", "numpy") as file:
        kernel = file.get_tensor("decoder.head.kernel")
        assert len(list(file.keys())) == len(jax.tree.leaves(run.weights))
        assert file.metadata()["classes"] == '["background", "polyp"]'
    np.testing.assert_array_equal(kernel, run.weights["params"]["decoder"]["head"]["kernel"])


def test_too_many_runs_for_one_file(monkeypatch):
    monkeypatch.setattr(export, "_LIMIT", 100)
    with pytest.raises(InputError, match="export one run"):
        export.to_stablehlo([replace(fresh_run())])
