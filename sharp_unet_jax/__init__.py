"""Sharp U-Net (Zunair & Ben Hamza 2021) and its baselines in JAX."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sharp_unet_jax.trained import load

__version__ = "0.1.0"
__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """`load` when it is first asked for: JAX is not to be imported by those who read records alone."""
    if name == "load":
        from sharp_unet_jax.trained import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
