"""The cost of resizing to the size of training: objects that vanish, and the best Jaccard that is left."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from launch.preview.source import Source
from sharp_unet_jax.advice import profile as advice
from sharp_unet_jax.advice.profile import Profile
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.data.resize import resize_mask, resized, trained_size
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.metrics import IGNORE, foreground

SAMPLE = 40  # masks that `ceiling` resizes
FEW = 0.05  # share of labelled pixels from which on some are surely left at any size


def sizes(data: Data, source: Source, profile: Profile) -> NDArray[np.int64]:
    """Return the heights and widths that images have in training, (n, 2): with fit="crop" they are of whole images."""
    spacings = source.spacings or [(0.0, 0.0)] * len(profile.ids)
    found = []
    for own, spacing in zip(profile.sizes.tolist(), spacings, strict=True):
        try:
            found.append(trained_size(own, data, spacing))
        except InputError:  # it is among the faults of the data set
            found.append((own[0], own[1]))
    return np.array(found, np.int64)


def at(data: Data) -> tuple[str, str]:
    """Return the resolution of training in words, and how to raise it."""
    if data.fit != "crop":
        return "x".join(map(str, data.size)), "raise --config.data.size"
    if data.spacing:
        return f"data.spacing={data.spacing:g}", "lower --config.data.spacing"
    return f"data.scale={data.scale:g}", "raise --config.data.scale"


def all_empty(config: Config, source: Source, profile: Profile) -> bool:
    """Say whether no mask holds any foreground at the resolution of training."""
    return not any(foreground(mask).any() for mask in _resized(config.data, source, profile, range(len(profile.ids))))


def unscored(config: Config, source: Source, profile: Profile) -> list[str]:
    """Return the ids of images of which no pixel is scored at the resolution of training: the rest is ignored."""
    few = np.flatnonzero(profile.labelled < FEW).tolist()
    masks = _resized(config.data, source, profile, few)
    return [profile.ids[index] for index, mask in zip(few, masks, strict=True) if (mask == IGNORE).all()]


def _resized(data: Data, source: Source, profile: Profile, indices: Iterable[int]) -> Iterator[NDArray[np.uint8]]:
    """Yield masks as they are trained on."""
    trained = sizes(data, source, profile).tolist()
    for index in indices:
        mask = source.read(index)[1]
        height, width = trained[index]
        yield resize_mask(mask, (height, width), data.fit, data.mask_filter)


def ceilings(data: Data, source: Source, profile: Profile) -> NDArray[np.float64]:
    """Return the best Jaccard that some images can reach at the resolution of training, see `profile.ceiling`.

    Images with empty masks are left out.
    """
    trained = sizes(data, source, profile).tolist()
    some = np.unique(np.linspace(0, len(profile.ids) - 1, SAMPLE).astype(int)).tolist()
    scores = np.array(
        [advice.ceiling(source.read(k)[1], (trained[k][0], trained[k][1]), data.fit, len(source.classes)) for k in some]
    )
    return scores[~np.isnan(scores)]


def ceiling(config: Config, source: Source, profile: Profile) -> str:
    """Say which Jaccard a perfect prediction in training gets: masks resized there and back, by themselves."""
    if not resized(config.data):
        return "images are trained on at their own resolution, by crops: no mask loses anything"
    scores, where = ceilings(config.data, source, profile), at(config.data)[0]
    if not len(scores):
        return "all masks sampled to see what the training size loses are empty"
    return (
        f"masks resized to {where} ({config.data.fit}) and back have a Jaccard of {scores.mean():.3f} with the "
        f"originals (mean of {len(scores)}; lowest {scores.min():.3f}): no prediction at that size beats it"
    )
