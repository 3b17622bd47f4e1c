"""What a sweep was made with: environment.json in its workdir. It may differ between runs of the same sweep."""

import json
import platform
import shlex
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import jax

import sharp_unet_jax
from sharp_unet_jax.atomic import write_json

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "pillow", "tensorflow-datasets")


def write(workdir: Path, module: str, arguments: Sequence[str], devices: Sequence[jax.Device]) -> None:
    """Adds the command to those that made the sweep, and says what ran it: versions, commit, machine and devices."""
    path = workdir / "environment.json"
    commands = json.loads(path.read_text())["commands"] if path.exists() else []
    command = shlex.join(["python", "-m", module, *arguments])
    write_json(
        path,
        {
            "commands": [*commands, *([command] if command not in commands else [])],
            "version": sharp_unet_jax.__version__,
            "commit": _commit(),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "devices": f"{len(devices)} x {devices[0].device_kind}",
            "packages": {name: metadata.version(name) for name in PACKAGES},
        },
    )


def _commit() -> str:
    """Of the checkout, "-dirty" where files were changed since; "unknown" where there is no git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
