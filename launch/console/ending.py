"""The end of a command that cannot go on: one line, and a code that is not 0."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import NoReturn

from datasets.errors import DataError
from launch.console.signals import INTERRUPTED
from sharp_unet_jax.errors import InputError, ResolutionWarning, StaleWarning, is_out_of_memory

OUT_OF_MEMORY = "there is too little memory: end other programs, or use a machine with more"


def replace_unprintable() -> None:
    """Print "?" from now on for characters that the terminal's encoding lacks, such as the ± of a table."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # pytest replaces the streams by others
            stream.reconfigure(errors="replace")


@contextlib.contextmanager
def in_one_line(advice: str = "nothing half written is left, give the same command again") -> Iterator[None]:
    """End the process with one line and code 1 at an error that the user can fix, and with code 130 at Ctrl-C.

    `advice` is what the user reads after Ctrl-C.
    """
    replace_unprintable()
    shorten_warnings()
    try:
        yield
        sys.stdout.flush()  # a pipe that was closed is noticed here, not when Python ends
    except BrokenPipeError:  # such as by `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain at its end
        sys.exit(1)
    except (InputError, DataError, OSError) as error:
        sys.exit(f"error: {printable(' '.join(str(error).split()))}")
    except KeyboardInterrupt:
        leave_interrupted(advice)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        sys.exit(f"error: {OUT_OF_MEMORY}")


def printable(text: str) -> str:
    """Return a line of text as terminals may print it: characters that would steer them are escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def leave_interrupted(advice: str) -> NoReturn:
    """End the process after Ctrl-C with one line and code 130, at once.

    XLA may still compile in a thread of its own, and an ordinary end of Python would then crash.
    """
    print(f"interrupted: {advice}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def shorten_warnings() -> None:
    """Print this project's own warnings as one line from now on, without the place in the code that warns."""
    warnings.formatwarning = _line


_whole = warnings.formatwarning


def _line(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    if issubclass(category, (ResolutionWarning, StaleWarning)):
        return f"warning: {message}\n"
    return _whole(message, category, filename, lineno, line)
