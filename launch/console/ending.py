"""The end of a command that cannot go on: one line, and a code that is not 0."""

import contextlib
import io
import sys
from collections.abc import Iterator

from datasets.files import DataError
from launch.console.signals import INTERRUPTED
from sharp_unet_jax.errors import InputError


def replace_unprintable() -> None:
    """Print "?" from now on for characters that the terminal's encoding lacks, such as the ± of a table."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # pytest replaces the streams by others
            stream.reconfigure(errors="replace")


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """End the process with one line and code 1 at an error that the user can fix, and with code 130 at Ctrl-C."""
    replace_unprintable()
    try:
        yield
    except (InputError, DataError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        print("interrupted: nothing half written is left, give the same command again", file=sys.stderr)
        sys.exit(INTERRUPTED)
