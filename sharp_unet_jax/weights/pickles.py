"""Tensors as the pickles of torch.save describe them, by an interpreter of the opcodes that a state dict needs.

A pickle is a program, and Python's unpickler runs it. Here nothing is imported, called or changed: values are None,
numbers, texts, tuples, lists, dicts, `Storage` and `Tensor`. Time and memory grow only with the pickle's length: a
value that is used again is not copied, and no tuple, list or dict is printed, compared or hashed. A hundred opcodes can
double a list a hundred times, and nothing that walks through it would ever end.
"""

import pickletools
from typing import Any, BinaryIO, NamedTuple

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.weights import dtypes

STATE_DICT_ALONE = "save only the weights: torch.save(model.state_dict(), path)"
LONGEST = 1_000_000  # opcodes; a state dict has about forty for each tensor

_AXES = 64  # of a NumPy array at most
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "BINSTRING", "SHORT_BINSTRING"
_FUNCTIONS = (
    "collections OrderedDict",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
)
_GLOBALS = {*_FUNCTIONS, *(f"torch {storage}" for storage in dtypes.TORCH)}


class Storage(NamedTuple):
    """The memory of a tensor, not yet read."""

    kind: str  # a key of dtypes.TORCH
    key: str
    numel: int


class Tensor(NamedTuple):
    """A tensor as its pickle describes it."""

    storage: Storage
    offset: int  # in elements, as the strides are
    size: tuple[int, ...]
    stride: tuple[int, ...]


def load(file: BinaryIO) -> Any:
    """Return the value of the pickle at the file's position, and leave the file behind it.

    Raises InputError for an import or an opcode that no state dict has; a damaged pickle raises anything.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    argument: Any
    for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if number == LONGEST:
            raise InputError(f"its pickle has more than {LONGEST} opcodes; {STATE_DICT_ALONE}")
        match opcode.name:
            case "PROTO":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                marks.append(len(stack))
            case name if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case name if name in _LITERALS:
                stack.append(argument)
            case "GLOBAL":
                stack.append(_global(argument))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                stack.append(tuple(_taken(stack, len(stack) - int(name[-1]))))
            case "TUPLE":
                stack.append(tuple(_taken(stack, marks.pop())))
            case "APPEND" | "APPENDS" as name:
                items = _taken(stack, len(stack) - 1 if name == "APPEND" else marks.pop())
                _extend(stack[-1], items)
            case "SETITEM" | "SETITEMS" as name:
                items = _taken(stack, len(stack) - 2 if name == "SETITEM" else marks.pop())
                _update(stack[-1], list(zip(items[::2], items[1::2], strict=True)))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_called(stack.pop(), arguments))
            case "BUILD":  # attributes of an OrderedDict, of which a state dict has `_metadata`
                stack.pop()
                _expect(type(stack[-1]) is dict, "attributes of something else than a dict")
            case name:
                raise InputError(
                    f"its pickle has the opcode {name}, which no state dict has: it is damaged, or {STATE_DICT_ALONE}"
                )
    raise ValueError("a pickle without an end")


def _global(name: str) -> str:
    """Return the name of a function or a storage's type: it stands for what it names."""
    if name not in _GLOBALS:
        wanted = repr(name.replace(" ", "."))[:200]
        raise InputError(f"its pickle wants to import {wanted}, which was not run; {STATE_DICT_ALONE}")
    return name


def _taken(stack: list[Any], height: int) -> list[Any]:
    """Return what lies above `height` on the stack, and take it off."""
    _expect(0 <= height <= len(stack), "an opcode without operands")
    taken = stack[height:]
    del stack[height:]
    return taken


def _extend(target: Any, items: list[Any]) -> None:
    _expect(type(target) is list, "items of something else than a list")
    target.extend(items)


def _update(target: Any, pairs: list[Any]) -> None:
    _expect(type(target) is dict, "entries of something else than a dict")
    for key, value in pairs:
        # To hash a tuple may never end. Long numbers may share a hash: each is then compared with all before it.
        small = type(key) is int and abs(key) < 2**31
        _expect(small or isinstance(key, str), "a key that is neither a text nor a small number")
        target[key] = value


def _called(function: Any, arguments: Any) -> Any:
    """Return what one of `_FUNCTIONS` returns."""
    _expect(type(arguments) is tuple and len(arguments) <= 8, "a call with other arguments")
    match function, arguments:
        case "collections OrderedDict", ():
            return {}
        case "collections OrderedDict", (list(pairs),):  # by Python 2
            made: dict[str | int, Any] = {}
            _update(made, pairs)
            pairs.clear()  # a long list that many calls copy would fill all memory
            return made
        case (
            "torch._utils _rebuild_tensor" | "torch._utils _rebuild_tensor_v2",
            (Storage() as storage, int(offset), tuple(size), tuple(stride), *_),
        ):
            _expect(len(size) == len(stride) <= _AXES, "a tensor of other axes")
            _expect(all(map(_whole, (offset, *size, *stride))), "a tensor whose size is no whole number")
            return Tensor(storage, offset, size, stride)
        case "torch._utils _rebuild_parameter", (Tensor() as data, *_):
            return data
    raise ValueError("a call with other arguments")


def _storage(pid: Any) -> Storage:
    """Return the storage that a persistent id refers to."""
    match pid:  # PyTorch 0.3 and below wrote views of storages as a sixth item; None is no view
        case ("storage", str(kind), str(key), _, numel) | ("storage", str(kind), str(key), _, numel, None):
            kind = kind.removeprefix("torch ")
            if kind in dtypes.TORCH and _whole(numel):
                return Storage(kind, key, numel)
    raise InputError(f"its pickle refers to a storage in a way unknown here; {STATE_DICT_ALONE}")


def _whole(number: Any) -> bool:
    return type(number) is int and abs(number) < 2**63


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
