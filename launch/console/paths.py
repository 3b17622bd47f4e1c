"""Paths as arguments of commands."""

import os
from pathlib import Path


def path(text: str) -> Path:
    """Return an argument as a path; a type for argparse. Shells do not expand the `~` of --run=~/work; this does."""
    return Path(os.path.expanduser(text))
