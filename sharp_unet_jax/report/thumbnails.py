"""The pictures in a page: small, and bounded in bytes."""

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from sharp_unet_jax.data import pillow
from sharp_unet_jax.report import shown
from sharp_unet_jax.report.figures import Predicted
from sharp_unet_jax.report.records import Sweep

SIDES = (384, 256, 192, 128, 96, 64)  # pixels of the longer side; the first that fits the budget is taken
BUDGET = 10_000_000  # bytes of all pictures; in base64 they are 4/3 as many


class Picture(NamedTuple):
    """An image with its truth and predictions, from which the page draws all views."""

    image: bytes  # WebP, in colour or grey
    labels: bytes  # grey PNG whose pixels are labels: the truth, then each of `models`, below each other
    models: list[str]
    scores: list[str]  # Jaccard, as the page says it
    repeats: list[int]

    def json(self) -> dict[str, Any]:
        """Return the fields, with bytes as base64."""
        texts = {name: base64.b64encode(getattr(self, name)).decode() for name in ("image", "labels")}
        return self._asdict() | texts


def pictures(sweep: Sweep, predicted: Predicted, ids: Sequence[str], budget: int = BUDGET) -> dict[str, Picture]:
    """Return a picture of each image id, until `budget` bytes are used; {} without the prepared images.

    `predicted` comes from `overlays.predictions`.
    """
    if sweep.prepared is None or not ids:
        return {}
    sample = ids[:: -(-len(ids) // 16)]
    for side in SIDES:
        if sum(_bytes(_picture(sweep, predicted, image, side)) for image in sample) * len(ids) <= budget * len(sample):
            break
    album = {}
    for image in ids:
        album[image] = _picture(sweep, predicted, image, side)
        budget -= _bytes(album[image])
        if budget < 0:
            del album[image]
            break
    return album


def _bytes(picture: Picture) -> int:
    return len(picture.image) + len(picture.labels)


def _picture(sweep: Sweep, predicted: Predicted, image_id: str, side: int) -> Picture:
    image, truth, predictions = shown.as_trained(sweep, predicted, image_id)
    models = list(predictions)
    found = [predicted[model][image_id] for model in models]
    height, width = truth.shape
    scale = min(1, side / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    labels = [Image.fromarray(label) for label in (truth, *predictions.values())]
    stacked = np.concatenate([np.asarray(label.resize(size, Image.Resampling.NEAREST)) for label in labels])
    return Picture(
        pillow.encode(pillow.picture(image).resize(size, Image.Resampling.LANCZOS), "webp", quality=75, method=4),
        pillow.encode(Image.fromarray(stacked), "png", optimize=True),
        models,
        [one.score for one in found],
        [one.repeat for one in found],
    )
