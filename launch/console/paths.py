"""Paths as arguments of commands."""

import os
from pathlib import Path


def path(text: str) -> Path:
    """A type for argparse: `~` is the home folder, which shells leave as it is in --run=~/work."""
    return Path(os.path.expanduser(text))
