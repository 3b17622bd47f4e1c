"""The end of the process of `launch.cv`: by a signal, by an error, or because another process of the sweep failed."""

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import jax
from rich.console import Console

from datasets.files import DataError
from launch.console import ending
from sharp_unet_jax.errors import InputError

STOPPED = os.EX_TEMPFAIL  # 75: stopped by SIGTERM with the state saved; job files requeue on it


def leave_on_sigterm() -> None:
    """Leave at SIGTERM with code 75, from now on; for the time in which there is no training state to save."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(*_: Any) -> None:
    raise SystemExit(STOPPED)  # an exception, so that files which are half written are deleted on its way out


def stop_on_signals(console: Console) -> tuple[threading.Event, threading.Event]:
    """Stop at the end of the epoch at SIGTERM or Ctrl-C, and at once at a second Ctrl-C; from now on.

    Returns two events: the first is set by either signal, the second by Ctrl-C alone.
    """
    stop, interrupted = threading.Event(), threading.Event()

    def interrupt(*_: Any) -> None:
        if interrupted.is_set():
            console.show_cursor()
            # Nothing to clean up: files that are half written have other names, and locks end with the process.
            os._exit(ending.INTERRUPTED)
        console.print("stopping at the end of the epoch; Ctrl-C again to stop at once")
        interrupted.set()
        stop.set()

    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, interrupt)
    return stop, interrupted


def exit_with(command: Callable[[], int]) -> None:
    """Run `command` and end the process with the code that it returns, or with that of the error it raises.

    Errors that the user can fix, and those of devices and other processes, are one line.
    """
    try:
        message, code = "", command()
        if jax.process_count() == 1:
            sys.exit(code)
    except (InputError, DataError, OSError) as error:
        message, code = f"error: {' '.join(str(error).split())}", 1
    except KeyboardInterrupt:
        message, code = "interrupted: give the same command again to go on", ending.INTERRUPTED
    except SystemExit as end:
        if end.code != STOPPED or jax.process_count() == 1:
            raise
        message, code = "", STOPPED
    except Exception as error:
        code = 1
        if _from_xla(error) and "RESOURCE_EXHAUSTED" in str(error):
            message = "error: the device is out of memory: lower --config.batch_size or --config.data.size"
        elif jax.process_count() == 1:
            raise
        elif _from_xla(error):
            reason = " ".join(str(error).split())[:200]
            message = f"error: another process of the sweep failed or was killed ({reason}): start all of them again"
        else:
            message = traceback.format_exc()  # raising it would wait for the other processes, and they for this one
    if message:
        print(message, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Without Python's cleanup: other threads may be in an epoch, and other processes may never end. With several
    # processes the cleanup stops threads of JAX in the middle of C++, which now and then aborts the process.
    os._exit(code)


def _from_xla(error: Exception) -> bool:
    """Say whether a computation failed. Where JAX reads such an array it raises ValueError with a status of XLA."""
    return isinstance(error, jax.errors.JaxRuntimeError) or bool(re.match("[A-Z]+(_[A-Z]+)*: ", str(error)))
