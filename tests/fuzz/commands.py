"""The commands, run in this process as a shell runs them."""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.console import ending
from sharp_unet_jax.report import calibration, conventions, examples, figures, forest, write
from tests.conftest import squares


def command(main: Callable[[], Any], *arguments: object) -> tuple[int, str]:
    """Return the exit code and the output of a command; a refusal, which is printed to stderr, is raised."""
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["command", *map(str, arguments)])
        patch.setattr(os, "_exit", sys.exit)
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                main()
            except SystemExit as end:
                code = end.code
            else:
                code = 0
    print(errors.getvalue(), end="", file=sys.stderr)
    if isinstance(code, str):
        raise SystemExit(code)
    if code and "error: " in errors.getvalue():
        raise SystemExit(code)
    return code or 0, output.getvalue()


def in_one_line(run: Callable[..., Any], *arguments: object) -> str:
    """Run a command that has no `main`; return its output."""

    def main() -> None:
        with ending.in_one_line():
            run([str(argument) for argument in arguments])

    return command(main)[1]


@contextlib.contextmanager
def without_drawing() -> Any:
    """Leave figures out of reports: they take seconds, and show the numbers of the tables."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (figures, forest, conventions, calibration, examples):
            patch.setattr(module, "draw", lambda *_: [])
        yield


def tables(folder: Path) -> dict[str, str]:
    """Return the tables of a report by name, and the page."""
    found = {path.name: path.read_text() for path in sorted((folder / "tables").glob("*.csv"))}
    return found | {"page": (folder / "report.html").read_text()}


def report(*workdirs: Path, output: Path) -> dict[str, str]:
    with without_drawing():
        write.write(workdirs, output)
    return tables(output)


@contextlib.contextmanager
def squares_as_data(box: Path) -> Any:
    """Give commands the tests' squares, prepared in the sandbox, for any data set."""
    import dataclasses

    dataset = dataclasses.replace(squares(), folder=box / "prepared")
    with pytest.MonkeyPatch.context() as patch, without_drawing():
        patch.setattr("launch.console.dataset.load", lambda data, console: dataset)
        yield
