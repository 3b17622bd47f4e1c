"""Changes of a sweep's files, as disks, kills and people make them."""

import json
import platform
import subprocess
import sys

from sharp_unet_jax.storage.run_files import sealed


def edit(path, *without, **changes):
    """Change fields of a JSON file, and leave out those `without`."""
    tree = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in tree.items() if key not in without}))


def edit_record(path, *without, **changes):
    """Change a record.json as if it had been written so: its own digest is right."""
    edit(path, *without, **changes)
    path.write_text(json.dumps(sealed(json.loads(path.read_text()))))


def follow(workdir):
    """Let records say nothing that config.json and folds.json, once edited, contradict."""
    dataset = json.loads((workdir / "folds.json").read_text())["dataset"]
    for path in workdir.glob("runs/*/*/record.json"):
        edit_record(path, "config", "scoring", "folds_sha256", dataset=dataset)


def age(workdir):
    """Leave records as an earlier version wrote them."""
    for path in workdir.glob("runs/*/*/record.json"):
        edit(path, "record_sha256", "sha256", "folds_sha256", "config")


def killed(path):
    """Leave the temporary file of a process that was killed while it wrote `path`; return it."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    left = path.with_name(f".{path.name}.part.{platform.node()}.{process.pid}")
    left.parent.mkdir(parents=True, exist_ok=True)
    left.touch()
    return left
