"""The end of launch.cv's process when a device, another process or a signal stops it."""

import os
import signal
import sys
import types

import jax
import pytest
from rich.console import Console

from launch.console import cv_process


@pytest.fixture
def handlers():
    """Fail at a signal that nobody handles, and put the handlers of the test process back afterwards."""

    def unhandled(number, frame):
        pytest.fail(f"nobody handles {signal.Signals(number).name}")

    before = {number: signal.signal(number, unhandled) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("error", "processes", "last_line"),
    [
        # jaxlib raises it where it reads an array whose sum over processes failed.
        (ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer"), 2, "error: another process of the"),
        (jax.errors.JaxRuntimeError("INTERNAL: all-reduce\nfailed"), 2, "error: another process of the sweep failed"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GB"), 1, "error: there is too little memory: lower"),
        (ValueError("axis 3 is out of bounds"), 2, "ValueError: axis 3 is out of bounds"),
    ],
)
def test_an_error_of_xla_is_one_line_and_exit_code_1(error, processes, last_line, monkeypatch, capsys):
    def fail():
        raise error

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    with pytest.raises(SystemExit) as ended:
        cv_process.exit_with(fail)
    printed = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    assert printed[-1 if printed[-1] else -2].startswith(last_line)
    assert (len(printed) == 1) == last_line.startswith("error: ")


@pytest.mark.parametrize("code", [0, 75])
def test_one_of_several_processes_ends_at_once(code, monkeypatch, capsys):
    """Python's own end can abort a process whose sweep is done: "FATAL: exception not rethrown"."""
    codes = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(os, "_exit", codes.append)
    cv_process.exit_with(lambda: code)
    assert codes == [code]
    assert capsys.readouterr().err == ""


def test_a_fault_of_one_process_alone_is_raised(monkeypatch):
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail("ended"))
    with pytest.raises(ZeroDivisionError):
        cv_process.exit_with(lambda: 1 // 0)


@pytest.mark.usefixtures("handlers")
def test_signals_before_training_leave_with_their_codes():
    cv_process.leave_on_signals()
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 75
    with pytest.raises(KeyboardInterrupt):  # `exit_with` makes it 130
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("handlers")
def test_a_signal_asks_to_stop_and_a_second_ctrl_c_leaves_at_once(monkeypatch):
    console, codes = Console(width=100, record=True, quiet=False), []
    monkeypatch.setattr(os, "_exit", codes.append)
    stop, interrupted = cv_process.stop_on_signals(console)
    signal.raise_signal(signal.SIGTERM)
    assert (stop.is_set(), interrupted.is_set()) == (True, False)
    assert console.export_text() == "SIGTERM: stopping at the end of the epoch\n"
    stop, interrupted = cv_process.stop_on_signals(console)
    signal.raise_signal(signal.SIGINT)
    assert (stop.is_set(), interrupted.is_set(), codes) == (True, True, [])
    assert console.export_text() == "stopping at the end of the epoch; Ctrl-C again to stop at once\n"
    signal.raise_signal(signal.SIGINT)
    assert codes == [130]


def test_a_second_interrupt_leaves_the_process_of_a_notebook_alive(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    with cv_process.signals_restored():
        stop, interrupted = cv_process.stop_on_signals(Console(quiet=True))
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        assert interrupted.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
