"""Runs as Python and notebooks show them: network, data, scores and rule, and in a notebook a row of examples."""

import html
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image

from sharp_unet_jax import palette
from sharp_unet_jax.data import neighbours, pillow, pixels
from sharp_unet_jax.data.resize import resized, resolution
from sharp_unet_jax.inference import predict
from sharp_unet_jax.metrics import IGNORE

EXAMPLES = 4  # images that a notebook shows with a run
HEIGHT = 160  # pixels of an example in a notebook
OPACITY = 0.4  # of a mask's colours


class Examples(NamedTuple):
    """Images that a run was not trained on."""

    images: list[np.ndarray]  # (h, w, C) uint8, at the resolution of training, with the channels of neighbours
    masks: list[np.ndarray]  # (h, w) uint8, the true classes, or IGNORE


def text(run: Any) -> str:
    """Return five lines on an `inference.trained.Trained`: network, data, classes, scores, rule of masks."""
    record, scores = run.record, "not scored"
    if record["jaccard"] is not None:
        scores = (
            f"{_percent('jaccard', [record])}, {_percent('dice', [record])} on {record['images']['test']} images; "
            f"epoch {record['best_epoch']} of {record['epochs']}"
        )
    return _lines(f"{run.name}: {run.model}", [run], scores)


def text_of_several(title: str, runs: Sequence[Any]) -> str:
    """Return five lines on runs that predict together; `title` names them. Their mean itself has no score."""
    records, scores = [run.record for run in runs if run.record["jaccard"] is not None], "not scored"
    if records:
        means = f"{_percent('jaccard', records)}, {_percent('dice', records)}"
        scores = f"{means}: means over the runs, each on its own test images"
    return _lines(f"mean of {title}", runs, scores)


def _lines(title: str, runs: Sequence[Any], scores: str) -> str:
    run = runs[0]
    data, size = run.config.data, "x".join(map(str, run.config.data.size))
    how = f"crops of {size} at {resolution(data)}" if data.fit == "crop" else f"{data.fit} to {size}"
    parameters = sum(leaf.size for one in runs for leaf in jax.tree.leaves(one.weights["params"]))
    return "\n".join(
        [
            f"{title}, {parameters:,} parameters",
            f"  images: {run.dataset}, {run.channels} channels, {how} (height x width)",
            f"  classes: {', '.join(run.classes)}",
            f"  scores: {scores}",
            f"  masks: {run.rule.words(run.num_classes == 1)}",
        ]
    )


def _percent(name: str, records: Sequence[Any]) -> str:
    return f"{name.capitalize()} {100 * statistics.fmean(record[name] for record in records):.1f} %"


def preformatted(text: str) -> str:
    """Return lines of text as HTML."""
    return f"<pre>{html.escape(text)}</pre>"


def page(run: Any, examples: Examples | None) -> str:
    """Return the text as HTML, and below each example with its true mask and with the predicted one."""
    parts = [preformatted(text(run))]
    if examples:
        data = run.config.data
        if data.fit == "crop" and resized(data):  # examples are at the resolution of training already
            run = replace(run, config=replace(run.config, data=replace(data, scale=1.0, spacing=0.0)))
        found = [run.decide(each) for each in predict.predict(run, examples.images)]
        for name, masks in {"truth": examples.masks, "predicted": found}.items():
            images = [neighbours.own(image, data.context) for image in examples.images]
            drawn = [_tinted(*pair) for pair in zip(images, masks, strict=True)]
            pictures = "".join(f'<img alt="{name}" src="{_data(each)}" style="margin-right: 4px">' for each in drawn)
            parts.append(f'<div style="white-space: nowrap; overflow-x: auto">{pictures} {name}</div>')
    return "\n".join(parts)


def _tinted(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return an image (h, w, C) in colours, (h, w, 3) uint8, with the classes of `mask` (h, w) laid over it."""
    picture = np.broadcast_to(pixels.shown(image), (*mask.shape, 3)).astype(np.float32)
    tinted = picture + OPACITY * (palette.CLASSES[mask] - picture)
    return np.where(((mask > 0) & (mask != IGNORE))[..., None], tinted, picture).astype(np.uint8)


def _data(picture: np.ndarray) -> str:
    """Return a picture as the address of a PNG that holds it."""
    height, width = picture.shape[:2]
    small = Image.fromarray(picture).resize((max(round(width * HEIGHT / height), 1), HEIGHT))
    return pillow.address(small, "png")
