"""Twins of this project's networks in PyTorch, by name, and the proof that they are the same.

A twin takes images (N, 3, H, W) whose height and width the network's stride divides, and returns logits (N, 1, H, W).
Its layers have the names of ours.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch_attention_unet
import torch_kiunet
import torch_multiresunet
import torch_resnet50
import torch_unet
import torch_unetpp
from torch import nn

# By the name that twins share: from `sharp` to the network with fresh weights.
TWINS: dict[str, Callable[[bool], nn.Module]] = {
    "attention_unet": torch_attention_unet.build,
    "kiunet": torch_kiunet.KiUNet,
    "multiresunet": torch_multiresunet.build,
    "unet": torch_unet.build,
    "unet_resnet50": torch_resnet50.build,
    "unetpp": torch_unetpp.UNetPlusPlus,
}
LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def build(name: str) -> nn.Module:
    """Build the twin of our network `name`, with fresh weights."""
    plain = name.removeprefix("sharp_")
    if plain not in TWINS:
        raise ValueError(f"{name} has no twin in PyTorch here; known, also with sharp_ before it: {', '.join(TWINS)}")
    return TWINS[plain](plain != name)


def agree(name: str, model: nn.Module, twin: Path) -> float:
    """Copy our weights into `model` and return the largest difference of its logits from ours, as a share.

    Args:
        name: of our network.
        model: its twin from `build`, on the CPU.
        twin: a file of `sides.twin`: our weights by name, `image` (N, H, W, 3) and our `logits` (N, H, W, 1).

    Raises:
        RuntimeError: for weights that do not match one to one, or logits that differ by more than 1e-4 of the largest.
    """
    arrays = dict(np.load(twin))
    image, logits = arrays.pop("image"), arrays.pop("logits")
    if np.any(arrays.pop("mean")) or np.any(arrays.pop("std") != 1):
        raise RuntimeError(f"{name} normalises its images, and its twin does not")
    model.load_state_dict(_named(model, arrays))
    with torch.no_grad():
        theirs = model.eval()(torch.from_numpy(image).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    share = float(np.abs(theirs - logits).max() / np.abs(logits).max())
    if not share <= 1e-4:
        raise RuntimeError(f"{name}: the twins' logits differ by {share:.1e} of the largest; they are two networks")
    return share


def _named(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Return our weights with PyTorch's names of a layer's weights, and in the layouts of the layers of `model`."""
    modules, state = dict(model.named_modules()), {}
    for name, value in arrays.items():
        parent, _, leaf = name.rpartition(".")
        if value.ndim == 4:
            transposed = isinstance(modules.get(parent), nn.ConvTranspose2d)
            value = value.transpose(2, 3, 0, 1) if transposed else value.transpose(3, 2, 0, 1)
        state[f"{parent}.{LEAVES.get(leaf, leaf)}"] = torch.from_numpy(np.ascontiguousarray(value))
    return state
