"""Encoder features against torchvision's networks with the same weights, read from both formats of torch.save.

    python bench/torchvision_features.py --torch=PYTHON

PYTHON is the interpreter of an environment with torch and torchvision, which this project's own lacks.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import sharp_unet_jax

NETWORKS = {
    "vgg16": "ternausnet16",
    "vgg19": "ternausnet19",
    "resnet18": "unet_resnet18",
    "resnet34": "unet_resnet34",
    "resnet50": "unet_resnet50",
}

TORCH = """
import sys
import numpy as np
import torch

library = torch.library.Library("torchvision", "DEF")
try:
    import torchvision
except RuntimeError:  # its compiled operators are for another build of torch; none is needed here
    for operator in ("nms", "qnms"):
        library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

name, folder = sys.argv[1:]
torch.manual_seed(0)
image = torch.rand(2, 3, 64, 96)
mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
x = (image - mean) / std
model = getattr(torchvision.models, name)(weights=None).eval()
with torch.no_grad():
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.weight.uniform_(0.3, 0.8)
            layer.bias.uniform_(-0.2, 0.2)
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.5, 2)
    if name.startswith("vgg"):
        maps = []
        for layer in model.features:
            if isinstance(layer, torch.nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        maps = [*maps[1:], x]
    else:
        maps = [model.relu(model.bn1(model.conv1(x)))]
        x = model.maxpool(maps[0])
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
            x = stage(x)
            maps.append(x)
np.savez(folder + "/maps.npz", image.permute(0, 2, 3, 1), *[m.permute(0, 2, 3, 1) for m in maps])
torch.save(model.state_dict(), folder + "/zip.pth")
torch.save(model.state_dict(), folder + "/legacy.pth", _use_new_zipfile_serialization=False)
print(f"torch {torch.__version__}, torchvision {torchvision.__version__}")
"""


def features(name: str, weights: Path, image: np.ndarray) -> list[jax.Array]:
    """Return the feature maps of our network `name`."""
    model = sharp_unet_jax.build(name, rngs=nnx.Rngs(0), weights=str(weights))

    @jax.jit
    def maps(x: jax.Array) -> list[jax.Array]:
        return model.encoder((x - model.mean[...].reshape(1, 1, 1, 3)) / model.std[...].reshape(1, 1, 1, 3))

    return maps(jnp.asarray(image))


def main() -> None:
    """Print the largest difference of each map, as a share of its largest value."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", required=True, help="a Python with torch and torchvision")
    python = parser.parse_args().torch
    for theirs, ours in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([python, "-c", TORCH, theirs, folder], check=True)
            image, *maps = np.load(f"{folder}/maps.npz").values()
            for file in ("zip.pth", "legacy.pth"):
                pairs = zip(features(ours, Path(folder) / file, image), maps, strict=True)
                shares = [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs]
                print(f"{theirs:9} {file:10}", *(f"{share:.1e}" for share in shares))


if __name__ == "__main__":
    main()
