"""Tensors from files of `torch.save`, in both of its formats, without PyTorch and without running the pickle."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.weights import dtypes, pickles
from sharp_unet_jax.weights.pickles import STATE_DICT_ALONE, Storage, Tensor

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")
LEGACY_VERSION = 1001


def read_zip(path: Path) -> dict[str, np.ndarray]:
    """Read the zip archive of PyTorch 1.6 and above.

    Raises InputError for anything but a state dict; a damaged file raises anything.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        found = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if not found:
            raise InputError("a zip archive without a data.pkl, so not by torch.save; give the weight file inside it")
        if len(found) > 1 or len(set(names)) < len(names):
            raise InputError("a zip archive in which a name stands twice; give the file that torch.save wrote")
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise InputError("compressed, as torch.save never does; give the file that torch.save wrote")
        if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
            raise ValueError("its members overlap")
        prefix = found[0].removesuffix("data.pkl")
        state = _state_dict(pickles.load(io.BytesIO(archive.read(found[0]))))
        big_endian = f"{prefix}byteorder" in names and archive.read(f"{prefix}byteorder") == b"big"
        storages = {}
        for key, storage in _storages(state, path).items():
            data = archive.read(f"{prefix}data/{key}")
            if big_endian:
                data = np.frombuffer(data, f"u{dtypes.TORCH[storage.kind].itemsize}").byteswap().tobytes()
            storages[key] = data
    return {name: _array(tensor, storages[tensor.storage.key]) for name, tensor in state.items()}


def read_legacy(path: Path) -> dict[str, np.ndarray]:
    """Read the format of PyTorch below 1.6, with the errors of `read_zip`.

    It has five pickles (magic number, version, machine, state, keys), then each key's number of elements and raw data.
    """
    with path.open("rb") as file:
        pickles.load(file)
        version = pickles.load(file)
        if version != LEGACY_VERSION:
            raise ValueError(f"version {version if isinstance(version, int) else type(version)}, not {LEGACY_VERSION}")
        pickles.load(file)  # the machine; its byte order is not that of the data, which is always little-endian
        state = _state_dict(pickles.load(file))
        described = _storages(state, path)
        storages: dict[str, bytes] = {}
        for key in pickles.load(file):
            if not isinstance(key, str) or key in storages:
                raise ValueError("its storages have no names of their own")
            numel = int.from_bytes(file.read(8), "little")
            if numel != described[key].numel:
                raise ValueError(f"{numel} elements in a storage of {described[key].numel}")
            storages[key] = file.read(numel * dtypes.TORCH[described[key].kind].itemsize)
    return {name: _array(tensor, storages[tensor.storage.key]) for name, tensor in state.items()}


def _state_dict(state: Any) -> dict[str, Tensor]:
    if not isinstance(state, dict):
        raise InputError(f"holds a {type(state).__name__}, not a state dict of tensors; {STATE_DICT_ALONE}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            entry = repr(name) if isinstance(name, str) else f"a key of type {type(name).__name__}"
            raise InputError(f"{entry:.200} is {type(value).__name__}, not a tensor by name; {STATE_DICT_ALONE}")
    return state


def _storages(state: dict[str, Tensor], path: Path) -> dict[str, Storage]:
    """Return the storages of all tensors by key. Raises ValueError if a key has two, or if the file is too small."""
    storages: dict[str, Storage] = {}
    for tensor in state.values():
        if storages.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            raise ValueError("two storages have one key")
    size = sum(storage.numel * dtypes.TORCH[storage.kind].itemsize for storage in storages.values())
    if size > path.stat().st_size or any(storage.numel < 0 for storage in storages.values()):
        raise ValueError(f"storages of {size} bytes in all")
    return storages


def _array(tensor: Tensor, data: bytes) -> np.ndarray:
    (kind, _, numel), offset, size, stride = tensor
    dtype = dtypes.TORCH[kind]
    if len(data) != numel * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes for {numel} elements of {dtype}")
    count: int = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # More elements than the storage has would be a broadcast: a few bytes that fill all memory when copied.
    if min(offset, *size, *stride, 0) < 0 or count > numel or (count and last >= numel):
        raise ValueError(f"size {size}, strides {stride} and offset {offset} in a storage of {numel}")
    return np.ndarray(size, dtype, data, offset * dtype.itemsize, tuple(step * dtype.itemsize for step in stride))
