"""The cost of resizing to the training size: objects that vanish, and the best Jaccard that is left."""

import numpy as np

from launch.preview.source import Source
from sharp_unet_jax.advice import profile as advice
from sharp_unet_jax.advice.profile import Profile
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resize import resize
from sharp_unet_jax.metrics import IGNORE, foreground

SAMPLE = 40  # masks that `ceiling` resizes
FEW = 0.05  # share of labelled pixels from which on some are surely left at any size


def all_empty(config: Config, source: Source, profile: Profile) -> bool:
    """Say whether no mask holds any foreground at the training size."""
    masks = (source.read(index)[1] for index in range(len(profile.ids)))
    data = config.data
    resized = (resize(mask[..., None], mask, data.size, data.fit, data.mask_filter)[1] for mask in masks)
    return not any(foreground(mask).any() for mask in resized)


def unscored(config: Config, source: Source, profile: Profile) -> list[str]:
    """Return the ids of images of which no pixel is scored at the training size: the rest of them is ignored."""
    data, labelled = config.data, profile.counts.sum(axis=1) / profile.sizes.prod(axis=1)
    masks = {index: source.read(index)[1] for index in np.flatnonzero(labelled < FEW).tolist()}
    resized = {
        index: resize(mask[..., None], mask, data.size, data.fit, data.mask_filter)[1] for index, mask in masks.items()
    }
    return [profile.ids[index] for index, mask in resized.items() if (mask == IGNORE).all()]


def ceiling(config: Config, source: Source, profile: Profile) -> str:
    """Say which Jaccard a perfect prediction at the training size gets: masks resized there and back, by themselves."""
    size, fit = config.data.size, config.data.fit
    some = np.unique(np.linspace(0, len(profile.ids) - 1, SAMPLE).astype(int)).tolist()
    scores = np.array([advice.ceiling(source.read(index)[1], size, fit, len(source.classes)) for index in some])
    scores = scores[~np.isnan(scores)]
    if not len(scores):
        return "all masks sampled to see what the training size loses are empty"
    return (
        f"masks resized to {size[0]}x{size[1]} ({fit}) and back have a Jaccard of {scores.mean():.3f} with the "
        f"originals (mean of {len(scores)}; lowest {scores.min():.3f}): no prediction at that size beats it"
    )
