"""Changes of a file's bytes, whatever its kind."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Mutator = Callable[[Path, np.random.Generator], None]  # changes the file at a path; raises UnsuitableError if it cannot

ELSEWHERE = Path(tempfile.gettempdir()) / "escaped-of-a-fuzzer"  # absolute paths in mutated files lead below it


class UnsuitableError(Exception):
    """The mutator cannot change this file."""


def pick(random: np.random.Generator, items: Sequence[T]) -> T:
    """Return one of the items, of whatever type they are."""
    return items[random.integers(len(items))]


def of_bytes(change: Callable[[bytearray, np.random.Generator], bytes]) -> Mutator:
    """Return the mutator that replaces a file's bytes by `change` of them."""

    def mutate(path: Path, random: np.random.Generator) -> None:
        if path.is_symlink() or not path.is_file():
            raise UnsuitableError
        content = path.read_bytes()
        if (changed := bytes(change(bytearray(content), random))) == content:
            raise UnsuitableError
        path.write_bytes(changed)

    mutate.__name__ = change.__name__
    return mutate


def _block(data: bytearray, random: np.random.Generator) -> slice:
    """Return a block of at most a quarter of the data, or of 64 bytes."""
    if not data:
        raise UnsuitableError
    start = int(random.integers(len(data)))
    length = int(random.integers(1, max(2, random.choice([64, len(data) // 4]))))
    return slice(start, min(start + length, len(data)))


def flip_bits(data: bytearray, random: np.random.Generator) -> bytes:
    if not data:
        raise UnsuitableError
    for _ in range(random.integers(1, 4)):
        data[random.integers(len(data))] ^= 1 << int(random.integers(8))
    return data


def flip_bits_of_the_head(data: bytearray, random: np.random.Generator) -> bytes:
    return flip_bits(data[:64], random) + data[64:]


def flip_bits_of_the_tail(data: bytearray, random: np.random.Generator) -> bytes:
    return data[:-64] + flip_bits(data[-64:], random)


def cut(data: bytearray, random: np.random.Generator) -> bytes:
    if not data:
        raise UnsuitableError
    return data[: random.integers(len(data))]


def cut_the_head(data: bytearray, random: np.random.Generator) -> bytes:
    if not data:
        raise UnsuitableError
    return data[random.integers(1, len(data) + 1) :]


def extend(data: bytearray, random: np.random.Generator) -> bytes:
    return data + random.bytes(random.integers(1, 100))


def zero_a_block(data: bytearray, random: np.random.Generator) -> bytes:
    block = _block(data, random)
    data[block] = bytes(block.stop - block.start)
    return data


def randomise_a_block(data: bytearray, random: np.random.Generator) -> bytes:
    block = _block(data, random)
    data[block] = random.bytes(block.stop - block.start)
    return data


def repeat_a_block(data: bytearray, random: np.random.Generator) -> bytes:
    block = _block(data, random)
    data[block] = data[block] * 2
    return data


def drop_a_block(data: bytearray, random: np.random.Generator) -> bytes:
    del data[_block(data, random)]
    return data


def change_a_number(data: bytearray, random: np.random.Generator) -> bytes:
    """Write an extreme number of 1, 2, 4 or 8 bytes somewhere, as lengths and counts in headers are."""
    width = pick(random, [1, 2, 4, 8])
    if len(data) < width:
        raise UnsuitableError
    value = pick(random, [0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1])
    start = int(random.integers(min(len(data), 512) - width + 1))
    data[start : start + width] = value.to_bytes(width, pick(random, ["little", "big"]))
    return data


def randomise(data: bytearray, random: np.random.Generator) -> bytes:
    return random.bytes(random.integers(1, 2 * len(data) + 2))


def change_a_digit(data: bytearray, random: np.random.Generator) -> bytes:
    digits = [place for place, byte in enumerate(data) if 48 <= byte < 58]
    if not digits:
        raise UnsuitableError
    data[random.choice(digits)] = 48 + random.integers(10)
    return data


MUTATORS: tuple[Mutator, ...] = tuple(
    map(
        of_bytes,
        (
            *(flip_bits, flip_bits_of_the_head, flip_bits_of_the_tail, cut, cut_the_head, extend, zero_a_block),
            *(randomise_a_block, repeat_a_block, drop_a_block, change_a_number, randomise, change_a_digit),
        ),
    )
)
