"""The list of commands."""

import ast
import subprocess
import sys
from pathlib import Path

from launch.__main__ import COMMANDS, summary

ROOT = Path(__file__).parents[2]


def test_every_command_is_listed_with_what_it_is_for():
    run = subprocess.run([sys.executable, "-m", "launch"], capture_output=True, text=True, timeout=60, check=True)
    for path in sorted((ROOT / "launch").glob("[!_]*.py")):
        name = f"launch.{path.stem}"
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
        what, usage, _ = first.partition(f": python -m {name} ")
        assert usage, f"{path} begins with another usage than its own"
        assert f"python -m {name} " in run.stdout
        assert what == summary(name)
        assert what in run.stdout
    assert len(set(COMMANDS)) == len(list((ROOT / "launch").glob("[!_]*.py"))) + 1  # datasets.build
    assert max(map(len, run.stdout.splitlines())) <= 100


def test_a_command_with_a_blank_in_place_of_its_dot_is_answered():
    run = subprocess.run(
        [sys.executable, "-m", "launch", "cv", "--config=demo.py"], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 1
    assert run.stderr == "error: python -m launch takes no 'cv'; did you mean python -m launch.cv?\n"
