"""Networks that start from pretrained weights: from ImageNet, from a public file, or from a run of this project."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sharp_unet_jax import models
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.models.segmenter import Segmenter
from sharp_unet_jax.weights import encoders, runs
from sharp_unet_jax.weights import hub as hf_hub


class Weights(NamedTuple):
    """Weights for a network, or for part of it."""

    state: nnx.State  # NumPy arrays; `nnx.update(network, state)` puts them in
    sha256: str  # of their names, shapes and values, whatever file they came from


def build(name: str, *, weights: str = "", rngs: nnx.Rngs, **options: Any) -> Segmenter:
    """Build the network `name` with fresh or pretrained weights.

    >>> import sharp_unet_jax
    >>> model = sharp_unet_jax.build("sharp_unet", num_classes=1, in_channels=3, rngs=nnx.Rngs(0))
    >>> model(jnp.zeros((2, 32, 48, 3))).shape
    (2, 32, 48, 1)

    Args:
        name: a key of `models.MODELS`.
        weights: "" for fresh weights, "imagenet", or a path: see `load`.
        rngs: initialise the weights that are not pretrained.
        options: the other arguments of `models.build`.

    Raises:
        InputError: for an unknown name, or weights that do not fit.
    """
    network = models.build(name, rngs=rngs, **options)
    if weights:
        nnx.update(network, jax.tree.map(jnp.asarray, for_model(name, weights, network).state))
    return network


def for_model(name: str, source: str, network: Segmenter) -> Weights:
    """Load weights for the network `name`, see `load`: "imagenet" are those of its encoder."""
    check(name, source)
    return load(source, network, hub=models.MODELS[name].hub)


def check(name: str, source: str) -> None:
    """Refuse "imagenet" for a network that has no such weights. Raises InputError."""
    if source == "imagenet" and not models.MODELS[name].hub:
        having = ", ".join(each for each, network in models.MODELS.items() if network.hub)
        raise InputError(
            f"weights: there are no ImageNet weights for {name}; train it in a sweep without weights. There are some "
            f"for {having}"
        )


def check_fits(name: str, source: str, network_of: Callable[[int], Segmenter]) -> None:
    """Refuse weights that `for_model` would refuse whatever the images are; fetch those of ImageNet.

    Args:
        name: a key of `models.MODELS`.
        source: as for `load`.
        network_of: the network, or its shapes, for images of so many channels.

    Raises:
        InputError: as `load`.
    """
    check(name, source)
    path, found = _found(source, network_of(3), models.MODELS[name].hub)
    shapes = _shapes(network_of(len(found["mean"])))  # the channels of the weights themselves
    for variable, value in found.items():
        _fitted(value, shapes, variable, path)


def load(source: str, network: Segmenter, *, hub: str = "") -> Weights:
    """Load weights for `network`.

    Args:
        source: "imagenet", a file or a folder, told by its content:

            - "imagenet": from `hub`, a timm repository on the Hugging Face hub, in its cache or fetched;
            - a file of torchvision or timm (`.pth`, read without running its pickle, or `.safetensors`), or of a Keras
              application (`.h5`, `.weights.h5`; VGG only): the encoder's weights, with the ImageNet normalisation;
            - the folder of a run of this project, or its checkpoint: the whole network with its normalisation. Heads
              for another number of classes are left out.
        network: the network, or its shapes (`nnx.eval_shape`). For grey images the first kernel is summed over RGB. For
            another number of channels than 3, the kernel's channels are repeated and scaled to the same sum.
        hub: see "imagenet".

    Raises:
        InputError: for weights that cannot be read or do not fit; it names the first entry at fault.
    """
    path, found = _found(source, network, hub)
    variables = dict(nnx.to_flat_state(nnx.state(network)))
    names = {key: ".".join(map(str, key)) for key in variables}
    shapes = _shapes(network)
    values = {name: _fitted(value, shapes, name, path) for name, value in sorted(found.items())}
    digest = hashlib.sha256()
    for name, value in values.items():
        digest.update(f"{name} {value.shape} ".encode() + value.tobytes())
    state = [(key, variable.replace(values[names[key]])) for key, variable in variables.items() if names[key] in values]
    return Weights(nnx.from_flat_state(state), digest.hexdigest())


def _found(source: str, network: Segmenter, hub: str) -> tuple[Path, dict[str, np.ndarray]]:
    """Return the file or folder that `source` stands for, and its arrays by the network's names."""
    path = hf_hub.fetch(hub) if source == "imagenet" else Path(os.path.expanduser(source))
    if path.is_dir():
        return path, runs.read(path, network.decoder.heads, _shapes(network))
    return path, encoders.read(path, network.encoder, _shapes(network))


def _shapes(network: Segmenter) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all variables of a network by name, such as "encoder.conv1.kernel"."""
    variables = nnx.to_flat_state(nnx.state(network))
    return {".".join(map(str, key)): variable.shape for key, variable in variables}


def _fitted(value: np.ndarray, shapes: dict[str, tuple[int, ...]], name: str, path: Path) -> np.ndarray:
    """Adapt `value` to the network's number of input channels; InputError if its shape is still another."""
    shape, (channels,) = shapes[name], shapes["mean"]
    if value.shape != shape:
        if value.ndim == 4 and value.shape[2] == 3 and shape[2:3] == (channels,):  # the first kernel
            grey = np.sum(value, axis=2, keepdims=True)
            value = grey if channels == 1 else _repeated(value, 2, channels) * (3 / channels)
        elif name in ("mean", "std"):
            value = np.mean(value, axis=0, keepdims=True) if channels == 1 else _repeated(value, 0, channels)
    if value.shape != shape:
        raise InputError(f"weights: {path}: {name} is {value.shape}, this network's is {shape}")
    if not np.isfinite(value).all():
        raise InputError(f"weights: {path}: {name} holds numbers that are none (NaN or infinite)")
    return np.ascontiguousarray(value, np.float32)


def _repeated(value: np.ndarray, axis: int, channels: int) -> np.ndarray:
    return np.take(value, np.arange(channels) % value.shape[axis], axis=axis)
