"""Tensors from weight files of PyTorch and Keras: neither library is needed, and no pickle is run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import safetensors

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.weights import dtypes, keras_files, torch_files


class WeightFile(NamedTuple):
    """The content of a file. Tensors may be read-only views that share memory."""

    layout: Literal["torch", "keras"]  # kernels (out, in, h, w), or (h, w, in, out)
    tensors: dict[str, np.ndarray]  # "layer1.0.conv1.weight", "block1_conv1/kernel"


def read(path: Path) -> WeightFile:
    """Read a weight file: `.pth` (both formats of torch.save), safetensors, or Keras's `.h5` and `.weights.h5`.

    The format is told by the content. Keras's tensors are named
    "<layer>/<kernel|bias|gamma|beta|moving_mean|moving_variance>". A `.weights.h5` file of Keras below 3.6 has no layer
    names: its layers are named by class and number, "conv2d", "conv2d_1". Convolutions in `tensors` are in the model's
    order, but not those of safetensors.

    Raises InputError for a file that is missing, damaged or of another format.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the path of a weight file") from error
    if not head:
        raise InputError(f"{path}: the file is empty; download it again")
    layout: Literal["torch", "keras"] = "torch"
    reader: Callable[[Path], dict[str, np.ndarray]]
    if head.startswith(b"PK\x03\x04"):
        kind, reader = "a PyTorch file", torch_files.read_zip
    elif torch_files.LEGACY_MAGIC in head:
        kind, reader = "a PyTorch file of the old format", torch_files.read_legacy
    elif head.startswith(b"\x89HDF\r\n\x1a\n"):
        kind, reader, layout = "an HDF5 file", keras_files.read, "keras"
    elif head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000:  # the library's bound
        kind, reader = "a safetensors file", _safetensors
    else:
        known = "PyTorch .pth, safetensors, Keras .h5 and .weights.h5"
        raise InputError(f"{path}: not a weight file of a known format ({known}); is it a failed download?")
    try:
        tensors = reader(path)
        if not tensors:
            raise InputError("holds no tensors; give a file of weights")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except MemoryError as error:
        raise InputError(f"{path}: {kind} that does not fit into memory; free some, or use a larger machine") from error
    except Exception as error:  # the libraries raise almost anything for damaged files
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(f"{path}: {kind} that is damaged or cut short; download it again ({reason})") from error
    return WeightFile(layout, tensors)


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    data, tensors = path.read_bytes(), {}
    for name, view in safetensors.deserialize(data):
        if view["dtype"] not in dtypes.SAFETENSORS:
            known = ", ".join(dtypes.SAFETENSORS)
            raise InputError(f"{name!r:.200} is of type {view['dtype']}; convert it to one of {known}")
        tensors[name] = np.frombuffer(view["data"], dtypes.SAFETENSORS[view["dtype"]]).reshape(view["shape"])
    json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")], object_pairs_hook=_check_names)
    return tensors


def _check_names(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object of a header that names something twice: the library takes the last one."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("its header names something twice")
