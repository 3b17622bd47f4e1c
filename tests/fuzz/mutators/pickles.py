"""Changes of the pickles in PyTorch's files, and of the headers of safetensors and HDF5."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests.fuzz.mutators.content import Mutator, UnsuitableError, pick
from tests.fuzz.mutators.trees import DEEP, value

DOUBLING = b"]" + b"".join(
    b"q" + bytes([1 + n]) + b"]" + b"(h" + bytes([1 + n]) + b"h" + bytes([1 + n]) + b"e" for n in range(60)
)
HOSTILE: tuple[bytes, ...] = (
    b"cos\nsystem\n(Vtouch ../escaped\ntR",
    b"cbuiltins\neval\n(V1/0\ntR",
    b"ctests.fuzz\nharness\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n}Vx\nK\x01sb",  # sets an attribute of what it returns
    b"ccollections\nOrderedDict\n}Vx\nK\x01sb",
    b"ctorch\nFloatStorage\n}Vx\nK\x01sb",
    DOUBLING,
    b"(" * 100_000,
    b"]" * 100_000 + b"a" * 99_999,
    b"(" + b"t" * 10,
    b"\x8d" + (2**62).to_bytes(8, "little"),  # a text of exabytes
    b"r" + (2**31 - 1).to_bytes(4, "little"),  # a memo of gigabytes
    b"Vx\nQ",
    b"N" * 10,
    b"0" * 10,
    b"\x96" + (2**40).to_bytes(8, "little"),  # a bytearray of terabytes
    b"\x8a\xff" + b"\xff" * 255,  # a whole number of 2040 bits
    b"cnumpy.core.multiarray\n_reconstruct\n",
    pickle.dumps({"x": 1}, 2)[2:-1],
    pickle.dumps([[]] * 1000, 2)[2:-1],
)


def splice(pickled: bytes, random: np.random.Generator) -> bytes:
    """Put opcodes at the start, at the end or in between."""
    part = pick(random, HOSTILE)
    at = int(random.choice([2, len(pickled) - 1, random.integers(2, len(pickled))]))
    return pickled[:at] + part + (pickled[at:] if random.random() < 0.8 else b".")


def pickle_in_a_zip(path: Path, random: np.random.Generator) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members["archive/data.pkl"] = splice(members["archive/data.pkl"], random)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _of_legacy(change: Callable[[bytes, np.random.Generator], bytes], name: str) -> Mutator:
    def mutate(path: Path, random: np.random.Generator) -> None:
        """Change one of the five pickles."""
        content, start, parts = path.read_bytes(), 0, []
        import io
        import pickletools

        file = io.BytesIO(content)
        for _ in range(5):
            for _ in pickletools.genops(file):
                pass
            parts.append(content[start : file.tell()])
            start = file.tell()
        number = int(random.integers(5))
        parts[number] = change(parts[number], random)
        path.write_bytes(b"".join(parts) + content[start:])

    mutate.__name__ = name
    return mutate


pickle_of_the_old_format = _of_legacy(splice, "pickle_of_the_old_format")


def version_of_the_old_format(path: Path, random: np.random.Generator) -> None:
    """Replace the version by lists that hold each other twice: their text is longer than any memory."""
    content = path.read_bytes()
    old = pickle.dumps(1001, 2)
    if old not in content:
        raise UnsuitableError
    part = pick(random, HOSTILE)
    path.write_bytes(content.replace(old, b"\x80\x02" + part + b".", 1))


ZIPPED: tuple[Mutator, ...] = (pickle_in_a_zip,) * 4
LEGACY: tuple[Mutator, ...] = (*(pickle_of_the_old_format,) * 3, version_of_the_old_format, version_of_the_old_format)


def safetensors_header(path: Path, random: np.random.Generator) -> None:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    names = [name for name in header if name != "__metadata__"]
    entry = header[pick(random, names)]
    field = pick(random, ["dtype", "shape", "data_offsets"])
    values = [value(random), [2**62, 2**62], [-1], [0, 2**40], [8, 4], "F64", "BF16", DEEP]
    entry[field] = pick(random, values)
    try:
        text = json.dumps(header).replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000).encode()
    except (ValueError, UnicodeEncodeError) as error:
        raise UnsuitableError from error
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def hdf5(path: Path, random: np.random.Generator) -> None:
    """Change links, shapes, types and attributes."""
    changes: list[Callable[[h5py.File, list[str]], object]] = [
        lambda file, names: file.move(names[0], names[0] + "x"),
        lambda file, names: file.__setitem__("linked", h5py.ExternalLink("/etc/passwd", "/")),
        lambda file, names: _replace(file, names, h5py.ExternalLink("/etc/passwd", "/")),
        lambda file, names: _replace(file, names, h5py.SoftLink("/")),
        lambda file, names: _replace(file, names, file["/"]),
        lambda file, names: _replace(file, names, np.array([b"x", b"y"])),
        lambda file, names: _replace(file, names, 3.0),
        lambda file, names: _huge(file, names),
        lambda file, names: file.attrs.__setitem__("layer_names", [b"../x", b"nothing"]),
        lambda file, names: file.attrs.__setitem__("layer_names", 3),
        lambda file, names: file.attrs.__setitem__("layer_names", [b"conv10", b"conv10"]),
        lambda file, names: file[names[0]].parent.attrs.__setitem__("weight_names", [b"/", b".."]),
        lambda file, names: file[names[0]].parent.attrs.__setitem__("name", np.array([1, 2])),
        lambda file, names: file[names[0]].parent.attrs.__setitem__("name", "x" * 5000),
    ]
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        names = [names[number] for number in random.permutation(len(names))]
        if not names:
            raise UnsuitableError
        pick(random, changes)(file, names)


def _replace(file: h5py.File, names: list[str], new: object) -> None:
    del file[names[0]]
    file[names[0]] = new


def _huge(file: h5py.File, names: list[str]) -> None:
    """Claim an array of terabytes: HDF5 stores no chunk of it."""
    del file[names[0]]
    file.create_dataset(names[0], (10**6, 10**6), "f4", chunks=(1000, 1000))


SAFETENSORS: tuple[Mutator, ...] = (safetensors_header,) * 4
HDF5: tuple[Mutator, ...] = (hdf5,) * 6
