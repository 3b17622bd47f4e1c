"""What a sweep was made with: environment.json in its workdir. It may differ between runs of the same sweep."""

import json
import platform
import shlex
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

import sharp_unet_jax
from sharp_unet_jax.storage.atomic import write_json

PACKAGES = (  # what trains, reads and scores
    *("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scipy", "pandas", "pillow", "tifffile"),
    *("dm-pix", "tensorflow-datasets"),
)


def write(workdir: Path, module: str, arguments: Sequence[str], devices: Sequence[jax.Device], *, made: bool) -> None:
    """Adds the command to those that made the sweep, and what ran it: versions, commit, machine and devices.

    "A; B" where runs were made by both; nothing but the command if this one has `made` none.
    """
    path = workdir / "environment.json"
    before = _read(path)
    commands = before.pop("commands", [])
    command = shlex.join(["python", "-m", module, *arguments])
    now = {
        "version": sharp_unet_jax.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }
    said = _together([before, now] if made else [before or now])
    write_json(path, {"commands": [*commands, *([command] if command not in commands else [])], **said})


def merge(workdir: Path, sources: Sequence[Path]) -> None:
    """Writes what sweeps were made with that `sources` and `workdir` hold: all commands; "A; B" where they differ."""
    paths = [folder / "environment.json" for folder in dict.fromkeys([workdir, *sources])]
    several = [found for path in paths if (found := _read(path))]
    if several:
        commands = dict.fromkeys(command for each in several for command in each.get("commands", []))
        said = [{name: value for name, value in each.items() if name != "commands"} for each in several]
        write_json(workdir / "environment.json", {"commands": [*commands], **_together(said)})


def _read(path: Path) -> dict[str, Any]:
    """{} where it is not there, or damaged: that is not to keep a sweep from its tables."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _together(several: Sequence[dict[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in several for name in each):
        values = [each[name] for each in several if name in each]
        parts = dict.fromkeys(part for value in values if isinstance(value, str) for part in value.split("; "))
        made[name] = _together(values) if isinstance(values[0], dict) else "; ".join(parts)
    return made


def _commit() -> str:
    """Of the checkout, "-dirty" where files were changed since; "unknown" where there is no git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
