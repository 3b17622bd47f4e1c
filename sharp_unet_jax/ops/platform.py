"""Which lowering of an operation a platform gets, and how to have the definitions instead."""

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jax import lax

_by_definition = contextvars.ContextVar("_by_definition", default=False)


@contextmanager
def by_definition() -> Iterator[None]:
    """What is traced inside is the definition of every operation, on every platform: for other compilers to read."""
    token = _by_definition.set(True)
    try:
        yield
    finally:
        _by_definition.reset(token)


def by_platform(*inputs: Any, default: Callable[..., Any], **platforms: Callable[..., Any]) -> Any:
    """`lax.platform_dependent`, or `default` inside `by_definition`."""
    if _by_definition.get():
        return default(*inputs)
    return lax.platform_dependent(*inputs, default=default, **platforms)
