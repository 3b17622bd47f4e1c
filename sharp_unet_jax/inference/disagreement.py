"""Disagreement between the members of an ensemble: a map of an image, and one number for each of its classes.

The number is the Dice error between the masks of two members. Roy et al., "Bayesian QuickNAT", NeuroImage 195, 2019,
compare such agreement between samples with other measures of uncertainty, as predictors of the Dice of a mask.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sharp_unet_jax import decision


@functools.partial(jax.jit, static_argnames="threshold")
def voted(votes: jax.Array, probabilities: jax.Array, threshold: float) -> jax.Array:
    """Add a member's votes: 1 where its mask has the class.

    Args:
        votes: float32, those of members before, as `probabilities`; a 0 before the first.
        probabilities: of the member, (N, H, W, num_classes) float32.
        threshold: see `decision.labels`.
    """
    labels, classes = decision.labels(probabilities, threshold), probabilities.shape[-1]
    return votes + (labels[..., None].astype(jnp.float32) if classes == 1 else jax.nn.one_hot(labels, classes))


@jax.jit
def welford(
    mean: jax.Array, squares: jax.Array, values: jax.Array, number: jax.Array | int
) -> tuple[jax.Array, jax.Array]:
    """Add the values of member `number`, from 1 on, to the mean and to the sum of squared deviations from it.

    Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 4, 1962. Before
    the first member both are 0.
    """
    change = values - mean
    mean = mean + change / number
    return mean, squares + change * (values - mean)


def by_class(votes: np.ndarray, members: int) -> tuple[float, ...]:
    """Return the disagreement of each foreground class, from 0 to 1.

    It is the pixels that only one of two members gives the class, over the sum of both masks' pixels: 1 - Dice. Both
    sums are over all pairs of members. 0 means that all masks are equal, also where all are empty; 1 that no two
    members share a pixel.

    Args:
        votes: (h, w, num_classes), the number of members whose mask has the class. It is rounded: where tiles overlap,
            it is their mean.
        members: their number, 2 or more.
    """
    votes = np.rint(votes if votes.shape[-1] == 1 else votes[..., 1:])
    apart = np.sum(votes * (members - votes), axis=(0, 1), dtype=np.float64)
    both = (members - 1) * np.sum(votes, axis=(0, 1), dtype=np.float64)
    return tuple((apart / np.maximum(both, 1)).tolist())


def by_pixel(deviation: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the deviation (h, w) of the probability of each pixel's class.

    Args:
        deviation: (h, w, num_classes). One class is the foreground; the background's probability varies as much.
        labels: (h, w) uint8, the class of each pixel.
    """
    if deviation.shape[-1] == 1:
        return deviation[..., 0]
    return np.take_along_axis(deviation, labels[..., None], axis=-1)[..., 0]
