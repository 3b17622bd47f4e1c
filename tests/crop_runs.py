"""Tiny runs on crops of images of several sizes, for tests of what uses a trained run."""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from sharp_unet_jax.config import Data
from sharp_unet_jax.data import prepared
from sharp_unet_jax.inference import loading
from sharp_unet_jax.sweeps import sweep, workdir
from tests.tiny_sweep import CONFIG

SIZES = ((70, 101), (12, 40), (33, 20), (16, 24), (50, 19))  # some smaller than a crop, none a multiple of it
DATA = Data(builder="crops", size=(16, 24), fit="crop")


def examples(n=6, *, classes=2, channels=3, sizes=SIZES, spacing=(0.0, 0.0), volumes=False):
    """Bright rectangles on a dark ground, one for each foreground class, in images of `sizes`; volumes are of three."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(n):
        height, width = sizes[(number // 3 if volumes else number) % len(sizes)]
        image, mask = rng.integers(0, 60, (height, width, channels), np.uint8), np.zeros((height, width), np.uint8)
        for label in range(1, classes):
            top, left = rng.integers(0, height - 6), rng.integers(0, width - 8)
            mask[top : top + 6, left : left + 8] = label
            image[top : top + 6, left : left + 8] = 255 - 60 * (label - 1)
        volume = {"volume": f"v{number // 3}", "group": f"v{number // 3}"} if volumes else {"group": f"g{number}"}
        more = {"mask": mask[..., None], "id": f"{number:03}", "spacing": np.array(spacing, np.float32)}
        found.append({"image": image, **more, **volume})
    return found


def make(folder, source, data=DATA, *, classes=2, cache=None, **fields):
    """Train a sweep of `sharp_unet` on crops; return its data set."""
    names = ("background", "square", "other", "third")[:classes]
    dataset = prepared.prepare(source, name="crops", classes=names, data=data, cache=cache)
    config = dataclasses.replace(CONFIG, **{"data": data, "models": ("sharp_unet",), "epochs": 1, **fields})
    for _ in sweep.train(config, dataset, folder, jax.devices()[:1]):
        pass
    workdir.collect(folder, config)
    return dataset


def load(folder, fold=0):
    """Return a run of the sweep."""
    return loading.load(Path(folder) / f"runs/sharp_unet/repeat0-fold{fold}")
