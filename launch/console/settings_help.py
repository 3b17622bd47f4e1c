"""The settings of a config on the terminal: --help-config, and --help-config=FIELD for one."""

import difflib
import textwrap
import types
import typing
from operator import attrgetter
from typing import Any

from launch.console import fields
from sharp_unet_jax.config import Augment, Config, Data
from sharp_unet_jax.errors import InputError

GROUPS: dict[str, type] = {"data.": Data, "augment.": Augment, "": Config}  # by what stands before their fields
HEADINGS = {  # by the first field of each part
    "data.builder": "Data",
    "data.scale": "Crops",
    "data.images": "Your own files",
    "augment.flip": "Augmentation (--config.augment=none sets all of it to 0)",
    "models": "Networks",
    "weights": "Weights to start from",
    "protocol": "Folds and scores",
    "loss": "Training",
    "retries": "The sweep",
}
WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", types.NoneType: "none"}


def describe(name: str, config: Config, width: int) -> str:
    """Return what the field `name` is, all fields of "data" or "augment", or those of all parts ("").

    Each has its value in `config`, and the default where that is another. Lines have at most `width` characters, but
    for long values. Raises InputError for a name that is none of them.
    """
    known = {prefix + each.name: each for prefix, group in GROUPS.items() for each in fields.of(group)}
    known = {key: each for key, each in known.items() if f"{key}." not in GROUPS}
    name = name.removeprefix("--").removeprefix("config.")
    chosen = [key for key in known if name in ("", key) or key.startswith(f"{name}.")]
    if not chosen:
        by_end = [key for key in known if key.rpartition(".")[2] == name]
        near = (by_end or difflib.get_close_matches(name, known, n=1, cutoff=0))[0]
        raise InputError(f"--help-config={name:.200}: no such field; did you mean --help-config={near}?")
    parts = []
    for key in chosen:
        if key in HEADINGS and len(chosen) > 1:
            parts.append(f"{HEADINGS[key]}\n")
        parts.append(_entry(key, known[key].comment, attrgetter(key)(config), width))
    if len(chosen) == 1 and chosen[0] in ("models", "skip_kernel", "loss"):
        parts.append(
            textwrap.fill(", ".join(_names(chosen[0])), width, initial_indent="  ", subsequent_indent="  ") + "\n"
        )
    return "\n".join(parts)


def _entry(key: str, comment: str, value: Any, width: int) -> str:
    """Return a field as one types it, what it takes, and what it is."""
    default = attrgetter(key)(Config())
    group = next(group for prefix, group in GROUPS.items() if key.startswith(prefix))
    kind = typing.get_type_hints(group)[key.rpartition(".")[2]]
    takes = "" if kind is str else _words(kind)
    head = f"  --config.{key}={_text(value)}" + ("" if value == default else f"  (default: {_text(default)})")
    indent = " " * 6
    about = [textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent) for text in (comment, takes)]
    return "\n".join([head, *filter(None, about)]) + "\n"


def _names(key: str) -> list[str]:
    """Return the names that a field takes."""
    from sharp_unet_jax import losses, models, ops  # here, as JAX takes a second and other fields do without

    return list({"models": models.names(), "skip_kernel": ops.KERNELS, "loss": losses.LOSSES}[key])


def _words(kind: Any) -> str:
    """Say what values a type has, as one types them."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return ", ".join(args[:-1]) + f" or {args[-1]}" if args[1:] else args[0]
    if origin in (types.UnionType, typing.Union):
        return ", or ".join(map(_words, args))
    if origin is tuple:
        each = _words(args[0]).removeprefix("a ").removesuffix("s") + "s"
        number = "" if args[-1] is Ellipsis else f"{len(args)} "
        return f"{number}{each.replace('texts', 'names')} with commas between them"
    return WORDS.get(kind, "a mapping such as {'cross_entropy': 1, 'dice': 0.5}")


def _text(value: Any) -> str:
    """Return a value as one types it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
