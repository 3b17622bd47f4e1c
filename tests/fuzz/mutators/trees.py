"""Changes of JSON, of JSON lines, and of what any other format has as a tree of dicts and lists."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.mutators.content import ELSEWHERE, Mutator, UnsuitableError, pick

DEEP = "DEEP"  # replaced by lists in lists when the tree is written: json.dumps would not write them
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        0.5,
        1.5,
        -0.0,
        309,
        1e308,
        10**30,
        2**63,
        -(2**63) - 1,
        float("nan"),
        float("inf"),
    ),
    *(
        "",
        "x",
        "0",
        "../../escaped",
        str(ELSEWHERE),
        "a/b",
        "\0",
        "\ud800",
        "=1+1",
        "x" * 3000,
        [],
        {},
        [[]],
        [0],
        {"x": 0},
        [None],
        DEEP,
    ),
)


def of_tree(change: Callable[[Any, np.random.Generator], Any]) -> Mutator:
    """Return the mutator that replaces a JSON file's tree, or that of one line, by `change` of it."""

    def mutate(path: Path, random: np.random.Generator) -> None:
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines() if path.suffix == ".jsonl" else [text]
        line = int(random.integers(len(lines)))
        lines[line] = dump(change(json.loads(lines[line]), random), None if path.suffix == ".jsonl" else 2)
        changed = "\n".join(lines) + "\n"
        if changed.split() == text.split():
            raise UnsuitableError
        path.write_text(changed, encoding="utf-8")

    mutate.__name__ = change.__name__
    return mutate


def dump(tree: Any, indent: int | None) -> str:
    return json.dumps(tree, indent=indent).replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000)


def value(random: np.random.Generator) -> Any:
    """Return a value that a reader may not expect."""
    return pick(random, VALUES)


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key or index) of every value in the tree."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from _places(tree[key])


def _place(tree: Any, random: np.random.Generator, of: type | tuple[type, ...] = object) -> tuple[Any, Any]:
    """Return the place of a value; each level of the tree is as likely, though the lowest has most values."""
    places = [(container, key) for container, key in _places(tree) if isinstance(container[key], of)]
    if random.random() < 0.5:
        places = [(container, key) for container, key in places if container is tree] or places
    if not places:
        raise UnsuitableError
    return pick(random, places)


def change_a_value(tree: Any, random: np.random.Generator) -> Any:
    container, key = _place(tree, random)
    container[key] = value(random)
    return tree


def change_the_whole(tree: Any, random: np.random.Generator) -> Any:
    return value(random)


def drop_a_value(tree: Any, random: np.random.Generator) -> Any:
    container, key = _place(tree, random)
    del container[key]
    return tree


def rename_a_key(tree: Any, random: np.random.Generator) -> Any:
    places = [(container, key) for container, key in _places(tree) if isinstance(container, dict)]
    if not places:
        raise UnsuitableError
    container, key = pick(random, places)
    container[key + "x"] = container.pop(key)
    return tree


def add_a_key(tree: Any, random: np.random.Generator) -> Any:
    places = [tree, *(container[key] for container, key in _places(tree))]
    dicts = [each for each in places if isinstance(each, dict)]
    if not dicts:
        raise UnsuitableError
    pick(random, dicts)["unknown"] = value(random)
    return tree


def swap_siblings(tree: Any, random: np.random.Generator) -> Any:
    container, key = _place(tree, random)
    other = list(container)[random.integers(len(container))] if isinstance(container, dict) else None
    other = int(random.integers(len(container))) if other is None else other
    container[key], container[other] = container[other], container[key]
    return tree


def repeat_an_item(tree: Any, random: np.random.Generator) -> Any:
    container, key = _place(tree, random, list)
    items = container[key]
    if not items:
        raise UnsuitableError
    items.insert(int(random.integers(len(items))), pick(random, items))
    return tree


def change_a_number(tree: Any, random: np.random.Generator) -> Any:
    """Change one digit, the sign or the magnitude: the type stays."""
    container, key = _place(tree, random, (int, float))
    old = container[key]
    if isinstance(old, bool):
        container[key] = not old
    elif isinstance(old, int):
        container[key] = old + pick(random, [-1, 1, 7, 10])
    else:
        container[key] = old + pick(random, [-1, -0.01, 0.001, 0.1, 3])
    return tree


def change_a_text(tree: Any, random: np.random.Generator) -> Any:
    """Change one letter, or take the text of another place."""
    container, key = _place(tree, random, str)
    other_container, other = _place(tree, random, str)
    text = container[key]
    at = int(random.integers(len(text) + 1))
    container[key] = other_container[other] if random.random() < 0.5 else text[:at] + "7" + text[at + 1 :]
    return tree


MUTATORS: tuple[Mutator, ...] = tuple(
    map(
        of_tree,
        (
            *(change_a_value, change_a_value, change_the_whole, drop_a_value, rename_a_key, add_a_key, swap_siblings),
            *(repeat_an_item, change_a_number, change_a_number, change_a_text),
        ),
    )
)


def lines(change: Callable[[list[str], int, int], object]) -> Mutator:
    def mutate(path: Path, random: np.random.Generator) -> None:
        text = path.read_text(encoding="utf-8").splitlines()
        if len(text) < 2:
            raise UnsuitableError
        one, other = random.choice(len(text), 2, replace=False)
        change(text, one, other)
        path.write_text("".join(line + "\n" for line in text), encoding="utf-8")

    mutate.__name__ = change.__name__
    return mutate


def drop_a_line(text: list[str], one: int, other: int) -> None:
    del text[one]


def repeat_a_line(text: list[str], one: int, other: int) -> None:
    text.insert(one, text[other])


def swap_lines(text: list[str], one: int, other: int) -> None:
    text[one], text[other] = text[other], text[one]


LINES: tuple[Mutator, ...] = tuple(map(lines, (drop_a_line, repeat_a_line, swap_lines)))
