"""Scores of predicted images by any rule and by the mean of any networks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sharp_unet_jax import decision, metrics
from sharp_unet_jax.choosing.images import Packed, unpack
from sharp_unet_jax.cleaning import clean
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.data.resize import pixels, restore
from sharp_unet_jax.decision import Rule


@dataclass(frozen=True)
class Part:
    """Images of a fold that its networks predicted."""

    dataset: Dataset
    config: Config
    images: NDArray[np.int64]  # (n,), rows of the data set
    probabilities: Mapping[str, Sequence[Packed]]  # by network, of each image
    known: dict[tuple[tuple[str, ...], Rule], NDArray[np.float64]] = field(default_factory=dict)

    def scores(self, networks: tuple[str, ...], rules: Sequence[Rule]) -> NDArray[np.float64]:
        """Return the Jaccard index of each image by the mean of `networks` and each rule, (rules, n)."""
        if new := [rule for rule in dict.fromkeys(rules) if (networks, rule) not in self.known]:
            table = [
                jaccard(self.dataset, self.config, image, self._mean(networks, place), new)
                for place, image in enumerate(self.images.tolist())
            ]
            self.known.update(zip([(networks, rule) for rule in new], np.array(table).T, strict=True))
        return np.stack([self.known[networks, rule] for rule in rules])

    def _mean(self, networks: tuple[str, ...], place: int) -> NDArray[np.float32]:
        each = np.array([unpack(self.probabilities[name][place]) for name in networks])
        return each.mean(axis=0, dtype=np.float32) / np.float32(255)


@dataclass(frozen=True)
class Pool:
    """The images of several folds; one that several runs predicted counts once, by the mean of its scores."""

    parts: Sequence[Part]

    @cached_property
    def images(self) -> NDArray[np.int64]:
        """Rows of the data set, ascending."""
        return np.unique(self._images)

    @cached_property
    def groups(self) -> list[str]:
        """The group of each image."""
        return [self.parts[0].dataset.groups[image] for image in self.images]

    @property
    def binary(self) -> bool:
        """True if there is only one class."""
        return self.parts[0].dataset.num_classes == 1

    @property
    def masks(self) -> Iterable[NDArray[np.uint8]]:
        """The true mask of each image, at the resolution of training."""
        return (self.parts[0].dataset.masks[image] for image in self.images.tolist())

    def scores(self, networks: tuple[str, ...], rules: Sequence[Rule]) -> NDArray[np.float64]:
        """Return the Jaccard index of each image by each rule, (rules, images)."""
        every = np.concatenate([part.scores(networks, rules) for part in self.parts], axis=1)
        return pd.DataFrame(every.T).groupby(self._images).mean().to_numpy().T  # of the scores that are not nan

    @cached_property
    def _images(self) -> NDArray[np.int64]:
        return np.concatenate([part.images for part in self.parts])


def jaccard(
    dataset: Dataset, config: Config, image: int, probabilities: NDArray[np.float32], rules: Sequence[Rule]
) -> NDArray[np.float64]:
    """Return the Jaccard index of an image by each rule, (rules,), as its run is reported, see `train.count`.

    `probabilities` (H, W, num_classes) are at the resolution of training.
    """
    whole, truth, scale = _as_scored(dataset, config, image, probabilities)
    counts = []
    for rule in rules:
        labels = decision.labels(whole, rule.threshold)
        labels = clean(labels, rule, scale) if rule.cleans else labels
        counts.append(metrics.count(labels, truth, len(dataset.classes)))
    return metrics.image_jaccard(np.stack(counts), empty=config.empty, binary=dataset.num_classes == 1)


def _as_scored(
    dataset: Dataset, config: Config, image: int, probabilities: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.uint8], float]:
    """Return probabilities and true mask at the resolution of the scores, and how many pixels make one of training.

    The padding of a letterbox is left out, as in prediction: pieces would go on in it, and holes would not end.
    """
    fit = config.data.fit
    if dataset.native is not None:
        truth = dataset.native[image]
        return restore(probabilities, truth.shape, fit), truth, pixels(truth.shape, probabilities.shape[:2], fit)
    truth = dataset.masks[image]
    if fit != "letterbox" or (truth == metrics.IGNORE).all():
        return probabilities, truth, 1.0
    rows, columns = (np.flatnonzero((truth != metrics.IGNORE).any(axis=axis)) for axis in (1, 0))
    inside = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return probabilities[inside], truth[inside], 1.0
