"""Signals while a command imports its modules."""

import signal
import subprocess
import sys

import pytest


def run(number):
    """Return the end of a process that gets a signal in its imports."""
    program = (
        "import signal, sys\nfrom launch.console import signals\nassert not {'jax', 'numpy'} & sys.modules.keys()\n"
        f"signals.end_at_once()\ntry: signal.raise_signal({number:d})\nexcept BaseException: pass\n"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [(signal.SIGTERM, 75, ""), (signal.SIGINT, 130, "interrupted: give the same command again\n")],
)
def test_a_signal_ends_the_process_whatever_catches_exceptions(number, code, line):
    ended = run(number)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", line)
