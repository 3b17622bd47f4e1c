"""Encoders from the files that torchvision, timm and Keras publish, by the names of this project's networks."""

from pathlib import Path

import numpy as np

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.models.resnet import ResNetEncoder
from sharp_unet_jax.models.segmenter import Encoder
from sharp_unet_jax.models.vgg import VGGEncoder
from sharp_unet_jax.weights import files

# Mean and standard deviation of the training images, RGB in [0, 1]. torchvision and timm normalise by ImageNet's.
# Keras's VGG subtracts a mean from BGR in [0, 255] ("caffe"); here its first kernel is reversed to RGB.
_TORCH = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
_KERAS = np.array([[123.68 / 255, 116.779 / 255, 103.939 / 255], [1 / 255] * 3], np.float32)

_TORCH_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
_CLASSIFIERS = ("fc.", "classifier.", "head.", "pre_logits.", "fc1/", "fc2/", "predictions/")


def read(path: Path, encoder: Encoder, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Read an encoder's weights and its normalisation from a published file.

    Args:
        path: any file that `files.read` reads.
        encoder: of the network, or its shapes.
        shapes: of all variables of the network by name, such as "encoder.conv1.kernel".

    Returns:
        Arrays by the network's names, "mean" and "std" among them; kernels are (h, w, in, out).

    Raises:
        InputError: for a file that cannot be read, or is of another encoder; it names the first entry at fault.
    """
    try:
        layout, tensors = files.read(path)
    except InputError as error:
        raise InputError(f"weights: {error}") from None
    if layout == "keras":
        theirs, (mean, std) = _keras_names(path, encoder), _KERAS
        tensors = {name: value[:, :, ::-1] if _sees_rgb(value) else value for name, value in tensors.items()}
    else:
        theirs, (mean, std) = {name: _torch_name(name) for name in shapes if name.startswith("encoder.")}, _TORCH
        tensors = {name: _hwio(value) for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    for name in theirs.values():
        if name not in tensors:
            raise InputError(f"weights: {path} has no {name}: it is not of this network's encoder")
    for name in tensors:
        if name not in theirs.values() and not name.startswith(_CLASSIFIERS):
            raise InputError(f"weights: {path} has {name}, which this network's encoder has not")
    return {name: tensors[their] for name, their in theirs.items()} | {"mean": mean, "std": std}


def _torch_name(name: str) -> str:
    """Return torchvision's name of an encoder's variable: modules have the same names, variables have not."""
    *parents, leaf = name.removeprefix("encoder.").split(".")
    return ".".join([*parents, _TORCH_LEAVES.get(leaf, leaf)])


def _keras_names(path: Path, encoder: Encoder) -> dict[str, str]:
    """Return the names in a Keras application's file by those of the encoder's variables."""
    if isinstance(encoder, ResNetEncoder):
        raise InputError(
            f"weights: {path} is a Keras file; Keras's ResNet-50 has a stage's stride in its first 1x1 convolution, "
            "this one in the 3x3: give the torchvision or timm file"
        )
    if not isinstance(encoder, VGGEncoder):
        raise InputError(f"weights: {path} is a Keras file, and of these only VGG is known")
    return {
        f"encoder.features.{name}.{leaf}": f"block{i}_conv{j}/{leaf}"
        for i, block in enumerate(encoder.blocks, 1)
        for j, name in enumerate(block, 1)
        for leaf in ("kernel", "bias")
    }


def _sees_rgb(kernel: np.ndarray) -> bool:
    """Tell a first convolution's kernel (h, w, 3, out): no other layer of a known encoder has 3 input channels."""
    return kernel.ndim == 4 and kernel.shape[2] == 3


def _hwio(value: np.ndarray) -> np.ndarray:
    """Transpose a kernel from PyTorch's (out, in, h, w) to (h, w, in, out)."""
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
