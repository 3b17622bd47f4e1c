"""What a trained network looks at: Grad-CAM at each concatenation of its decoder, and its skips, sharpened or not.

Seg-Grad-CAM: Vinogradova, Dibrov & Myers, "Towards Interpretable Semantic Segmentation via Gradient-Weighted Class
Activation Mapping", AAAI 2020, after Selvaraju et al., ICCV 2017. The paper shows it in Figure 9.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference.trained import Trained, Weights
from sharp_unet_jax.models import Segmenter
from sharp_unet_jax.training import compile, network

Maps = list[jax.Array]


class Skip(NamedTuple):
    """An encoder's map as the encoder made it, and as it reaches the decoder: (h, w, C) float32 each."""

    before: np.ndarray
    after: np.ndarray


def predicted(run: Trained, image: np.ndarray) -> np.ndarray:
    """The labels (H, W) uint8 that the run gives to an image (H, W, channels) uint8, at its config's threshold."""
    (probabilities,) = run.probabilities(image[None])
    if run.num_classes == 1:
        return (probabilities[..., 0] > run.config.threshold).astype(np.uint8)
    return probabilities.argmax(axis=-1).astype(np.uint8)


def gradcam(run: Trained, image: np.ndarray, label: int, region: np.ndarray | None = None) -> np.ndarray:
    """What in each concatenation of the decoder, first (coarsest) to last, speaks for a class in a region.

    Of a concatenation A (h, w, K), the up-sampled maps and the skip's: relu(sum over k of a_k A_k), where a_k is the
    mean over A_k's pixels of the gradient of the region's sum of the class's logit. Brought to the image's size
    (bilinear). With one output the background's logit is that of the foreground, negated.

    Args:
      run: any model's.
      image: (H, W, channels) uint8, of any size.
      label: an index in run.classes, background included.
      region: (H, W) bool; None is where the run predicts the class. InputError if it is empty.

    Returns (levels, H, W) float32 from 0 up, in logits: levels of one run can be compared by their scale only if
    their maps are of the same size and number, so pictures give each level a scale of its own.
    """
    region = predicted(run, image) == label if region is None else region
    if not region.any():
        raise InputError(f"{run.name}: the region is empty, or nothing in it is predicted as {run.classes[label]}")
    if run.num_classes > 1:
        direction = np.eye(run.num_classes, dtype=np.float32)[label]
    else:
        direction = np.full(1, 2 * label - 1, np.float32)
    maps = _gradcam(run)(run.weights, image[None], region[None].astype(np.float32), direction)
    return np.concatenate([np.asarray(each) for each in maps])


def skips(run: Trained, image: np.ndarray) -> list[Skip]:
    """The skip connections of an image (H, W, channels) uint8, coarsest first: what a sharp block makes of its map."""
    maps = zip(*_skips(run)(run.weights, image[None]), strict=True)
    return [Skip(*(np.asarray(each[0], np.float32) for each in pair)) for pair in maps]


def spectrum(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Radial frequencies in cycles a pixel, up to 0.5, and the share of a map's power that lies around each, (rings,).

    Maps (h, w, C), each less its mean and under a Hann window, so that their edges do not look like detail; power is
    summed over C. There are as many rings as the map resolves, at most 24. The shares sum to at most 1, the rest being
    in the corners beyond 0.5.
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


class _Tap(nnx.Module):
    """In front of a decoder's block: keeps the concatenation that the block is given, less nothing but a zero."""

    def __init__(self, block: Callable[..., jax.Array], zero: jax.Array | None, seen: Maps):
        self.block, self.zero, self.seen = block, nnx.data(zero), nnx.static(seen)

    def __call__(self, x: jax.Array, *rest: Any) -> jax.Array:
        self.seen.append(x)
        return self.block(x if self.zero is None else x + self.zero, *rest)


def _network(run: Trained, weights: Weights) -> Segmenter:
    return nnx.merge(run.graph, weights["params"], weights["stats"], copy=True)


def _precise(run: Trained, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled as training was."""
    return run.compiled(
        jax.default_matmul_precision(compile.matmul_precision(run.config, jax.default_backend()))(function)
    )


def _strides(segmenter: Segmenter) -> list[int]:
    """How many times smaller than the (padded) image the skips are, coarsest first."""
    return [segmenter.encoder.first_stride * 2**level for level in range(len(segmenter.encoder.widths) - 1)][::-1]


@functools.lru_cache(maxsize=4)
def _gradcam(run: Trained) -> Callable[..., Maps]:
    def tapped(weights: Weights, images: jax.Array, zeros: Maps | None) -> tuple[jax.Array, Maps]:
        """Logits and concatenations; the gradient by `zeros` is that by the concatenations."""
        segmenter = _network(run, weights)
        seen: Maps = []
        blocks = cast(Any, segmenter.decoder).blocks
        for level in range(len(_strides(segmenter))):
            blocks[level] = _Tap(blocks[level], None if zeros is None else zeros[level], seen)
        return segmenter(network.scaled(images)), seen

    def maps(weights: Weights, images: jax.Array, region: jax.Array, direction: jax.Array) -> Maps:
        _, shapes = jax.eval_shape(functools.partial(tapped, zeros=None), weights, images)

        def spoken(zeros: Maps) -> tuple[jax.Array, Maps]:
            logits, seen = tapped(weights, images, zeros)
            return jnp.einsum("nhwk,nhw,k->", logits, region, direction), seen

        gradients, seen = jax.grad(spoken, has_aux=True)([jnp.zeros(x.shape, x.dtype) for x in shapes])
        height, width = images.shape[1:3]
        found = []
        for gradient, x, stride in zip(gradients, seen, _strides(_network(run, weights)), strict=True):
            each = jnp.mean(gradient.astype(jnp.float32), axis=(1, 2))
            heat = jax.nn.relu(jnp.einsum("nk,nhwk->nhw", each, x.astype(jnp.float32)))
            whole = (len(heat), heat.shape[1] * stride, heat.shape[2] * stride)
            found.append(jax.image.resize(heat, whole, "bilinear")[:, :height, :width])
        return found

    return _precise(run, maps)


@functools.lru_cache(maxsize=4)
def _skips(run: Trained) -> Callable[..., tuple[Maps, Maps]]:
    def before_and_after(weights: Weights, images: jax.Array) -> tuple[Maps, Maps]:
        segmenter = _network(run, weights)
        before: Maps = []
        after: Maps = []
        segmenter.skip = _Seen(segmenter.skip, before, after)
        segmenter(network.scaled(images))
        return before, after

    return _precise(run, before_and_after)


class _Seen(nnx.Module):
    """In the place of a network's skip connections: keeps the maps, before and after, in the decoder's order."""

    def __init__(self, skip: Callable[[int, jax.Array, jax.Array], jax.Array], before: Maps, after: Maps):
        self.skip, self.before, self.after = skip, nnx.static(before), nnx.static(after)

    def __call__(self, level: int, x: jax.Array, below: jax.Array) -> jax.Array:
        joined = self.skip(level, x, below)
        self.before.append(x)
        self.after.append(joined[..., below.shape[-1] :])
        return joined
