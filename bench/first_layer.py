"""Draw the output of a pretrained encoder's first convolution for an image: nine of its most varied maps.

python bench/first_layer.py MODEL WEIGHTS IMAGE OUTPUT.png
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image

import sharp_unet_jax


def main(name: str, weights: str, image: str, output: str) -> None:
    """Write a picture of 3x3 panels: maps after the ReLU, each on a square-root scale of its own."""
    picture = np.asarray(Image.open(image).convert("RGB"))
    model = sharp_unet_jax.build(name, rngs=nnx.Rngs(0), weights=weights)
    vgg = hasattr(model.encoder, "features")
    convolution = next(iter(model.encoder.features.values())) if vgg else model.encoder.conv1
    x = jnp.asarray(picture[None], jnp.float32) / 255
    x = (x - model.mean[...].reshape(1, 1, 1, 3)) / model.std[...].reshape(1, 1, 1, 3)
    maps = np.asarray(jax.nn.relu(convolution(x))[0])
    size = (picture.shape[1], picture.shape[0])
    panels = []
    mean, std = maps.mean(axis=(0, 1)), maps.std(axis=(0, 1))
    for channel in np.argsort(np.where(std > np.median(std), -std / (mean + 1e-6), 0))[:9]:
        grey = np.uint8(255 * np.sqrt(np.clip(maps[..., channel] / np.percentile(maps[..., channel], 99.5), 0, 1)))
        panels.append(np.asarray(Image.fromarray(grey).resize(size)))
    rows = [np.concatenate(panels[i : i + 3], axis=1) for i in (0, 3, 6)]
    Image.fromarray(np.concatenate(rows)).save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
