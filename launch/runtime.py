"""How JAX runs here: the one place that sets its options and XLA's.

XLA's defaults are kept: it autotunes a GPU's kernels as it compiles. Precision belongs to the config
(`--config.precision`), and environment variables (`XLA_FLAGS`, `JAX_COMPILATION_CACHE_DIR`, ...) win over this file.
"""

import os
from pathlib import Path

import jax


def configure() -> list[jax.Device]:
    """The devices here, with compiled programs and autotuning results kept in ~/.cache/sharp_unet_jax between sweeps.

    Not on a CPU: there a compiled program may use instructions that another machine sharing the folder has not.
    """
    devices = jax.devices()
    if devices[0].platform != "cpu" and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache" / "sharp_unet_jax"))
    return devices
