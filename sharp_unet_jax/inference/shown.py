"""A run as Python and notebooks show it: its network, data, scores and rule, and in a notebook a row of examples."""

import base64
import html
import io
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image

from sharp_unet_jax import palette
from sharp_unet_jax.data import pixels
from sharp_unet_jax.data.resize import resolution

HEIGHT = 160  # pixels of an example in a notebook
OPACITY = 0.4  # of a mask's colours


class Examples(NamedTuple):
    """Images that a run was not trained on."""

    images: list[np.ndarray]  # (h, w, C) uint8
    masks: list[np.ndarray]  # (h, w) uint8, the true classes


def text(run: Any) -> str:
    """Return five lines on an `inference.trained.Trained`: network, data, classes, scores, rule of masks."""
    data, record = run.config.data, run.record
    size = "x".join(map(str, data.size))
    how = f"crops of {size} at {resolution(data)}" if data.fit == "crop" else f"{data.fit} to {size}"
    scores = "not scored"
    if record.get("jaccard") is not None:
        scores = (
            f"Jaccard {100 * record['jaccard']:.1f} %, Dice {100 * record['dice']:.1f} % on "
            f"{record['images']['test']} images; epoch {record['best_epoch']} of {record['epochs']}"
        )
    parameters = sum(leaf.size for leaf in jax.tree.leaves(run.weights["params"]))
    return "\n".join(
        [
            f"{run.name}: {run.model}, {parameters:,} parameters",
            f"  images: {run.dataset}, {run.channels} channels, {how} (height x width)",
            f"  classes: {', '.join(run.classes)}",
            f"  scores: {scores}",
            f"  masks: {run.rule.words(run.num_classes == 1)}",
        ]
    )


def page(run: Any, examples: Examples | None) -> str:
    """Return the text as HTML, and below each example with its true mask and with the predicted one."""
    parts = [f"<pre>{html.escape(text(run))}</pre>"]
    if examples:
        rows = {"truth": examples.masks, "predicted": run.masks(examples.images)}
        for name, masks in rows.items():
            drawn = [_tinted(*pair) for pair in zip(examples.images, masks, strict=True)]
            pictures = "".join(f'<img alt="{name}" src="{_data(each)}" style="margin-right: 4px">' for each in drawn)
            parts.append(f'<div style="white-space: nowrap; overflow-x: auto">{pictures} {name}</div>')
    return "\n".join(parts)


def _tinted(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return an image (h, w, C) in colours, (h, w, 3) uint8, with the classes of `mask` (h, w) laid over it."""
    picture = np.broadcast_to(pixels.shown(image), (*mask.shape, 3)).astype(np.float32)
    tinted = picture + OPACITY * (palette.CLASSES[mask] - picture)
    return np.where(mask[..., None] > 0, tinted, picture).astype(np.uint8)


def _data(picture: np.ndarray) -> str:
    """Return a picture as the address of a PNG that holds it."""
    height, width = picture.shape[:2]
    small = Image.fromarray(picture).resize((max(round(width * HEIGHT / height), 1), HEIGHT))
    small.save(file := io.BytesIO(), "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
