"""The decision rule: the class of each pixel, from a network's probabilities or logits. Every reported score uses it.

The functions use only operators and methods that NumPy and JAX arrays share. The report, which never imports JAX, and
compiled programs call the same function.
"""

import math
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """The rule that turns probabilities of an image into its mask: `labels`, and then `cleaning.clean`."""

    threshold: float  # probability above which a pixel is foreground, where there is only one class
    fill: bool = False  # background that a class encloses becomes that class
    smallest: int = 0  # pixels at the resolution of training: a class's smaller pieces become background
    largest: bool = False  # all pieces of a class but its largest become background

    @property
    def cleans(self) -> bool:
        """True if masks change after the threshold."""
        return self != Rule(self.threshold)

    def words(self, binary: bool) -> str:
        """Return the rule in words; `binary` says that there is only one class, so that the threshold decides."""
        parts = [f"above {self.threshold:g}" if binary else "most probable class"]
        parts += ["holes filled"] * self.fill
        parts += [f"pieces from {self.smallest} pixels on"] * (self.smallest > 0)
        parts += ["only the largest piece"] * self.largest
        return ", ".join(parts)


def labels(probabilities: Any, threshold: float) -> Any:
    """Return the class of each pixel, (..., H, W) uint8.

    Args:
        probabilities: (..., H, W, num_classes), NumPy or JAX. If num_classes is 1, a pixel is class 1 if its value
            exceeds `threshold`, else class 0. Otherwise it is the class of the largest value, the lowest one of equals.
        threshold: on the scale of `probabilities`; used only if num_classes is 1.
    """
    if probabilities.shape[-1] == 1:
        return (probabilities[..., 0] > threshold).astype("uint8")
    return probabilities.argmax(axis=-1).astype("uint8")


def labels_of_logits(logits: Any, threshold: float) -> Any:
    """Return the class of each pixel from logits (..., H, W, num_classes); `threshold` is a probability."""
    return labels(logits, math.log(threshold / (1 - threshold)))  # at 0.5 exactly logit > 0
