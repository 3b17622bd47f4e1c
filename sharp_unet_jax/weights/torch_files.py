"""Tensors from files of `torch.save`, in both of its formats, without PyTorch and without running the pickle."""

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from sharp_unet_jax.errors import InputError

_TYPES = [  # PyTorch's storage, safetensors' name, little-endian
    ("FloatStorage", "F32", "<f4"),
    ("HalfStorage", "F16", "<f2"),
    ("DoubleStorage", "F64", "<f8"),
    ("BFloat16Storage", "BF16", ml_dtypes.bfloat16),
    ("LongStorage", "I64", "<i8"),
    ("IntStorage", "I32", "<i4"),
    ("ShortStorage", "I16", "<i2"),
    ("CharStorage", "I8", "i1"),
    ("ByteStorage", "U8", "u1"),
    ("BoolStorage", "BOOL", "?"),
]
TORCH_TYPES = {storage: np.dtype(dtype) for storage, _, dtype in _TYPES}
SAFETENSORS_TYPES = {name: np.dtype(dtype) for _, name, dtype in _TYPES}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")
LEGACY_VERSION = 1001
MEMO_OPCODES = ("PUT", "BINPUT", "LONG_BINPUT")
STATE_DICT_ALONE = "save the weights alone: torch.save(model.state_dict(), path)"


class Storage(NamedTuple):
    """The memory of a tensor, not yet read."""

    kind: str  # a key of TORCH_TYPES
    key: str
    numel: int


class Tensor(NamedTuple):
    """A tensor as its pickle describes it."""

    storage: Storage
    offset: int  # in elements, as the strides are
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Unpickles state dicts of `Tensor`, and refuses to import anything else.

    A pickle can call bound methods of this class, and storage types are strings: it cannot set attributes on either.
    """

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "collections", "OrderedDict":
                return OrderedDict
            case "torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2":
                return self.rebuild_tensor
            case "torch._utils", "_rebuild_parameter":
                return self.rebuild_parameter
            case "torch", storage if storage in TORCH_TYPES:
                return storage
        wanted = repr(f"{module}.{name}")[:200]
        raise InputError(f"its pickle wants to import {wanted}, which was not run; {STATE_DICT_ALONE}")

    def persistent_load(self, pid: Any) -> Storage:
        match pid:  # PyTorch 0.3 and below wrote views of storages as a sixth item; None is no view
            case ("storage", str(kind), str(key), _, int(numel), *view) if view in ([], [None]):
                return Storage(kind, key, numel)
        raise InputError(f"its pickle refers to a storage in a way unknown here; {STATE_DICT_ALONE}")

    def rebuild_tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        return Tensor(storage, offset, tuple(size), tuple(stride))

    def rebuild_parameter(self, data: Tensor, *_: Any) -> Tensor:
        return data


def _unpickle(file: BinaryIO) -> Any:
    start = file.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        # The unpickler allocates a list as long as the highest index: one changed byte could fill all memory.
        if opcode.name in MEMO_OPCODES and int(argument or 0) > count:
            raise pickle.UnpicklingError(f"memo index {argument}")
    end = file.tell()
    file.seek(start)
    return _Unpickler(io.BytesIO(file.read(end - start)), encoding="utf-8").load()


def _state_dict(state: Any) -> dict[str, Tensor]:
    if not isinstance(state, dict):
        raise InputError(f"holds a {type(state).__name__}, not a state dict of tensors; {STATE_DICT_ALONE}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or not isinstance(value.storage, Storage):
            entry = repr(name) if isinstance(name, str) else f"a key of type {type(name).__name__}"
            raise InputError(f"{entry:.200} is {type(value).__name__}, not a tensor by name; {STATE_DICT_ALONE}")
    return dict(state)


def _array(tensor: Tensor, data: bytes) -> np.ndarray:
    (kind, _, numel), offset, size, stride = tensor
    dtype = TORCH_TYPES[kind]
    if len(data) != numel * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes for {numel} elements of {dtype}")
    count: int = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # More elements than the storage has would be a broadcast: a few bytes that fill all memory when copied.
    if min(offset, *size, *stride, 0) < 0 or count > numel or (count and last >= numel):
        raise ValueError(f"size {size}, strides {stride} and offset {offset} in a storage of {numel}")
    return np.ndarray(size, dtype, data, offset * dtype.itemsize, tuple(step * dtype.itemsize for step in stride))


def read_zip(path: Path) -> dict[str, np.ndarray]:
    """Read the zip archive of PyTorch 1.6 and above.

    Raises InputError for anything but a state dict; a damaged file raises anything.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise InputError("a zip archive without a data.pkl, so not by torch.save; give the weight file inside it")
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise InputError("compressed, as torch.save never does; give the file that torch.save wrote")
        prefix = pickles[0].removesuffix("data.pkl")
        state = _state_dict(_unpickle(io.BytesIO(archive.read(pickles[0]))))
        big_endian = f"{prefix}byteorder" in names and archive.read(f"{prefix}byteorder") == b"big"
        storages = {}
        for storage in {tensor.storage for tensor in state.values()}:
            data = archive.read(f"{prefix}data/{storage.key}")
            if big_endian:
                data = np.frombuffer(data, f"u{TORCH_TYPES[storage.kind].itemsize}").byteswap().tobytes()
            storages[storage] = data
    return {name: _array(tensor, storages[tensor.storage]) for name, tensor in state.items()}


def read_legacy(path: Path) -> dict[str, np.ndarray]:
    """Read the format of PyTorch below 1.6, with the errors of `read_zip`.

    It has five pickles (magic number, version, machine, state, keys), then each key's number of elements and raw data.
    """
    with path.open("rb") as file:
        _unpickle(file)
        version = _unpickle(file)
        if version != LEGACY_VERSION:
            raise ValueError(f"version {version!r:.20}, not {LEGACY_VERSION}")
        _unpickle(file)  # the machine; its byte order is not that of the data, which is always little-endian
        state = _state_dict(_unpickle(file))
        kinds = {tensor.storage.key: TORCH_TYPES[tensor.storage.kind] for tensor in state.values()}
        storages = {}
        for key in _unpickle(file):
            numel = int.from_bytes(file.read(8), "little")
            storages[key] = file.read(numel * kinds[key].itemsize)
    return {name: _array(tensor, storages[tensor.storage.key]) for name, tensor in state.items()}
