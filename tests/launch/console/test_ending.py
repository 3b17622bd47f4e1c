"""The end of commands: one line, and an exit code."""

import os
import subprocess
import sys
import warnings

import jax
import pytest

from datasets.errors import DataError
from launch.console import ending
from sharp_unet_jax.errors import InputError, StaleWarning


@pytest.mark.parametrize(
    "error", [DataError("a.png:\n cut short"), InputError("a.png: cut short"), OSError("a.png: cut short")]
)
def test_an_error_that_the_user_can_fix_is_one_line(error):
    with pytest.raises(SystemExit) as end, ending.in_one_line():
        raise error
    assert end.value.code == "error: a.png: cut short"  # Python prints it to stderr and exits with code 1


def test_ctrl_c_is_one_line_too(capsys, monkeypatch):
    monkeypatch.setattr(os, "_exit", sys.exit)
    with pytest.raises(SystemExit) as end, ending.in_one_line():
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_ctrl_c_while_xla_compiles_ends_with_its_code():
    """XLA compiles on in a thread of its own: an ordinary end of Python crashes then."""
    program = """
import os, signal, threading
import jax
from launch.console import ending

def deep(x):
    for number in range(400):
        x = jax.numpy.sin(jax.numpy.sort(x * number))
    return x

with ending.in_one_line():
    lowered = jax.jit(deep).lower(jax.numpy.ones(64))
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    lowered.compile()
    lowered.compile()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (130, 1), done.stderr


def test_a_pipe_that_nobody_reads_is_no_error():
    program = "from launch.console import ending\nwith ending.in_one_line():\n    print('settings')"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # as `| head` does, long before the program prints
        assert (process.stderr.read(), process.wait()) == (b"", 1)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 4 TiB"),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GB"),
        jax.errors.JaxRuntimeError(
            "INTERNAL: Error dispatching computation: Out of memory allocating 64018142336 bytes."
        ),
        ValueError("RESOURCE_EXHAUSTED: Out of memory"),
    ],
)
def test_too_little_memory_is_one_line(error):
    with pytest.raises(SystemExit) as end, ending.in_one_line():
        raise error
    assert end.value.code == "error: there is too little memory: end other programs, or use a machine with more"


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError), ending.in_one_line():
        print(1 / 0)


def test_a_warning_of_this_project_is_one_line(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    ending.shorten_warnings()
    assert warnings.formatwarning("old files", StaleWarning, "a.py", 1) == "warning: old files\n"
    assert warnings.formatwarning("old files", UserWarning, "a.py", 1).startswith("a.py:1: UserWarning")


def test_a_character_that_the_terminal_lacks_is_printed_as_a_question_mark():
    program = (
        "from launch.console import ending\nwith ending.in_one_line(): print('70.02 ± 9.37')\nraise SystemExit('é')"
    )
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, check=False)
    assert (done.stdout.strip(), done.returncode) == (b"70.02 ? 9.37", 1)
    assert done.stderr.strip().endswith(b"?")
