"""How a command ends where it cannot go on: one line, and a code that is not 0."""

import contextlib
import io
import sys
from collections.abc import Iterator

from datasets.files import DataError
from sharp_unet_jax.errors import InputError

INTERRUPTED = 130  # as shells have it


def not_at_a_character() -> None:
    """From now on what the terminal's encoding lacks, such as ± in a table, is printed as "?"."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # pytest's is not
            stream.reconfigure(errors="replace")


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """What the user can mend is said in one line, code 1; Ctrl-C in another, code 130."""
    not_at_a_character()
    try:
        yield
    except (InputError, DataError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        print("interrupted: nothing half written is left, give the same command again", file=sys.stderr)
        sys.exit(INTERRUPTED)
