"""The fields of a dataclass or named tuple with the comments beside them, read from its source."""

import ast
import inspect
import io
import textwrap
import tokenize
from typing import NamedTuple


class Field(NamedTuple):
    """One line of a class, such as `folds: int = 5  # comment`."""

    name: str
    type: str
    default: str  # "" if there is none
    comment: str  # "" if there is none


def of(cls: type) -> list[Field]:
    """Return the annotated fields of a class. A comment stands behind its field, or on lines of its own above."""
    source = textwrap.dedent(inspect.getsource(cls))
    behind: dict[int, str] = {}
    alone: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            where = behind if token.line[: token.start[1]].strip() else alone
            where[token.start[0]] = token.string.lstrip("# ")
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    return [
        Field(
            ast.unparse(node.target),
            ast.unparse(node.annotation),
            ast.unparse(node.value) if node.value else "",
            " ".join([*_above(alone, node.lineno), *filter(None, [behind.get(node.end_lineno or 0)])]),
        )
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
    ]


def _above(alone: dict[int, str], line: int) -> list[str]:
    lines: list[str] = []
    while (line := line - 1) in alone:
        lines.insert(0, alone[line])
    return lines
