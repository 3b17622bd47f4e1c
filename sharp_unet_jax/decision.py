"""The decision rule: from a network's probabilities or logits to the class of each pixel. Everyone asks here.

The functions use nothing but operators and methods that NumPy and JAX arrays share, so the report, which never imports
JAX, and a compiled program decide by the same line.
"""

import math
from typing import Any


def labels(probabilities: Any, threshold: float) -> Any:
    """Return the class of each pixel, (..., H, W) uint8.

    Args:
        probabilities: (..., H, W, num_classes), NumPy or JAX. With one class: class 1 where its probability is above
            `threshold`, else class 0. With several: the most probable class, the lowest of equals.
        threshold: in the units of `probabilities`; used with one class alone.
    """
    if probabilities.shape[-1] == 1:
        return (probabilities[..., 0] > threshold).astype("uint8")
    return probabilities.argmax(axis=-1).astype("uint8")


def labels_of_logits(logits: Any, threshold: float) -> Any:
    """Return `labels` of the probabilities that `logits` (..., H, W, num_classes) stand for, without computing them."""
    return labels(logits, math.log(threshold / (1 - threshold)))  # exactly logit > 0 at 0.5
