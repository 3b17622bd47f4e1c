"""Changes of a sweep's files, as disks, kills and people make them."""

import hashlib
import json
import platform
import subprocess
import sys

from sharp_unet_jax.storage.description import digest, flat
from sharp_unet_jax.storage.run_files import digests, sealed


def edit(path, *without, **changes):
    """Change fields of a JSON file, and leave out those `without`."""
    tree = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in tree.items() if key not in without}))


def edit_record(path, *without, **changes):
    """Change a record.json as if it had been written so: its own digest is right."""
    edit(path, *without, **changes)
    path.write_text(json.dumps(sealed(json.loads(path.read_text()))))


ENVIRONMENT = {
    "commands": ["python -m launch.cv --config=demo.py"], "version": "0.1.0", "commit": "unknown", "python": "3.11.2",
    "system": "Linux x86_64", "devices": "1 x cpu", "packages": {"jax": "0.10"},
}  # fmt: skip


def write_environment(folder, **changes):
    """Write an environment.json; return what it holds."""
    environment = ENVIRONMENT | changes
    (folder / "environment.json").write_text(json.dumps(environment))
    return environment


def edit_config(workdir, **changes):
    """Change fields of config.json, also of `data` and `augment`, as if the sweep had been trained so."""
    path = workdir / "config.json"
    before = json.loads(path.read_text())
    parts = {name: before[name] | changes[name] for name in ("data", "augment") if name in changes}
    edit(path, **changes | parts)
    follow(workdir)


def edit_folds(workdir, **changes):
    """Change fields of folds.json, as if the sweep had been trained so."""
    edit(workdir / "folds.json", **changes)
    follow(workdir)


def follow(workdir):
    """Let records hold what config.json, folds.json and the files beside them say, once these were edited."""
    config, folds = (json.loads((workdir / name).read_text()) for name in ("config.json", "folds.json"))
    cells = {(cell["repeat"], cell["fold"]): cell for cell in folds["folds"]}
    for path in workdir.glob("runs/*/*/record.json"):
        record = json.loads(path.read_text())
        edit_record(
            path,
            dataset=folds["dataset"],
            protocol=config["protocol"],
            config={name: value for name, value in flat(config).items() if name in record["config"]},
            folds_sha256=digest(folds, cells[record["repeat"], record["fold"]]),
            sha256=digests(path.parent),
        )


def seal(packed):
    """Let the sha256.json of packed results hold the digests of the files beside it, once these were edited."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in packed.iterdir()}
    found.pop("sha256.json", None)
    (packed / "sha256.json").write_text(json.dumps(found))


def killed(path):
    """Leave the temporary file of a process that was killed while it wrote `path`; return it."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    left = path.with_name(f".{path.name}.part.{platform.node()}.{process.pid}")
    left.parent.mkdir(parents=True, exist_ok=True)
    left.touch()
    return left
