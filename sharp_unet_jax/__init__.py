"""Sharp U-Net (Zunair & Ben Hamza 2021) and its baselines in JAX.

import sharp_unet_jax

run = sharp_unet_jax.fit("sharp_unet", images, masks, epochs=30)
run = sharp_unet_jax.load("work/cvc/runs/sharp_unet/repeat0-fold0")  # or a workdir, or "hf://OWNER/NAME"
probabilities = run.predict(images)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sharp_unet_jax import losses, metrics, models, ops
    from sharp_unet_jax.config import Augment
    from sharp_unet_jax.errors import InputError
    from sharp_unet_jax.fitting import fit
    from sharp_unet_jax.inference.ensemble import Ensemble
    from sharp_unet_jax.inference.loading import load
    from sharp_unet_jax.inference.trained import Trained
    from sharp_unet_jax.weights.pretrained import build

__version__ = "0.1.0"
__all__ = ["Augment", "Ensemble", "InputError", "Trained", "build", "fit", "load", "losses", "metrics", "models", "ops"]

_HOMES = {
    "Augment": "config",
    "Ensemble": "inference.ensemble",
    "InputError": "errors",
    "Trained": "inference.trained",
    "build": "weights.pretrained",
    "fit": "fitting",
    "load": "inference.loading",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: code that only reads records must not import JAX."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    """List the public names, for completion."""
    return sorted({*globals(), *__all__})
