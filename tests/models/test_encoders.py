"""Features of VGG-16 and ResNet-50 against Keras, with weights that go through every file format."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sharp_unet_jax
from sharp_unet_jax import models
from sharp_unet_jax.weights import files
from tests.weights import weight_writers

os.environ["KERAS_BACKEND"] = "jax"
import keras

layers = keras.layers

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*HDF5 file:UserWarning"),
]

IMAGES = np.random.default_rng(1).uniform(size=(2, 64, 96, 3)).astype(np.float32)
TORCH = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)


def keras_vgg16():
    """Return VGG-16 of keras.applications, and a model with the outputs of blocks two to five and of the last pool."""
    vgg = keras.applications.VGG16(weights=None, include_top=False, input_shape=(64, 96, 3))
    names = [f"block{b}_conv{2 if b < 3 else 3}" for b in (2, 3, 4, 5)] + ["block5_pool"]
    return vgg, keras.Model(vgg.input, [vgg.get_layer(name).output for name in names])


def keras_resnet50():
    """Build ResNet-50 v1.5 with torchvision's names: keras.applications has strides in other convolutions."""

    def convolve(x, name, width, size, stride=1):
        x = layers.ZeroPadding2D(size // 2)(x) if size > 1 else x
        return layers.Conv2D(width, size, stride, use_bias=False, name=name)(x)

    def normalise(x, name):
        return layers.BatchNormalization(epsilon=1e-5, name=name)(x)

    def bottleneck(x, name, width, stride, project):
        y = layers.ReLU()(normalise(convolve(x, f"{name}.conv1", width, 1), f"{name}.bn1"))
        y = layers.ReLU()(normalise(convolve(y, f"{name}.conv2", width, 3, stride), f"{name}.bn2"))
        y = normalise(convolve(y, f"{name}.conv3", 4 * width, 1), f"{name}.bn3")
        if project:
            x = normalise(convolve(x, f"{name}.downsample.0", 4 * width, 1, stride), f"{name}.downsample.1")
        return layers.ReLU()(layers.Add()([x, y]))

    image = keras.Input((64, 96, 3))
    x = layers.ReLU()(normalise(convolve(image, "conv1", 64, 7, 2), "bn1"))
    maps = [x]
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))  # zeros never exceed a maximum after a ReLU
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True), 1):
        for block in range(count):
            stride = 2 if stage > 1 and block == 0 else 1
            x = bottleneck(x, f"layer{stage}.{block}", width, stride, project=block == 0)
        maps.append(x)
    return keras.Model(image, maps)


def shuffle_weights(model):
    """Fill every variable with random values, of a scale that neither vanishes nor explodes."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        values = [value.shape for value in layer.get_weights()]
        if isinstance(layer, layers.Conv2D):
            fan = np.prod(values[0][:3])
            layer.set_weights(
                [rng.normal(0, np.sqrt(2 / fan), values[0]), *(rng.normal(0, 0.1, s) for s in values[1:])]
            )
        elif values:
            gamma, beta, mean, variance = values
            low_high = ((0.3, 0.8), (-0.2, 0.2), (-0.2, 0.2), (0.5, 2))
            shapes = (gamma, beta, mean, variance)
            layer.set_weights([rng.uniform(*lh, s) for lh, s in zip(low_high, shapes, strict=True)])


def state_dict(model) -> dict[str, np.ndarray]:
    """Return Keras's weights with torchvision's names and layout, and those of a classifier, which must be ignored."""
    tensors = {"fc.weight": np.ones((10, 8), np.float32), "fc.bias": np.zeros(10, np.float32)}
    for layer in model.layers:
        match layer.get_weights():
            case [kernel, *bias]:
                if kernel.ndim == 4:
                    tensors[f"{layer.name}.weight"] = kernel.transpose(3, 2, 0, 1)
                    tensors |= {f"{layer.name}.bias": value for value in bias}
                    continue
                names = ("weight", "bias", "running_mean", "running_var")
                values = (kernel, *bias)
                tensors |= {f"{layer.name}.{name}": value for name, value in zip(names, values, strict=True)}
                tensors[f"{layer.name}.num_batches_tracked"] = np.array(7)
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def vgg_state_dict(vgg) -> dict[str, np.ndarray]:
    """Return `state_dict` for a VGG-16, whose layers torchvision numbers."""
    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    convolutions = [layer for layer in vgg.layers if isinstance(layer, layers.Conv2D)]
    tensors = {"classifier.0.weight": np.ones((3, 3), np.float32)}
    for number, layer in zip(numbers, convolutions, strict=True):
        kernel, bias = layer.get_weights()
        tensors[f"features.{number}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        tensors[f"features.{number}.bias"] = bias
    return tensors


def features(name, path):
    """Return the encoder's maps of IMAGES, normalised as the network normalises them."""
    model = sharp_unet_jax.build(name, rngs=nnx.Rngs(0), weights=str(path))

    @jax.jit
    def maps(x):
        return model.encoder((x - model.mean[...].reshape(1, 1, 1, 3)) / model.std[...].reshape(1, 1, 1, 3))

    return [np.asarray(m) for m in maps(jnp.asarray(IMAGES))]


def assert_close(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert np.abs(b).max() > 1e-3
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


@pytest.fixture(scope="module")
def vgg():
    vgg, reference = keras_vgg16()
    shuffle_weights(vgg)
    return vgg, [np.asarray(m) for m in jax.jit(reference)((IMAGES - TORCH[0]) / TORCH[1])]


@pytest.fixture(scope="module")
def resnet():
    reference = keras_resnet50()
    shuffle_weights(reference)
    maps = jax.jit(lambda x: reference(x, training=False))((IMAGES - TORCH[0]) / TORCH[1])
    return reference, [np.asarray(m) for m in maps]


WRITERS = {
    "zip.pth": weight_writers.write_pth,
    "legacy.pth": weight_writers.write_legacy_pth,
    "model.safetensors": weight_writers.write_safetensors,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_vgg16_features_equal_those_of_keras_through_pytorch_files(vgg, kind, tmp_path):
    WRITERS[kind](tmp_path / kind, vgg_state_dict(vgg[0]))
    assert_close(features("ternausnet16", tmp_path / kind), vgg[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_resnet50_features_equal_those_of_keras_through_pytorch_files(resnet, kind, tmp_path):
    WRITERS[kind](tmp_path / kind, state_dict(resnet[0]))
    assert_close(features("unet_resnet50", tmp_path / kind), resnet[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vgg.weights.h5", "vgg.h5"])
def test_vgg16_features_equal_those_of_keras_through_keras_files(vgg, kind, tmp_path):
    """Keras's VGG takes BGR in [0, 255] less a mean. Here RGB in [0, 1] gives the same features."""
    model, _ = vgg
    (model.save_weights if kind.endswith("weights.h5") else model.save)(tmp_path / kind)
    names = [f"block{b}_conv{2 if b < 3 else 3}" for b in (2, 3, 4, 5)] + ["block5_pool"]
    reference = keras.Model(model.input, [model.get_layer(name).output for name in names])
    caffe = keras.applications.vgg16.preprocess_input(255 * IMAGES.copy())
    assert_close(features("sharp_ternausnet16", tmp_path / kind), [np.asarray(m) for m in jax.jit(reference)(caffe)])


@pytest.mark.slow
def test_the_resnet50_of_keras_is_refused_with_the_reason(tmp_path):
    reference = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    reference.save_weights(tmp_path / "r.weights.h5")
    with pytest.raises(models.InputError, match=r"stage's stride in its first 1x1 convolution.*torchvision or timm"):
        sharp_unet_jax.build("unet_resnet50", rngs=nnx.Rngs(0), weights=str(tmp_path / "r.weights.h5"))


@pytest.mark.slow
def test_the_real_vgg16_gives_the_features_of_keras_with_the_same_weights(real_data):
    path = real_data / "weights" / "vgg16.tv_in1k.features.safetensors"
    _, reference = keras_vgg16()
    tensors = files.read(path).tensors
    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    convolutions = [layer for layer in reference.layers if isinstance(layer, layers.Conv2D)]
    for number, layer in zip(numbers, convolutions, strict=True):
        layer.set_weights(
            [tensors[f"features.{number}.weight"].transpose(2, 3, 1, 0), tensors[f"features.{number}.bias"]]
        )
    maps = jax.jit(reference)((IMAGES - TORCH[0]) / TORCH[1])
    assert_close(features("ternausnet16", path), [np.asarray(m) for m in maps])
