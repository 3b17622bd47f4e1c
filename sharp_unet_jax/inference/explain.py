"""Explanations of a trained network: Grad-CAM at each skip connection, and the encoder's maps before and after it.

Seg-Grad-CAM: Vinogradova, Dibrov & Myers, "Towards Interpretable Semantic Segmentation via Gradient-Weighted Class
Activation Mapping", AAAI 2020, after Selvaraju et al., ICCV 2017. The Sharp U-Net paper shows it in Figure 9.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sharp_unet_jax import decision, models
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference.trained import Trained, Weights
from sharp_unet_jax.models import Segmenter, segmenter
from sharp_unet_jax.training import network

Maps = list[jax.Array]


class Skip(NamedTuple):
    """An encoder's map before and after its skip connection, (h, w, C) float32 each."""

    before: np.ndarray
    after: np.ndarray


def predicted(run: Trained, image: np.ndarray) -> np.ndarray:
    """Return the labels (H, W) uint8 that the run predicts for an image (H, W, channels) uint8.

    Raises InputError for an image of another dtype or number of channels, and for one that is too small for the run's
    kernels to reflect, as all functions here do.
    """
    _check(run, image)
    (probabilities,) = run.probabilities(image[None])
    return decision.labels(probabilities, run.config.threshold)


def gradcam(run: Trained, image: np.ndarray, label: int, region: np.ndarray | None = None) -> np.ndarray:
    """Compute Grad-CAM at what each skip connection returns, in the decoder's order.

    At a map A (h, w, K) Grad-CAM is relu(sum over k of a_k A_k), resized to the image (bilinear). a_k is the mean, over
    the pixels of A_k, of the gradient of the class's logit summed over the region. In a network with one class the
    background's logit is the foreground's, negated.

    Args:
        run: of any model.
        image: (H, W, channels) uint8, of any size.
        label: an index into `run.classes`; 0 is the background.
        region: (H, W) bool; None is where the run predicts the class.

    Returns:
        (calls, H, W) float32, 0 or more, in logits. The scales of two maps can be compared only if both have the same
        size and number of channels: figures give each a scale of its own.

    Raises:
        InputError: for a region without a pixel or of another shape, another label, and an image of another dtype or
            number of channels.
    """
    _check(run, image)
    if label not in range(len(run.classes)):
        raise InputError(f"{run.name} knows the classes 0 to {len(run.classes) - 1}, not {label}")
    region = predicted(run, image) == label if region is None else np.asarray(region, bool)
    if region.shape != image.shape[:2]:
        raise InputError(f"the region is {region.shape}, and its image {image.shape[:2]}: it is (height, width)")
    if not region.any():
        raise InputError(f"{run.name}: the region is empty, or nothing in it is predicted as {run.classes[label]}")
    if run.num_classes > 1:
        direction = np.eye(run.num_classes, dtype=np.float32)[label]
    else:
        direction = np.full(1, 2 * label - 1, np.float32)
    maps = _gradcam(run, run.platform)(run.weights, image[None], region[None].astype(np.float32), direction)
    return np.concatenate([np.asarray(each) for each in maps])


def skips(run: Trained, image: np.ndarray) -> list[Skip]:
    """Return an image's maps before and after each skip connection, in the decoder's order; image (H, W, C) uint8."""
    _check(run, image)
    calls = jax.device_get(_skips(run, run.platform)(run.weights, image[None]))
    return [Skip(call.x[0].astype(np.float32), call.filtered[0].astype(np.float32)) for call in calls]


def _check(run: Trained, image: np.ndarray) -> None:
    """Refuse an image that is not as the run was trained, or too small for its kernels: raise InputError."""
    given = f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray | jax.Array) else type(image).__name__
    if not re.fullmatch(rf"\(\d+, \d+, {run.channels}\) uint8", given):
        raise InputError(f"{run.name} explains images (height, width, {run.channels}) uint8, not {given}")
    height, width = image.shape[:2]
    models.check_size(run.model, (height, width), run.config.skip_kernel, run.config.skip_padding)


def spectrum(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the power spectrum of feature maps by radial frequency.

    Each map less its mean is multiplied by a Hann window, so that its edges do not look like detail. Power is summed
    over channels. There are as many rings as the maps resolve, 24 at most.

    Args:
        maps: (h, w, C).

    Returns:
        Frequencies in cycles per pixel, up to 0.5, and the share of all power around each: both (rings,). The shares
        sum to 1 or less: the rest lies in the corners beyond 0.5.
    """
    height, width, _ = maps.shape
    window = np.hanning(height + 2)[1:-1, None, None] * np.hanning(width + 2)[None, 1:-1, None]
    centre = (maps * window).sum(axis=(0, 1)) / window.sum()
    power = np.abs(np.fft.fft2((maps - centre) * window, axes=(0, 1))) ** 2
    power = power.sum(axis=2)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    bins = max(1, min(height // 2, width // 2, 24))
    edges = np.linspace(0, 0.5, bins + 1)
    ring = np.digitize(radius, edges[1:], right=True)
    total = np.bincount(ring.ravel(), power.ravel(), bins + 1)[:bins]
    return (edges[:-1] + edges[1:]) / 2, total / max(power.sum(), np.finfo(np.float64).tiny)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["x", "filtered", "joined"], meta_fields=[])
@dataclass(frozen=True)
class _Call:
    """A call of a network's skip connections."""

    x: jax.Array  # the encoder's map, (N, h, w, C)
    filtered: jax.Array  # the same after the sharp block
    joined: jax.Array  # what the decoder goes on with, (N, h, w, D)


class _Recorder(nnx.Module):
    """A network's skip connections, which record their calls in the decoder's order.

    With `zeros`, one per call, a call returns its result plus its zero: both then have the same gradient.
    """

    def __init__(self, skip: segmenter.Skip, zeros: Maps | None):
        self.skip, self.zeros = skip, nnx.data(zeros)
        self.calls: list[_Call] = nnx.static([])

    def __call__(
        self, level: int, x: jax.Array, below: jax.Array, join: segmenter.Join = segmenter.concatenated
    ) -> jax.Array:
        filtered = self.skip(level, x, below, lambda _, x: x)
        joined = join(below, filtered)
        self.calls.append(_Call(x, filtered, joined))
        return joined if self.zeros is None else joined + self.zeros[len(self.calls) - 1]


def _network(run: Trained, weights: Weights) -> Segmenter:
    return nnx.merge(run.graph, weights["params"], weights["stats"], copy=True)


def _recorded(run: Trained, weights: Weights, images: jax.Array, zeros: Maps | None) -> tuple[jax.Array, list[_Call]]:
    """Return the logits of images (N, H, W, channels) uint8, and the calls of the skip connections."""
    model = _network(run, weights)
    model.skip = recorder = _Recorder(model.skip, zeros)
    return model(network.scaled(images)), recorder.calls


@functools.lru_cache(maxsize=4)
def _gradcam(run: Trained, platform: str) -> Callable[..., Maps]:
    """Compile Grad-CAM: weights, images (N, H, W, C) uint8, region (N, H, W), direction (num_classes,) to its maps."""

    def heat(weights: Weights, images: jax.Array, region: jax.Array, direction: jax.Array) -> Maps:
        def score(zeros: Maps | None) -> tuple[jax.Array, list[_Call]]:
            logits, calls = _recorded(run, weights, images, zeros)
            return jnp.einsum("nhwk,nhw,k->", logits, region, direction), calls

        _, shapes = jax.eval_shape(lambda: score(None))
        zeros = [jnp.zeros(call.joined.shape, call.joined.dtype) for call in shapes]
        gradients, calls = jax.grad(score, has_aux=True)(zeros)
        stride, (height, width) = run.stride, images.shape[1:3]
        padded = [-(-side // stride) * stride for side in (height, width)]
        maps = []
        for gradient, call in zip(gradients, calls, strict=True):
            each = jnp.mean(gradient.astype(jnp.float32), axis=(1, 2))
            coarse = jax.nn.relu(jnp.einsum("nk,nhwk->nhw", each, call.joined.astype(jnp.float32)))
            maps.append(jax.image.resize(coarse, (len(coarse), *padded), "bilinear")[:, :height, :width])
        return maps

    return run.compiled(heat, platform)


@functools.lru_cache(maxsize=4)
def _skips(run: Trained, platform: str) -> Callable[..., list[_Call]]:
    """Compile the recording of the skip connections' calls for weights and images (N, H, W, channels) uint8."""
    return run.compiled(lambda weights, images: _recorded(run, weights, images, None)[1], platform)
