"""Weights as a run stores them, fitted into the network of this version: what does not fit is refused."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from sharp_unet_jax import models, ops
from sharp_unet_jax.config import Config
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import checkpoint
from sharp_unet_jax.storage.reading import damaged
from sharp_unet_jax.training import network

Weights = dict[str, Any]  # {"params": nested dicts of arrays, "stats": nested dicts of arrays}, as in the checkpoint


def abstract(config: Config, model: str, num_classes: int, channels: int, where: object) -> models.Segmenter:
    """Return the shapes of a run's network. Raises InputError, naming `where` it is, if this version has none such."""
    models.check(model)
    if config.skip_kernel not in ops.KERNELS:
        raise _of_another_version(where, f"this one has no kernel {config.skip_kernel!r}")
    return nnx.eval_shape(
        lambda: network.build(config, model, num_classes=num_classes, channels=channels, rngs=nnx.Rngs(0))
    )


def weights(
    find: Callable[[Sequence[str]], np.ndarray],
    shapes: models.Segmenter,
    sha256: str,
    *,
    where: object,
    file: Path,
    remedy: str,
) -> Weights:
    """Return the weights of a run, with the tree of `shapes`, the result of `abstract`.

    Args:
        find: returns an array by its keys, such as ("params", "encoder", "conv1", "kernel"); KeyError for none.
        shapes: those of the network.
        sha256: digest of the weights, see `checkpoint.digest`.
        where: the place of the run, for messages.
        file: the file that `find` looks into, for messages.
        remedy: for a message about damage.

    Raises:
        InputError: for an array that is missing or has another shape, and for other bytes than those of the digest.
    """

    def leaf(path: Sequence[Any], like: jax.ShapeDtypeStruct) -> np.ndarray:
        keys = [str(key.key) for key in path]
        try:
            array = find(keys)
        except KeyError as error:
            raise _of_another_version(where, f"it has no {'.'.join(keys)}") from error
        if array.shape != like.shape:
            raise _of_another_version(where, f"{'.'.join(keys)} is {array.shape}, this version's is {like.shape}")
        return array

    params, stats = network.arrays(shapes)
    found = jax.tree_util.tree_map_with_path(leaf, {"params": params, "stats": stats})
    if checkpoint.digest(found) != sha256:
        raise damaged(file, "its bytes are not those recorded", remedy)
    return found


def named(weights: Weights) -> dict[str, np.ndarray]:
    """Return the arrays by their names in the network: "encoder.conv1.kernel"."""
    leaves = jax.tree_util.tree_leaves_with_path((weights["params"], weights["stats"]))
    return {name([str(key.key) for key in path[1:]]): np.ascontiguousarray(leaf) for path, leaf in leaves}


def name(keys: Sequence[str]) -> str:
    """Return the name of an array from its keys within "params" or "stats"."""
    return ".".join(keys)


def _of_another_version(where: object, why: str) -> InputError:
    return InputError(f"{where} is of another version of this project: {why}")
