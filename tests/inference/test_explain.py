"""Grad-CAM on networks with a known answer, and against a decoder that is written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import ndimage

from sharp_unet_jax import models
from sharp_unet_jax.config import Config
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import explain
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.training import network
from tests.conftest import shrink_models
from tests.inference.test_export import fresh_run

LAPLACIAN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)


def as_run(segmenter, model, *, num_classes=1, channels=3):
    """Wrap a network as if a run had trained it."""
    params, stats = network.arrays(segmenter)
    weights = {"params": params, "stats": stats}
    classes = ("background", "object", "other")[: max(num_classes, 2)]
    return Trained(
        model, model, "made", classes, Config(), channels, None, num_classes, nnx.graphdef(segmenter), weights
    )


def fresh(model, seed=0, **options):
    segmenter = models.build(model, num_classes=options.get("num_classes", 1), rngs=nnx.Rngs(seed))
    return as_run(segmenter, model, **options)


def transparent(model, head):
    """Build a U-Net of two levels: its logit is head . relu(red, green), of the two channels behind its one skip."""

    def identity(block, into):
        for convolution, size in ((block.first, into), (block.second, 2)):
            kernel = np.zeros(convolution.kernel.shape, np.float32)
            kernel[1, 1, size - 2 : size, :2] = np.eye(2)
            convolution.kernel[...] = jnp.asarray(kernel)

    segmenter = models.build(model, num_classes=1, in_channels=2, rngs=nnx.Rngs(0))
    identity(segmenter.encoder.blocks[0], 2)
    identity(segmenter.decoder.blocks[0], 4)  # the skip is the last part of a concatenation
    segmenter.decoder.head.kernel[...] = jnp.asarray(head, jnp.float32).reshape(1, 1, 2, 1)
    return as_run(segmenter, model, channels=2)


@pytest.fixture
def two_wide(monkeypatch):
    shrink_models(monkeypatch, (2, 3))


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(1, 256, (13, 18, 2), np.uint8)  # the network pads its height to 14


@pytest.mark.parametrize("model", ["unet", "sharp_unet"])
def test_a_network_with_a_known_answer_gives_it(two_wide, model, image):
    run = transparent(model, (2, -1))
    region = np.zeros((13, 18), bool)
    region[3:9, 4:15] = True
    skip = np.pad(image, ((0, 1), (0, 0), (0, 0)), mode="edge") / 255.0
    if model == "sharp_unet":
        skip = np.stack([ndimage.convolve(skip[..., c], LAPLACIAN, mode="constant") for c in range(2)], axis=-1)
    # The logit is 2 relu(red) - relu(green): its gradient by a channel is the head's weight where the channel is above
    # 0.
    passes = [(skip[:13, :, c] > 0)[region].sum() / skip[..., c].size for c in range(2)]
    expected = np.maximum(2 * passes[0] * skip[..., 0] - passes[1] * skip[..., 1], 0)[:13]
    (found,) = explain.gradcam(run, image, 1, region)
    assert expected.max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    (found,) = explain.gradcam(run, image, 0, region)
    expected = np.maximum(passes[1] * skip[..., 1] - 2 * passes[0] * skip[..., 0], 0)[:13]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_default_region_is_where_the_class_is_predicted(two_wide, image):
    run = transparent("unet", (2, -1))
    labels = explain.predicted(run, image)
    np.testing.assert_array_equal(labels, 2.0 * image[..., 0] > image[..., 1])
    for label in (0, 1):
        given = explain.gradcam(run, image, label, labels == label)
        np.testing.assert_array_equal(explain.gradcam(run, image, label), given)
    with pytest.raises(InputError, match="nothing in it is predicted as object"):
        explain.gradcam(transparent("unet", (-1, -1)), image, 1)


def by_hand(run, image, region, label):
    """Compute Grad-CAM at each skip, at its own size, with the decoder written out."""
    network = run.network
    *features, deepest = network.encoder(jnp.asarray(image[None] / np.float32(255)))
    decoder, levels = network.decoder, len(features)
    ups = getattr(decoder, "ups", [lambda x: jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)] * len(decoder.blocks))
    weight = () if hasattr(decoder, "ups") else (None,)

    def concatenation(index, x):
        below = ups[index](x)
        level = levels - 1 - index
        return network.skip(level, features[level], below) if level >= 0 else below

    def logit(index, joined):
        """Return the class's logit, summed over the region, from the input of the block `index`."""
        x = decoder.blocks[index](joined, *weight)
        for after in range(index + 1, len(decoder.blocks)):
            x = decoder.blocks[after](concatenation(after, x), *weight)
        return jnp.sum(decoder.head(x)[0, ..., label] * region)

    maps, x = [], deepest
    for index in range(levels):
        joined = concatenation(index, x)
        gradient = np.asarray(jax.grad(lambda joined, index=index: logit(index, joined))(joined))[0]
        maps.append(np.maximum((np.asarray(joined)[0] * gradient.mean(axis=(0, 1))).sum(axis=-1), 0))
        x = decoder.blocks[index](joined, *weight)
    return maps


@pytest.mark.parametrize(
    "model",
    [pytest.param("unet", marks=pytest.mark.slow), "sharp_unet", pytest.param("sharp_normed", marks=pytest.mark.slow)],
)
def test_every_skip_gives_what_the_written_out_decoder_gives(monkeypatch, normed, model):
    shrink_models(monkeypatch, (2, 3, 4))
    run = fresh(model, num_classes=3)
    image = np.random.default_rng(1).integers(0, 256, (16, 8, 3), np.uint8)
    region = np.zeros((16, 8), bool)
    region[2:7, 3:6] = True
    expected = by_hand(run, image, region.astype(np.float32), 2)
    found = explain.gradcam(run, image, 2, region)
    assert len(found) == len(expected) == (1 if model == normed else 2)
    assert max(heat.max() for heat in expected) > 1e-4
    for heat, native in zip(found, expected, strict=True):
        factor = 16 // len(native)
        whole = ndimage.zoom(native, factor, order=1, mode="nearest", grid_mode=True)
        np.testing.assert_allclose(heat, whole, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("model", ["sharp_unet", "ternausnet16", "sharp_unet_resnet18"])
def test_each_network_of_the_paper_has_four_skips(model):
    run = nnx.eval_shape(lambda: models.build(model, rngs=nnx.Rngs(0)))
    params, stats = network.arrays(run)
    shell = Trained(
        model, model, "", ("a", "b"), Config(), 3, None, 1, nnx.graphdef(run), {"params": params, "stats": stats}
    )
    images, region = jax.ShapeDtypeStruct((1, 45, 64, 3), np.uint8), jax.ShapeDtypeStruct((1, 45, 64), np.float32)
    maps = jax.eval_shape(explain._gradcam(shell, "cpu"), shell.weights, images, region, np.ones(1, np.float32))
    assert [heat.shape for heat in maps] == [(1, 45, 64)] * 4


def test_skips_are_the_encoders_maps_and_their_laplacians(two_wide, image):
    for model in ("unet", "sharp_unet"):
        (skip,) = explain.skips(transparent(model, (1, 1)), image)
        padded = np.pad(image, ((0, 1), (0, 0), (0, 0)), mode="edge") / 255.0
        np.testing.assert_allclose(skip.before, padded, rtol=1e-6)
        laplacian = [ndimage.convolve(padded[..., c], LAPLACIAN, mode="constant") for c in range(2)]
        expected = np.stack(laplacian, axis=-1) if model == "sharp_unet" else padded
        np.testing.assert_allclose(skip.after, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cycles", [0.1, 0.3])
def test_a_wave_has_its_power_at_its_frequency(cycles):
    wave = np.cos(2 * np.pi * cycles * np.arange(80))[None, :, None] * np.ones((64, 1, 1)) + 5
    frequency, share = explain.spectrum(wave)
    assert abs(frequency[share.argmax()] - cycles) < 0.02
    assert share[np.abs(frequency - cycles) < 0.04].sum() > 0.99


def test_the_spectrum_of_filtered_white_noise_is_the_kernels_transfer_function():
    noise = np.random.default_rng(0).normal(size=(64, 64, 40))
    after = np.stack([ndimage.convolve(noise[..., c], LAPLACIAN, mode="wrap") for c in range(40)], axis=-1)
    u, v = np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None]
    gain = (9 - (1 + 2 * np.cos(2 * np.pi * u)) * (1 + 2 * np.cos(2 * np.pi * v))) ** 2
    frequency, share = explain.spectrum(after)
    ring = [(np.abs(np.hypot(u, v) - f) < 0.5 / 48) for f in frequency]
    expected = np.array([gain[here].sum() for here in ring]) / gain.sum()
    np.testing.assert_allclose(share[2:-1], expected[2:-1], rtol=0.12, atol=2e-3)
    assert explain.spectrum(np.full((8, 8, 2), 3.0))[1].sum() == 0


def test_an_image_too_small_to_reflect_is_refused(tiny_models):
    run = fresh_run("sharp_unet", size=(64, 64), skip_kernel="laplacian_of_gaussian", skip_padding="reflect")
    image = np.zeros((run.stride, run.stride, 3), np.uint8)
    for explained in (explain.predicted, explain.skips, lambda *given: explain.gradcam(*given, 1, image[..., 0] == 0)):
        with pytest.raises(InputError, match="too few to reflect"):
            explained(run, image)


def test_what_a_run_was_not_trained_on_is_refused(two_wide, image):
    run = transparent("sharp_unet", (2, -1))
    for wrong in (image / 255, image[..., :1], image[..., 0], image.tolist()):
        for function in (explain.predicted, explain.skips, lambda run, image: explain.gradcam(run, image, 1)):
            with pytest.raises(InputError, match=r"explains images \(height, width, 2\) uint8, not"):
                function(run, wrong)
    for label in (-1, 2):
        with pytest.raises(InputError, match=f"knows the classes 0 to 1, not {label}"):
            explain.gradcam(run, image, label)
    everywhere = np.ones(image.shape[:2], bool)
    with pytest.raises(InputError, match=r"the region is \(18, 13\), and its image \(13, 18\)"):
        explain.gradcam(run, image, 1, everywhere.T)
    np.testing.assert_array_equal(
        explain.gradcam(run, image, 1, np.uint8(255) * everywhere), explain.gradcam(run, image, 1, everywhere)
    )
