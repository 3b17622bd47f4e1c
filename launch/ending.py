"""How a command ends where it cannot go on: one line, and a code that is not 0."""

import contextlib
import sys
from collections.abc import Iterator

from datasets.files import DataError
from sharp_unet_jax.errors import InputError

INTERRUPTED = 130  # as shells have it


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """What the user can mend is said in one line, code 1; Ctrl-C in another, code 130."""
    try:
        yield
    except (InputError, DataError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        print("interrupted: nothing half written is left, give the same command again", file=sys.stderr)
        sys.exit(INTERRUPTED)
