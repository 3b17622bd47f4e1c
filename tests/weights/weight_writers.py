"""Writers of weight files in the formats of PyTorch, safetensors and Keras, without PyTorch and Keras."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import safetensors.numpy

from sharp_unet_jax.weights import dtypes, keras_files

KINDS = {dtype: kind for kind, dtype in dtypes.TORCH.items()}
PICKLED_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
ORDERED_DICT = b"ccollections\nOrderedDict\n"


def plain(value) -> bytes:
    """Return the opcodes of a value of built-in types, for use inside a pickle."""
    return pickle.dumps(value, 2)[2:-1]


def pickled_storage(kind: str, key: str, numel: int, *, legacy: bool = False) -> bytes:
    parts = plain("storage") + f"ctorch\n{kind}\n".encode() + plain(key) + plain("cpu") + plain(numel)
    return b"(" + parts + (b"N" if legacy else b"") + b"tQ"


def pickled_tensor(storage: bytes, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    arguments = storage + plain(offset) + plain(size) + plain(stride) + plain(False) + ORDERED_DICT + b")R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def pickled_dict(entries: Mapping[str, bytes]) -> bytes:
    """Return a whole pickle: an OrderedDict of values that are given as opcodes."""
    return b"\x80\x02" + ORDERED_DICT + b")R(" + b"".join(plain(key) + value for key, value in entries.items()) + b"u."


def _pickled_arrays(tensors: Mapping[str, np.ndarray], legacy: bool) -> bytes:
    entries = {}
    for index, (name, array) in enumerate(tensors.items()):
        storage = pickled_storage(KINDS[array.dtype], str(index), array.size, legacy=legacy)
        stride = tuple(step // array.itemsize for step in np.empty(array.shape, array.dtype).strides)
        entries[name] = pickled_tensor(storage, array.shape, stride)
    return pickled_dict(entries)


def write_pth_parts(path: Path, pickled: bytes, storages: list[bytes], byteorder: bytes = b"little") -> None:
    """Write the zip archive of torch.save around any pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", byteorder)
        for key, data in enumerate(storages):
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", b"3\n")


def write_legacy_pth_parts(path: Path, pickled: bytes, storages: list[tuple[int, bytes]]) -> None:
    """Write the file of torch.save below 1.6 around any pickle; a storage is its number of elements and its data."""
    head = PICKLED_MAGIC + pickle.dumps(1001, 2) + pickle.dumps(MACHINE, 2) + pickled
    keys = pickle.dumps([str(key) for key in range(len(storages))], 2)
    path.write_bytes(head + keys + b"".join(numel.to_bytes(8, "little") + data for numel, data in storages))


def write_pth(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write the file of `torch.save(state_dict, path)` in PyTorch 1.6 and above."""
    write_pth_parts(path, _pickled_arrays(tensors, legacy=False), [array.tobytes() for array in tensors.values()])


def write_legacy_pth(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write the file of `torch.save(state_dict, path)` in PyTorch below 1.6."""
    storages = [(array.size, array.tobytes()) for array in tensors.values()]
    write_legacy_pth_parts(path, _pickled_arrays(tensors, legacy=True), storages)


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    safetensors.numpy.save_file({name: np.array(array, order="C") for name, array in tensors.items()}, path)


def write_keras_h5(
    path: Path,
    layers: Mapping[str, Mapping[str, np.ndarray]],
    flavour: Literal["applications", "keras1", "whole"] = "applications",
) -> None:
    """Write `.h5` with names of keras.applications (`conv/kernel:0`), Keras 1 (`conv_W_1:0`) or a whole model."""
    old = {new: old for old, new in keras_files.KERAS_1_NAMES.items()}
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if flavour == "whole" else file
        root.attrs["layer_names"] = np.array([layer.encode() for layer in layers])
        for layer, weights in layers.items():
            names = {name: f"{layer}/{name}:0" for name in weights}
            if flavour == "keras1":
                names = {name: f"{layer}_{old.get(name, name)}_1:0" for name in weights}
            group = root.create_group(layer)
            group.attrs["weight_names"] = np.array([name.encode() for name in names.values()])
            for name, array in weights.items():
                group[names[name]] = array


def write_weights_h5(path: Path, layers: list[tuple[str, str | None, list[np.ndarray]]]) -> None:
    """Write Keras 3's `.weights.h5`; a layer is its class and number, its name or None, and its variables."""
    with h5py.File(path, "w") as file:
        for counted, name, variables in layers:
            group = file.create_group(f"layers/{counted}/vars")
            if name is not None:
                group.attrs["name"] = name
            for index, array in enumerate(variables):
                group[str(index)] = array
