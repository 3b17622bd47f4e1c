"""The list of all commands: python -m launch"""

import ast
import difflib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS = (  # in the order in which one meets them
    *("datasets.build", "launch.prepare", "launch.augmentations", "launch.cv", "launch.status", "launch.merge"),
    *("launch.report", "launch.choose", "launch.predict", "launch.evaluate", "launch.explain", "launch.export"),
)


def summary(command: str) -> str:
    """Return what a command is for: the beginning of its file's docstring. The file is not imported."""
    source = (ROOT / f"{command.replace('.', '/')}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition(": python -m ")[0]


def main() -> None:
    """List the commands. A name that is none of them is answered with the nearest, and code 1."""
    if given := [argument for argument in sys.argv[1:] if argument not in ("-h", "--help")]:
        near = difflib.get_close_matches(f"launch.{given[0].removeprefix('launch.')}", COMMANDS, n=1, cutoff=0)
        sys.exit(f"error: python -m launch takes no {given[0]!r:.200}; did you mean python -m {near[0]}?")
    width = max(map(len, COMMANDS))
    print("\n".join(f"python -m {command:{width}}  {summary(command)}" for command in COMMANDS))
    print("\n--help after a command says what it takes; a first sweep: python -m launch.cv --config=demo.py")


if __name__ == "__main__":
    main()
