"""environment.json of a workdir: the commands, versions, machine and devices that the sweep was trained with."""

import platform
import shlex
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

import sharp_unet_jax
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import description, layout
from sharp_unet_jax.storage.atomic import write_json
from sharp_unet_jax.storage.contents import Environment

PACKAGES = (  # that train, read and score
    *("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scipy", "pandas", "pillow", "tifffile"),
    *("dm-pix", "tensorflow-datasets"),
)


def facts(devices: Sequence[jax.Device]) -> dict[str, Any]:
    """Return the versions, commit, machine and devices that a command trains with."""
    return {
        "version": sharp_unet_jax.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def write(workdir: Path, module: str, arguments: Sequence[str], facts: dict[str, Any], *, trained: bool = True) -> None:
    """Add a command to the sweep's environment.json, with the `facts` that it trains with.

    A field reads "A; B" where runs were trained with both. A command that `trained` no run is added without the facts.
    """
    before = _read(workdir)
    commands = before.pop("commands", [])
    command = shlex.join(["python", "-m", module, *arguments])
    said = _together([before, facts] if trained else [before or facts])
    write_json(
        workdir / layout.ENVIRONMENT, {"commands": [*commands, *([command] if command not in commands else [])], **said}
    )


def merge(workdir: Path, sources: Sequence[Path]) -> None:
    """Write the environment.json of `workdir` from its own and those of `sources`.

    It lists all commands. A field reads "A; B" where they differ.
    """
    several = [found for folder in dict.fromkeys([workdir, *sources]) if (found := _read(folder))]
    if several:
        commands = dict.fromkeys(command for each in several for command in each["commands"])
        said = [{name: value for name, value in each.items() if name != "commands"} for each in several]
        write_json(workdir / layout.ENVIRONMENT, {"commands": [*commands], **_together(said)})


def _read(workdir: Path) -> dict[str, Any]:
    """Return the file's fields; {} where it is missing or damaged, which must not keep a sweep from its tables."""
    try:
        found = description.read_environment(workdir)
    except InputError:
        return {}
    return {name: value for name, value in found.items() if name in Environment.__annotations__}


def _together(several: Sequence[dict[str, Any]]) -> dict[str, Any]:
    together: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in several for name in each):
        values = [each[name] for each in several if name in each]
        parts = dict.fromkeys(part for value in values if isinstance(value, str) for part in value.split("; "))
        together[name] = _together(values) if isinstance(values[0], dict) else "; ".join(parts)
    return together


def _commit() -> str:
    """Return the checkout's commit, with "-dirty" where files are changed; "unknown" where there is no git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
