"""Changes of a sweep's JSON files, as disks and people make them."""

import json

from sharp_unet_jax.storage.run_files import sealed


def edit(path, *without, **changes):
    """Change fields of a JSON file, and leave out those `without`."""
    tree = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in tree.items() if key not in without}))


def edit_record(path, *without, **changes):
    """Change a record.json as if it had been written so: its own digest is right."""
    edit(path, *without, **changes)
    path.write_text(json.dumps(sealed(json.loads(path.read_text()))))


def age(workdir):
    """Leave records as an earlier version wrote them."""
    for path in workdir.glob("runs/*/*/record.json"):
        edit(path, "record_sha256", "sha256", "folds_sha256", "config")
