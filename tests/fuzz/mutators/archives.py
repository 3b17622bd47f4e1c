"""Changes of zip archives that keep them archives."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.mutators.content import ELSEWHERE, Mutator, pick

Members = list[tuple[zipfile.ZipInfo, bytes]]


def of_members(change: Callable[[Members, np.random.Generator], object]) -> Mutator:
    """Return the mutator that changes the members of a zip archive."""

    def mutate(path: Path, random: np.random.Generator) -> None:
        with zipfile.ZipFile(path) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
        change(members, random)
        import warnings

        with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
            warnings.simplefilter("ignore")
            for info, content in members:
                archive.writestr(info, content)

    mutate.__name__ = change.__name__
    return mutate


def _member(members: Members, random: np.random.Generator) -> int:
    files = [number for number, (info, _) in enumerate(members) if not info.is_dir()]
    return pick(random, files)


def repeat_a_name(members: Members, random: np.random.Generator) -> None:
    """Give a member's name to another member too."""
    one, other = _member(members, random), _member(members, random)
    members.append((zipfile.ZipInfo(members[one][0].filename), members[other][1]))


def escape(members: Members, random: np.random.Generator) -> None:
    """Name a member so that it would be extracted elsewhere."""
    number = _member(members, random)
    name = members[number][0].filename
    top, _, base = name.rpartition("/")
    names = (
        f"../../{base}",
        f"{ELSEWHERE}/{base}",
        f"{top}/../../../{base}",
        f"C:\\{base}",
        f"{top}\\{base}",
        f"{top}//{base}",
        f"./{name}",
    )
    added = zipfile.ZipInfo(pick(random, names))
    if random.random() < 0.5:
        members[number] = (added, members[number][1])
    else:
        members.append((added, b"x"))


def as_a_link(members: Members, random: np.random.Generator) -> None:
    number = _member(members, random)
    info = zipfile.ZipInfo(members[number][0].filename)
    info.external_attr = 0o120777 << 16
    members[number] = (info, b"/etc/passwd")


def drop_a_member(members: Members, random: np.random.Generator) -> None:
    del members[_member(members, random)]


def bomb(members: Members, random: np.random.Generator) -> None:
    """Replace a member by gigabytes of zeros, well compressed."""
    number = _member(members, random)
    info = zipfile.ZipInfo(members[number][0].filename)
    info.compress_type = zipfile.ZIP_DEFLATED
    members[number] = (info, bytes(2**31))


def other_compression(members: Members, random: np.random.Generator) -> None:
    kind = pick(random, [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    for info, _ in members:
        info.compress_type = kind


def many_members(members: Members, random: np.random.Generator) -> None:
    members += [(zipfile.ZipInfo(f"x/{number}.png"), b"") for number in range(5000)]


def _field(path: Path, random: np.random.Generator, offset: int, local: int, width: str, value: Any) -> None:
    """Write a number into the central directory and the local header of one member."""
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        start = archive.start_dir
    info = pick(random, infos)
    content = bytearray(path.read_bytes())
    at = content.index(info.filename.encode(), start) - 46
    struct.pack_into(f"<{width}", content, at + offset, value)
    if random.random() < 0.7:
        struct.pack_into(f"<{width}", content, info.header_offset + local, value)
    path.write_bytes(content)


def version_needed(path: Path, random: np.random.Generator) -> None:
    _field(path, random, 6, 4, "H", pick(random, [64, 100, 65535]))


def flags(path: Path, random: np.random.Generator) -> None:
    """Say that a member is encrypted, patched or has its sizes behind it."""
    _field(path, random, 8, 6, "H", pick(random, [1, 8, 32, 64, 0x2000]))


def compression_method(path: Path, random: np.random.Generator) -> None:
    _field(path, random, 10, 8, "H", pick(random, [1, 8, 12, 14, 93, 99, 65535]))


def checksum(path: Path, random: np.random.Generator) -> None:
    _field(path, random, 16, 14, "I", int(random.integers(2**32)))


def sizes(path: Path, random: np.random.Generator) -> None:
    """Lie about the packed or the unpacked size."""
    offset = pick(random, [0, 4])
    _field(path, random, 20 + offset, 18 + offset, "I", pick(random, [0, 1, 2**20, 2**31, 2**32 - 1]))


def header_offset(path: Path, random: np.random.Generator) -> None:
    _field(path, random, 42, 14, "I", pick(random, [0, 1, 2**31, 2**32 - 1]))


def name_of_a_member(path: Path, random: np.random.Generator) -> None:
    """Put a NUL or a byte that is no UTF-8 into a name."""
    _field(path, random, 48, 32, "B", pick(random, [0, 255, 10]))


ARCHIVES: tuple[Mutator, ...] = (
    *map(
        of_members,
        (repeat_a_name, escape, escape, as_a_link, drop_a_member, bomb, other_compression, many_members),
    ),
    *(version_needed, flags, compression_method, checksum, sizes, sizes, header_offset, name_of_a_member),
)
