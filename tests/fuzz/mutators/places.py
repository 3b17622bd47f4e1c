"""A file replaced by something else of its name: nothing, a folder, a pipe, a link, another file."""

import os
import shutil
from pathlib import Path

import numpy as np

from tests.fuzz.mutators.content import Mutator, UnsuitableError, pick


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def empty_file(path: Path, random: np.random.Generator) -> None:
    if path.stat().st_size == 0:
        raise UnsuitableError
    path.write_bytes(b"")


def missing(path: Path, random: np.random.Generator) -> None:
    _remove(path)


def empty_folder(path: Path, random: np.random.Generator) -> None:
    _remove(path)
    path.mkdir()


def folder_with_the_file(path: Path, random: np.random.Generator) -> None:
    content = path.read_bytes()
    _remove(path)
    path.mkdir()
    (path / path.name).write_bytes(content)


def pipe(path: Path, random: np.random.Generator) -> None:
    _remove(path)
    os.mkfifo(path)


def link_to_itself(path: Path, random: np.random.Generator) -> None:
    _remove(path)
    path.symlink_to(path.name)


def link_to_nothing(path: Path, random: np.random.Generator) -> None:
    _remove(path)
    path.symlink_to("nothing")


def link_to_endless_zeros(path: Path, random: np.random.Generator) -> None:
    _remove(path)
    path.symlink_to("/dev/zero")


def larger_than_memory(path: Path, random: np.random.Generator) -> None:
    """Extend a file by a hole: it takes no space on the disk."""
    with open(path, "ab") as file:
        file.truncate(2**32)


def _others(path: Path, suffix: str | None) -> list[Path]:
    """Return the other files of the sandbox, only those of a suffix if one is given."""
    top = next(folder for folder in path.parents if folder.name == "box")
    content = path.read_bytes()
    found = [each for each in sorted(top.rglob("*")) if each.is_file() and each != path and each.stat().st_size < 10**7]
    return [each for each in found if suffix in (None, each.suffix) and each.read_bytes() != content]


def _replace(path: Path, random: np.random.Generator, suffix: str | None) -> None:
    if not (others := _others(path, suffix)):
        raise UnsuitableError
    path.write_bytes(pick(random, others).read_bytes())


def other_file(path: Path, random: np.random.Generator) -> None:
    _replace(path, random, None)


def other_file_of_its_kind(path: Path, random: np.random.Generator) -> None:
    _replace(path, random, path.suffix)


def other_file_of_its_name(path: Path, random: np.random.Generator) -> None:
    """Take the file of another run, say."""
    others = [each for each in _others(path, path.suffix) if each.name == path.name]
    if not others:
        raise UnsuitableError
    path.write_bytes(pick(random, others).read_bytes())


def all_files_of_another(path: Path, random: np.random.Generator) -> None:
    """Replace the whole folder by its sibling that has a file of this name: all files of a run, say."""
    others = [
        each for each in sorted(path.parent.parent.iterdir()) if (each / path.name).exists() and each != path.parent
    ]
    if not others or (path.parent / "runs").exists():  # a whole workdir: the command would name the other one
        raise UnsuitableError
    shutil.rmtree(path.parent)
    shutil.copytree(pick(random, others), path.parent, symlinks=True)


MUTATORS: tuple[Mutator, ...] = (
    *(empty_file, missing, empty_folder, folder_with_the_file, pipe, link_to_itself, link_to_nothing),
    *(link_to_endless_zeros, larger_than_memory, other_file, other_file_of_its_kind, other_file_of_its_name),
    *(other_file_of_its_name, other_file_of_its_name, all_files_of_another),
)
