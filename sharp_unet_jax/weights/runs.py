"""All weights of a run of this project, as a start for other runs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sharp_unet_jax.errors import AGAIN, InputError, is_out_of_memory
from sharp_unet_jax.storage import checkpoint, run_files
from sharp_unet_jax.storage.layout import CHECKPOINT, RECORD
from sharp_unet_jax.storage.reading import read_json


def read(path: Path, heads: Iterable[str], shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Read a run's checkpoint, but for the decoder's heads that are for another number of classes.

    Args:
        path: the run's folder, or the checkpoint in it.
        heads: names of the decoder's heads, see `models.segmenter.Decoder`.
        shapes: of all variables of the network by name, such as "encoder.conv1.kernel".

    Returns:
        Arrays by the network's names.

    Raises:
        InputError: for a folder that is no run, a damaged checkpoint, or another network.
    """
    folder = path / CHECKPOINT if (path / CHECKPOINT).is_dir() else path
    if not (folder / "_METADATA").exists():  # Orbax's
        raise InputError(f"weights: {path} is no run of this project; name one, as in WORKDIR/runs/unet/repeat0-fold0")
    recorded = _recorded_digest(folder.parent)
    try:
        tree = checkpoint.load(folder)
        if recorded and checkpoint.digest(_numbered({key: tree[key] for key in ("params", "stats")})) != recorded:
            raise ValueError("its bytes are not those recorded")
        found = {**_flat(tree["params"]), **_flat(tree["stats"])}
    except Exception as error:  # Orbax passes on whatever its storage raises
        if is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        raise InputError(f"weights: the checkpoint in {path} is damaged: {reason}") from error
    for name in shapes:
        if name not in found:
            raise InputError(f"weights: {path} has no {name}: it is of another network")
    for name in found:
        if name not in shapes:
            raise InputError(f"weights: {path} has {name}, which this network has not")
    for head in heads:
        own = [name for name in found if name.startswith(f"decoder.{head}.")]
        if any(found[name].shape[-1:] != shapes[name][-1:] for name in own):  # kernels are (h, w, in, classes)
            found = {name: value for name, value in found.items() if name not in own}
    return found


def _recorded_digest(run: Path) -> str | None:
    """Return the digest of a run's weights, None if no record lies beside its checkpoint."""
    path = run / RECORD
    if not path.exists():
        return None
    record = run_files.intact(read_json(path, dict[str, Any], remedy=AGAIN), path, remedy=AGAIN)
    return record.get("weights_sha256")  # a failed run has none


def _numbered(tree: Any) -> Any:
    """Turn keys of lists, which Orbax reads as text, into numbers: a digest follows their order."""
    if not isinstance(tree, dict):
        return tree
    return {int(key) if key.isdecimal() else key: _numbered(value) for key, value in tree.items()}


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Flatten {"encoder": {"conv1": {"kernel": x}}} to {"encoder.conv1.kernel": x}."""
    flat: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
