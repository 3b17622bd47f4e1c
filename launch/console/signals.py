"""SIGTERM and Ctrl-C while `launch.cv` imports its modules. Nothing but the standard library is imported here."""

import os
import signal
from typing import Any

STOPPED = os.EX_TEMPFAIL  # 75: stopped by SIGTERM, go on with the same command; job files requeue on it
INTERRUPTED = 130  # the code of a shell after Ctrl-C


def end_at_once() -> None:
    """End the process at either signal, from now on; for the time in which it writes nothing."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


def _end(number: int, _: Any) -> None:
    if number == signal.SIGINT:
        os.write(2, b"interrupted: give the same command again\n")  # Python's own stream may be in use
    os._exit(STOPPED if number == signal.SIGTERM else INTERRUPTED)
