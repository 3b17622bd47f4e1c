"""The digest of a data set, by which its folds and prepared files are known."""

import hashlib
from collections.abc import Iterable

import numpy as np


def of_pairs(
    images: np.ndarray, masks: np.ndarray, ids: Iterable[str], groups: Iterable[str], classes: Iterable[str]
) -> str:
    """Return the SHA-256 of images and masks, both uint8, their ids and groups, and the classes' names."""
    digest = hashlib.sha256()
    for part in (images, masks):
        digest.update(repr(part.shape).encode())
        digest.update(np.ascontiguousarray(part).data)
    digest.update("\n".join((*ids, *groups, *classes)).encode())
    return digest.hexdigest()
