"""Tensors from Keras's HDF5 files, by the names of the layers."""

import itertools
import mmap
import re
from pathlib import Path
from typing import TypeAlias

import h5py
import numpy as np

from sharp_unet_jax.errors import InputError

# Names of Keras 1, which files of keras.applications still have; its "std" is the variance.
KERAS_1_NAMES = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}
KERAS_WEIGHT = re.compile(  # "block1_conv1_W_1" -> "W", "bn_conv1_running_std" -> "running_std"
    r"(?:.*?_)??(W|b|gamma|beta|(?:running|moving)_mean|running_std|moving_variance"
    r"|(?:depthwise_|pointwise_)?kernel|bias)(?:_\d+)?"
)
DEEPEST = 100  # groups inside groups; each model inside a model adds two

Item: TypeAlias = h5py.Group | h5py.Dataset


def read(path: Path) -> dict[str, np.ndarray]:
    """Read `.h5` or `.weights.h5`, with the names that `files.read` documents.

    Raises InputError for a file of anything else; a damaged file raises anything.
    """
    _check_heaps(path)
    with h5py.File(path) as file:
        items = _items(file)
        root = items.get("model_weights", file)
        named = _legacy_h5(root, items) if "layer_names" in root.attrs or "layer_names0" in root.attrs else None
        return {name: _dataset(dataset) for name, dataset in (named or _weights_h5(items)).items()}


def _check_heaps(path: Path) -> None:
    """Walk the heaps of an HDF5 file, which hold Keras 3's names: HDF5 2.0 itself never returns from a damaged heap."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for heap in re.finditer(rb"GCOL\x01\x00\x00\x00", data):
            at = heap.start() + 16
            end = heap.start() + int.from_bytes(data[at - 8 : at], "little")
            while at + 16 <= end:  # a shorter rest is padding
                index, size = (
                    int.from_bytes(data[at : at + 2], "little"),
                    int.from_bytes(data[at + 8 : at + 16], "little"),
                )
                step = 16 + (size + 7) // 8 * 8 if index else size  # 0 is free space, counted with its header
                if not 0 < step <= end - at:
                    raise ValueError(f"a heap object of {size} bytes at {at}")
                at += step


def _items(file: h5py.File) -> dict[str, Item]:
    """Return the groups and datasets of a file by path, each once.

    Links are not followed: they could lead to other files. Raises ValueError for groups nested deeper than any
    network's, for which HDF5 takes minutes.
    """
    items: dict[str, Item] = {}
    known = {h5py.h5o.get_info(file.id).addr}
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    while waiting:
        path, group = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in known or not isinstance(item, h5py.Group | h5py.Dataset):
                continue
            known.add(address)
            items[f"{path}{name}"] = item
            if isinstance(item, h5py.Group):
                if path.count("/") >= DEEPEST:
                    raise ValueError(f"groups nested deeper than {DEEPEST}")
                waiting.append((f"{path}{name}/", item))
    return items


def _legacy_h5(root: h5py.Group, items: dict[str, Item]) -> dict[str, h5py.Dataset]:
    """Read the weights that `layer_names` and `weight_names` list: keras.applications' files, `model.save("x.h5")`."""
    named: dict[str, h5py.Dataset] = {}
    for layer in _texts(root, "layer_names"):
        paths = _texts(items[f"{root.name}/{layer}".strip("/")], "weight_names")
        scopes = {path.rpartition("/")[0] for path in paths}
        for path in paths:
            scope, _, weight = path.partition(":")[0].rpartition("/")
            if known := KERAS_WEIGHT.fullmatch(weight):
                weight = KERAS_1_NAMES.get(known[1], known[1])
            owner = layer if len(scopes) == 1 else scope.rpartition("/")[2]  # several scopes: the layer is a model
            if f"{owner}/{weight}" in named:
                raise InputError(f"two tensors are called {f'{owner}/{weight}'!r}; give its layers names of their own")
            named[f"{owner}/{weight}"] = items[f"{root.name}/{layer}/{path}".strip("/")]
    return named


def _weights_h5(items: dict[str, Item]) -> dict[str, h5py.Dataset]:
    """Read Keras 3's `layers/<class and number>/vars/<i>`; from Keras 3.6 on, the group `vars` has the layer's name."""
    layers: dict[str, dict[int, h5py.Dataset]] = {}
    for path, item in items.items():
        found = re.fullmatch(r"(?!optimizer/)(.+)/vars/(\d{1,4})", path)
        if found and isinstance(item, h5py.Dataset):
            layers.setdefault(found[1], {})[int(found[2])] = item
    if not layers:
        raise InputError("an HDF5 file, but no weights of Keras in it; save them with model.save_weights(path)")
    named: dict[str, h5py.Dataset] = {}
    for layer in sorted(layers, key=_counting):
        variables = [layers[layer][i] for i in sorted(layers[layer])]
        names = [str(i) for i in sorted(layers[layer])]  # the file has no names of variables
        if len(variables) <= 2 and variables[0].ndim >= 2:
            names = ["kernel", "bias"]
        elif len(variables) == 4 and "batch_norm" in layer:
            names = ["gamma", "beta", "moving_mean", "moving_variance"]
        owner = str(variables[0].parent.attrs.get("name", layer.rpartition("/")[2]))
        if any(f"{owner}/{name}" in named for name in names):
            owner = layer  # each Dropout's generator is named "seed_generator"
        named |= {f"{owner}/{name}": variable for name, variable in zip(names, variables, strict=False)}
    return named


def _counting(path: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path)]


def _texts(group: h5py.Group, key: str) -> list[str]:
    """Read a list of names from the attributes; Keras splits a long list into `key0`, `key1`, ..."""
    parts = itertools.takewhile(group.attrs.__contains__, (f"{key}{i}" for i in itertools.count()))
    values = [value for part in ([key] if key in group.attrs else parts) for value in group.attrs[part]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _dataset(dataset: h5py.Dataset) -> np.ndarray:
    if dataset.external or dataset.is_virtual:
        raise InputError(f"{dataset.name!r:.200} lies in another file; save the weights again into one")
    if dataset.chunks is not None:  # a chunk of a few kB may unpack to gigabytes
        raise InputError(f"{dataset.name!r:.200} is compressed, as Keras never does; save the weights again with Keras")
    known, size = dataset.dtype.kind in "fiub", dataset.nbytes
    if not known or size > dataset.file.id.get_filesize() or (size and not dataset.id.get_storage_size()):
        raise ValueError(f"{dataset.name}: {dataset.shape} of {dataset.dtype}")
    return dataset.astype(dataset.dtype.newbyteorder("="))[()]
