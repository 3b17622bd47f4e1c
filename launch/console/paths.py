"""Paths as arguments of commands."""

from pathlib import Path

from datasets import files
from datasets.errors import DataError


def path(text: str) -> Path:
    """Return an argument as a path; a type for argparse. Shells do not expand the `~` of --run=~/work; this does.

    Raises OSError for an address such as gs://bucket.
    """
    try:
        return files.local(text)
    except DataError as error:
        raise OSError(str(error)) from error  # argparse would print a page for a ValueError
