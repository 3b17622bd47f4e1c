"""Pretrained weights: every value in its place, for any number of channels; wrong files are refused by name."""

import functools
import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sharp_unet_jax
from sharp_unet_jax import models
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import checkpoint
from sharp_unet_jax.weights import pretrained
from tests.edits import edit_record
from tests.weights import weight_writers

RNG = np.random.default_rng(0)


def abstract(name="unet_resnet18", **options):
    return built_once(name, models.MODELS[name], **options)


@functools.cache
def built_once(name, network, **options):
    """Return the shapes of a network, which tests only read; some tests give its name to another `network`."""
    return nnx.eval_shape(lambda: models.build(name, rngs=nnx.Rngs(0), **options))


@pytest.fixture(scope="module")
def tensors():
    """Return random weights of a ResNet-18 with torchvision's names and layout; shapes are those it publishes."""
    tensors = {"conv1.weight": (64, 3, 7, 7), "bn1": 64, "fc.weight": (1000, 512), "fc.bias": (1000,)}
    for stage, (width, below) in enumerate(zip((64, 128, 256, 512), (64, 64, 128, 256), strict=True), 1):
        for block in (0, 1):
            at = f"layer{stage}.{block}"
            tensors |= {f"{at}.conv1.weight": (width, width if block else below, 3, 3), f"{at}.bn1": width}
            tensors |= {f"{at}.conv2.weight": (width, width, 3, 3), f"{at}.bn2": width}
        if stage > 1:
            at = f"layer{stage}.0.downsample"
            tensors |= {f"{at}.0.weight": (width, below, 1, 1), f"{at}.1": width}
    values = {}
    for name, shape in tensors.items():
        if isinstance(shape, int):
            leaves = ("weight", "bias", "running_mean", "running_var")
            values |= {f"{name}.{leaf}": RNG.uniform(0.5, 2, shape).astype(np.float32) for leaf in leaves}
            values[f"{name}.num_batches_tracked"] = np.array(3)
        else:
            values[name] = RNG.normal(size=shape).astype(np.float32)
    return values


@pytest.fixture(scope="module")
def file(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.bin"  # the suffix tells nothing
    weight_writers.write_pth(path, tensors)
    return path


def flat(weights):
    return {".".join(map(str, path)): np.asarray(value[...]) for path, value in nnx.to_flat_state(weights.state)}


def test_every_value_lands_in_its_place(file, tensors):
    values = flat(pretrained.load(str(file), abstract()))
    encoder = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(abstract()))}
    encoder = {name for name in encoder if name.startswith("encoder.")}
    assert values.keys() == encoder | {"mean", "std"}
    kernel = tensors["layer3.0.downsample.0.weight"]
    np.testing.assert_array_equal(values["encoder.layer3.0.downsample.0.kernel"], kernel.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(values["encoder.layer4.1.bn2.scale"], tensors["layer4.1.bn2.weight"])
    np.testing.assert_array_equal(values["encoder.layer4.1.bn2.bias"], tensors["layer4.1.bn2.bias"])
    np.testing.assert_array_equal(values["encoder.bn1.mean"], tensors["bn1.running_mean"])
    np.testing.assert_array_equal(values["encoder.bn1.var"], tensors["bn1.running_var"])
    np.testing.assert_allclose(values["mean"], [0.485, 0.456, 0.406])
    np.testing.assert_allclose(values["std"], [0.229, 0.224, 0.225])


def test_grey_images_get_the_sum_over_rgb(file, tensors):
    values = flat(pretrained.load(str(file), abstract(in_channels=1)))
    expected = tensors["conv1.weight"].sum(axis=1, keepdims=True).transpose(2, 3, 1, 0)
    np.testing.assert_allclose(values["encoder.conv1.kernel"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values["mean"], [np.mean([0.485, 0.456, 0.406])], rtol=1e-6)
    np.testing.assert_allclose(values["std"], [np.mean([0.229, 0.224, 0.225])], rtol=1e-6)


@pytest.mark.parametrize("channels", [2, 4, 7])
def test_other_channels_repeat_and_rescale(file, tensors, channels):
    values = flat(pretrained.load(str(file), abstract(in_channels=channels)))
    kernel = values["encoder.conv1.kernel"]
    for channel in range(channels):
        theirs = tensors["conv1.weight"][:, channel % 3].transpose(1, 2, 0)
        np.testing.assert_allclose(kernel[:, :, channel], theirs * 3 / channels, rtol=1e-5)
    np.testing.assert_allclose(values["mean"], np.resize([0.485, 0.456, 0.406], channels))


def test_a_built_network_has_pretrained_weights_and_fresh_ones_elsewhere(file, tensors):
    @jax.jit  # which draws nothing but this kernel
    def fresh():
        return models.build("sharp_unet_resnet18", rngs=nnx.Rngs(4)).decoder.blocks[0].conv1.kernel[...]

    model = sharp_unet_jax.build("sharp_unet_resnet18", rngs=nnx.Rngs(4), weights=str(file))
    np.testing.assert_array_equal(model.encoder.conv1.kernel[...], tensors["conv1.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_allclose(model.decoder.blocks[0].conv1.kernel[...], fresh(), rtol=1e-6)
    assert isinstance(model.encoder.conv1.kernel[...], jax.Array)


def test_the_digest_is_of_the_values_and_not_of_the_file(file, tensors, tmp_path):
    weight_writers.write_safetensors(tmp_path / "same", tensors)
    weight_writers.write_pth(tmp_path / "other", tensors | {"bn1.bias": tensors["bn1.bias"] + 1})
    one, same, other = (
        pretrained.load(str(p), abstract()).sha256 for p in (file, tmp_path / "same", tmp_path / "other")
    )
    assert one == same != other


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: without(t, "layer2.0.bn1.running_var"), "has no layer2.0.bn1.running_var: it is not of this"),
        (lambda t: t | {"layer5.0.conv1.weight": t["bn1.bias"]}, "has layer5.0.conv1.weight, which this network's"),
        (lambda t: t | {"bn1.bias": t["bn1.bias"][:60]}, r"encoder.bn1.bias is \(60,\), this network's is \(64,\)"),
        (
            lambda t: t | {"layer1.0.conv1.weight": t["layer1.0.conv1.weight"][:, :3]},
            r"encoder.layer1.0.conv1.kernel is \(3, 3, 3, 64\), this network's is \(3, 3, 64, 64\)",
        ),
        (lambda t: t | {"conv1.weight": t["conv1.weight"][:, :, :5, :5]}, r"conv1.kernel is \(5, 5, 3, 64\)"),
        (lambda t: t | {"bn1.bias": t["bn1.bias"] + np.nan}, "encoder.bn1.bias holds numbers that are none"),
    ],
)
def test_the_first_name_at_fault_is_named(tensors, tmp_path, change, message):
    path = tmp_path / "w.pth"
    weight_writers.write_pth(path, change(tensors))
    with pytest.raises(InputError, match=rf"^weights: .*{message}"):
        pretrained.load(str(path), abstract())


def test_another_encoders_file_is_refused(file):
    with pytest.raises(InputError, match=r"weights: .* has no features.0.bias"):
        pretrained.load(str(file), abstract("ternausnet16"))
    with pytest.raises(InputError, match=r"weights: .* has no "):
        pretrained.load(str(file), abstract("unet_resnet34"))
    with pytest.raises(InputError, match=r"weights: .* has no "):
        pretrained.load(str(file), abstract("unet"))


def test_a_file_that_cannot_be_read_is_refused_by_its_path(tmp_path):
    (tmp_path / "page.html").write_text("<html>404</html>")
    with pytest.raises(InputError, match=r"^weights: .*page.html: not a weight file of a known format"):
        pretrained.load(str(tmp_path / "page.html"), abstract())
    with pytest.raises(InputError, match=r"^weights: .*nowhere"):
        pretrained.load(str(tmp_path / "nowhere"), abstract())
    with pytest.raises(InputError, match=r"^weights: .* is no run of this project; name one"):
        pretrained.load(str(tmp_path), abstract())


def test_a_network_without_imagenet_weights_says_so():
    with pytest.raises(
        InputError, match=r"no ImageNet weights for unet; .* some for ternausnet16, sharp_ternausnet16, "
    ):
        pretrained.for_model("unet", "imagenet", abstract("unet"))


def test_imagenet_asks_the_hub_for_the_networks_own(file, monkeypatch):
    asked = []
    monkeypatch.setattr(pretrained.hf_hub, "fetch", lambda repo: asked.append(repo) or file)
    pretrained.for_model("sharp_unet_resnet18", "imagenet", abstract())
    assert asked == ["timm/resnet18.tv_in1k"]


@pytest.fixture
def saved_run(tmp_path):
    """Save a network with random values in a run's folder; return the folder and the network."""
    model = models.build("unet", rngs=nnx.Rngs(9), num_classes=2)
    model.mean[...] = jnp.array([0.1, 0.2, 0.3])
    params, stats = (nnx.to_pure_dict(nnx.state(model, kind)) for kind in (nnx.Param, nnx.Not(nnx.Param)))
    checkpoint.save(tmp_path / "run" / "checkpoint", {"params": params, "stats": stats})
    return tmp_path / "run", model


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("inner", ["", "checkpoint"])
def test_a_run_gives_the_whole_network(saved_run, inner):
    run, trained = saved_run
    model = sharp_unet_jax.build("sharp_unet", rngs=nnx.Rngs(0), num_classes=2, weights=str(run / inner))
    for ours, theirs in zip(jax.tree.leaves(nnx.state(model)), jax.tree.leaves(nnx.state(trained)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_run_is_refused(saved_run):
    run, _ = saved_run
    data = max((run / "checkpoint").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(InputError, match=r"^weights: the checkpoint in .*run is damaged: [^\n]+$"):
        sharp_unet_jax.build("unet", rngs=nnx.Rngs(0), num_classes=2, weights=str(run))
    gc.collect()  # Orbax's other reads fail without being awaited: they are collected here, not in the next test


@pytest.mark.usefixtures("tiny_models")
def test_a_run_whose_weights_are_not_those_recorded_is_refused(done):
    """Orbax keeps no checksum of arrays."""
    run = done / "runs/unet/repeat0-fold0"
    sharp_unet_jax.build("unet", rngs=nnx.Rngs(0), weights=str(run))
    edit_record(run / "record.json", weights_sha256="0" * 64)
    for path in (run, run / "checkpoint"):
        with pytest.raises(InputError, match=r"checkpoint in .* is damaged: its bytes are not those recorded"):
            sharp_unet_jax.build("unet", rngs=nnx.Rngs(0), weights=str(path))


@pytest.mark.usefixtures("tiny_models")
def test_too_little_memory_for_a_run_is_no_damage(done, monkeypatch):
    def load(path):
        raise MemoryError

    monkeypatch.setattr(checkpoint, "load", load)
    with pytest.raises(MemoryError):
        sharp_unet_jax.build("unet", rngs=nnx.Rngs(0), weights=str(done / "runs/unet/repeat0-fold0"))


@pytest.mark.usefixtures("tiny_models")
def test_a_runs_head_for_other_classes_is_left_out(saved_run):
    run, trained = saved_run
    model, fresh = (sharp_unet_jax.build("unet", rngs=nnx.Rngs(0), num_classes=3, weights=w) for w in (str(run), ""))
    np.testing.assert_array_equal(model.decoder.head.kernel[...], fresh.decoder.head.kernel[...])
    np.testing.assert_array_equal(
        model.decoder.blocks[0].first.kernel[...], trained.decoder.blocks[0].first.kernel[...]
    )


@pytest.mark.usefixtures("tiny_models")
def test_a_run_of_another_network_is_refused(saved_run):
    run, _ = saved_run
    with pytest.raises(InputError, match=r"weights: .* has no decoder.blocks.0.bn1.bias: it is of another network"):
        pretrained.load(str(run), abstract())
    with pytest.raises(InputError, match=r"weights: .* has no skip.kernels.0"):
        pretrained.load(str(run), abstract("sharp_unet", skip_kernel="learnable", num_classes=2))
