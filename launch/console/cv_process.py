"""The end of the process of `launch.cv`: by a signal, by an error, or because another process of the sweep failed."""

import contextlib
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import jax
from rich.console import Console

from datasets.errors import DataError
from launch.console.signals import INTERRUPTED, STOPPED
from sharp_unet_jax.errors import InputError, is_out_of_memory


@contextlib.contextmanager
def signals_restored() -> Iterator[None]:
    """Leave SIGTERM and Ctrl-C after the block to whom they went before: in a notebook the process goes on."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_on_signals() -> None:
    """Leave at SIGTERM with code 75 and at Ctrl-C with 130, from now on; for the time without a state to save."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(*_: Any) -> None:
    raise SystemExit(STOPPED)  # an exception, so that files which are half written are deleted on its way out


def stop_on_signals(console: Console) -> tuple[threading.Event, threading.Event]:
    """Stop at the end of the epoch at SIGTERM or Ctrl-C, and at once at a second Ctrl-C; from now on.

    Returns two events: the first is set by either signal, the second only by Ctrl-C.
    """
    stop, interrupted = threading.Event(), threading.Event()

    def terminate(*_: Any) -> None:
        stop.set()
        console.print("SIGTERM: stopping at the end of the epoch")

    def interrupt(*_: Any) -> None:
        if interrupted.is_set():
            console.show_cursor()
            if "ipykernel" in sys.modules:  # the process is that of a notebook
                raise KeyboardInterrupt
            # Nothing to clean up: files that are half written have other names, and locks end with the process.
            os._exit(INTERRUPTED)
        interrupted.set()
        stop.set()
        console.print("stopping at the end of the epoch; Ctrl-C again to stop at once")

    signal.signal(signal.SIGTERM, terminate)
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
        message, code = "interrupted: give the same command again to go on", INTERRUPTED
    except SystemExit as end:
        if end.code != STOPPED or jax.process_count() == 1:
            raise
        message, code = "", STOPPED
    except Exception as error:
        code = 1
        if is_out_of_memory(error):
            message = "error: there is too little memory: lower --config.batch_size or --config.data.size"
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
