"""Choose the lowering of an operation by platform, or the definition everywhere."""

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jax import lax

_by_definition = contextvars.ContextVar("_by_definition", default=False)


@contextmanager
def by_definition() -> Iterator[None]:
    """Trace the definition of every operation, on every platform, inside this context: other compilers read these."""
    token = _by_definition.set(True)
    try:
        yield
    finally:
        _by_definition.reset(token)


def by_platform(*inputs: Any, default: Callable[..., Any], **platforms: Callable[..., Any]) -> Any:
    """Call the lowering for the platform compiled for ("cpu", "cuda"), or `default`; inside `by_definition`, `default`.

    Every lowering takes `inputs` and returns the same shapes and dtypes. See `lax.platform_dependent`.
    """
    if _by_definition.get():
        return default(*inputs)
    return lax.platform_dependent(*inputs, default=default, **platforms)
