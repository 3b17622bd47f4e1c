"""Configs from files and the command line: `--config=cvc.py --config.folds=2 --config.data.size=96,128`."""

import ast
import dataclasses
import difflib
import runpy
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sharp_unet_jax.config import Augment, Config, Data
from sharp_unet_jax.errors import InputError

CONFIGS = Path(__file__).parents[1] / "configs"


def load(name: str) -> Config:
    """Return the `config` that a file defines. `name` is a path, or the name of a file in launch/configs.

    Raises InputError where there is no such file, or where it defines no config.
    """
    known, path = shipped(), Path(name)
    if not path.is_file() and f"{name.removesuffix('.py')}.py" in known:
        path = CONFIGS / f"{name.removesuffix('.py')}.py"
    if not path.is_file():
        near = difflib.get_close_matches(path.as_posix(), known, n=1, cutoff=0)
        raise InputError(
            f"--config: no file {name!r:.200}; did you mean {near[0]!r}? Known: {', '.join(known)}, or any path"
        )
    try:
        config = runpy.run_path(str(path)).get("config")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's file may raise anything, and SystemExit would end the command with 0
        raise InputError(f"--config: {path}: {type(error).__name__}: {error}") from error
    if not isinstance(config, Config):
        raise InputError(f"--config: {path} does not define `config = Config(...)`")
    return config


def shipped() -> list[str]:
    """Return the names of the files in launch/configs."""
    return sorted(file.relative_to(CONFIGS).as_posix() for file in CONFIGS.rglob("*.py"))


def short_name(name: str) -> str:
    """Return the name of a config for folders: "cvc" and "published/cvc" in launch/configs, else that of its file."""
    return Path(name).stem if Path(name).is_file() else name.removesuffix(".py")


def overridden(config: Config, arguments: Sequence[str]) -> Config:
    """Return `config` with the arguments `--config.FIELD=VALUE` or `--config.FIELD VALUE` applied.

    Raises InputError as `assignments` does, and for an unknown field and a wrong value.
    """
    for field, value in assignments(arguments):
        config = override(config, field, value)
    return config


def assignments(arguments: Sequence[str], options: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return (FIELD, VALUE) of each argument `--config.FIELD=VALUE` or `--config.FIELD VALUE`.

    Raises InputError for any other argument; it names the nearest of the fields and of the `options` of a command.
    """
    rest, found = list(arguments), []
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--config."):
            raise unknown(argument, [*options, *choices()])
        field, equals, value = argument.removeprefix("--config.").partition("=")
        if not equals:
            if not rest:
                raise InputError(f"{argument}: give it a value, {argument}=VALUE")
            value = rest.pop(0)
        found.append((field, value))
    return found


def unknown(argument: str, options: Sequence[str]) -> InputError:
    """Return the error for an argument that a command does not know; it names the nearest of the `options`.

    The nearest has the same last part, as --config.epochs and --epochs, or else is spelt most alike.
    """
    name, equals, value = argument.partition("=")
    by_end: dict[str, str] = {}
    for option in options:
        by_end.setdefault(_end(option), option)
    near = by_end.get(_end(name)) or next(iter(difflib.get_close_matches(name, options, n=1)), "")
    near = near or "".join(by_end[end] for end in difflib.get_close_matches(_end(name), by_end, n=1))
    hint = f"did you mean {near}{equals}{value:.200}?" if near else "see --help"
    return InputError(f"{argument:.200}: unknown argument; {hint}")


def _end(option: str) -> str:
    return option.lstrip("-").rpartition(".")[2].replace("-", "_")


def choices() -> dict[str, tuple[str, ...]]:
    """Return all settings as one types them, each with the values that it takes, () where these are not counted."""
    found: dict[str, tuple[str, ...]] = {}
    for prefix, group in (("", Config), ("data.", Data), ("augment.", Augment)):
        for name, kind in typing.get_type_hints(group).items():
            if not dataclasses.is_dataclass(kind):
                words = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
                found[f"--config.{prefix}{name}"] = ("true", "false") if kind is bool else words
    return found


def override(config: Any, field: str, text: str, prefix: str = "--config.") -> Any:
    """Return `config` with the dotted `field` set to `text`. Raises InputError for unknown fields and wrong values."""
    name, _, rest = field.partition(".")
    hints = typing.get_type_hints(type(config))
    if name not in hints:
        near = difflib.get_close_matches(name, hints, n=1, cutoff=0)
        raise InputError(f"{prefix}{name:.200}: no such field; did you mean {prefix}{near[0]}?")
    value = getattr(config, name)
    if dataclasses.is_dataclass(value):
        if isinstance(value, Augment) and text.lower() == "none" and not rest:
            return dataclasses.replace(config, **{name: Augment()})
        if not rest:
            raise InputError(f"{prefix}{name}: name one of its fields: {', '.join(typing.get_type_hints(type(value)))}")
        return dataclasses.replace(config, **{name: override(value, rest, text, f"{prefix}{name}.")})
    if rest:
        raise InputError(f"{prefix}{field}: {name} has no fields")
    try:
        return dataclasses.replace(config, **{name: parse(text, hints[name])})
    except (ValueError, OverflowError) as error:
        raise InputError(f"{prefix}{name}={text:.200}: {error}") from error


def parse(text: str, kind: Any) -> Any:
    """Return `text` as a value of the annotation `kind`. Raises ValueError, which says what is expected."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        if text not in args:
            raise ValueError(f"expected one of {', '.join(args)}")
        return text
    if origin in (types.UnionType, typing.Union):
        if types.NoneType in args and text.lower() == "none":
            return None
        if any(text in typing.get_args(arg) for arg in args if typing.get_origin(arg) is typing.Literal):
            return text
        # Text in braces is a mapping; any other text is read as the first alternative.
        mapping = [arg for arg in args if typing.get_origin(arg) is Mapping]
        return parse(text, mapping[0] if mapping and text.startswith("{") else args[0])
    if origin is Mapping:
        value = _literal(text)
        if not isinstance(value, dict) or not all(isinstance(weight, int | float) for weight in value.values()):
            raise ValueError("expected a mapping such as {'cross_entropy': 1, 'dice': 0.5}")
        return {str(key): float(weight) for key, weight in value.items()}
    if origin is tuple:
        parts = [_bare(part, "''", '""') for part in _bare(text, "()", "[]").split(",") if part.strip()]
        kinds = [args[0]] * len(parts) if args[-1] is Ellipsis else list(args)
        if len(parts) != len(kinds):
            raise ValueError(f"expected {len(kinds)} values separated by commas")
        return tuple(parse(part, part_kind) for part, part_kind in zip(parts, kinds, strict=True))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("expected true or false")
        return text.lower() == "true"
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"expected {'a whole number' if kind is int else 'a number'}") from None
    return text


def _bare(text: str, *around: str) -> str:
    """Return text without the blanks and the pair of signs around it; signs inside are part of a name."""
    text = text.strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] + text[-1] in around else text


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):  # as the documentation of ast warns
        return None
