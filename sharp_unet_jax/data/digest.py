"""Digests by which a data set's folds and prepared files are known: of its pixels, and of the code that made them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sharp_unet_jax.data.array_files import Arrays
from sharp_unet_jax.ragged import Ragged


def of_pairs(arrays: Iterable[Arrays | None], ids: Iterable[str], groups: Iterable[str], classes: Iterable[str]) -> str:
    """Return the SHA-256 of images and masks, all uint8, their ids and groups, and the classes' names."""
    digest = hashlib.sha256()
    for part in arrays:
        if isinstance(part, Ragged):
            digest.update(repr((part.flat.shape, part.sizes.tolist())).encode())
            digest.update(np.ascontiguousarray(part.flat).data)
        elif part is not None:
            digest.update(repr(part.shape).encode())
            digest.update(np.ascontiguousarray(part).data)
    digest.update("\n".join((*ids, *groups, *classes)).encode())
    return digest.hexdigest()


def of_code(sources: Iterable[Path]) -> str:
    """Return the SHA-256 of files of code, in their order. What other code has read is read again."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()
