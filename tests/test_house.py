"""The structure of the code: imports run one way, functions fit on a screen, docstrings say what a thing does."""

import ast
import functools
import re
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("launch", "datasets", "sharp_unet_jax")  # a package imports only those to its right
PAGES = ("docs", "bench", "results", "datasets")
# From the top down: a room imports rooms below it and itself.
ROOMS = (
    *("fitting", "choosing", "inference", "advice", "sweeps", "training", "report", "weights", "data", "models"),
    *("losses", "config", "storage", "ops", "cleaning", "decision", "stopping", "metrics", "ragged"),
    *("palette", "errors", "__version__"),
)
LINES = 80  # of a function at most: a screen
# Beginnings that say no verb and name no thing.
OPENINGS = re.compile(r"(Of|What|Whether|Likewise|The same|As|From|To|How|Which|Where|For) ")
QUOTED = re.compile(rf"""["']\\?\s*{OPENINGS.pattern}""")  # parsing a file takes long: one without it has none of them


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


MODULES = {module(path): path for path in sources(*PACKAGES)}


def imported(path: Path) -> set[str]:
    """The project's modules that a file imports, wherever in it; a name that is no module stands for its file."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            inside = {f"{node.module}.{name.name}" for name in node.names}
            found |= {name if name in MODULES else node.module or "" for name in inside}
    return {name for name in found if name.partition(".")[0] in PACKAGES}


IMPORTS = {name: imported(path) - {name} for name, path in MODULES.items()}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


def test_packages_import_one_way():
    wrong = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if PACKAGES.index(other.partition(".")[0]) < PACKAGES.index(name.partition(".")[0])
    ]
    assert not wrong


def test_rooms_of_the_library_import_downwards():
    order = {"__init__": -1} | {name: index for index, name in enumerate(ROOMS)}
    wrong = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if name.startswith("sharp_unet_jax") and other != "sharp_unet_jax"
        if order[room(other)] < order[room(name)]
    ]
    assert not wrong


def test_no_imports_run_in_a_circle():
    # A package's own file runs before its modules; the front door names them only for type checkers.
    graph = {name: others for name, others in IMPORTS.items() if name != "sharp_unet_jax"}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_report_needs_neither_jax_nor_a_model():
    heavy = {"jax", "flax", "optax", "orbax"}
    reached, waiting = set(), [name for name in MODULES if name.startswith("sharp_unet_jax.report")]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += IMPORTS[name] - {"sharp_unet_jax"}
    wrong = [
        name
        for name in reached
        for line in re.findall(r"(?m)^(?:from|import) (\w+)", MODULES[name].read_text(encoding="utf-8"))
        if line in heavy
    ]
    assert not wrong


def test_functions_fit_on_a_screen():
    long = [
        f"{path}:{node.lineno}: {node.name} has {lines} lines"
        for path in sources(*PACKAGES)
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef) and (lines := length(node)) > LINES
    ]
    assert not long


def length(function: ast.FunctionDef) -> int:
    """Lines of a function without its docstring."""
    documented = ast.get_docstring(function) is not None
    docstring = function.body[0].end_lineno - function.body[0].lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - docstring


def test_docstrings_begin_with_a_verb_or_a_name():
    wrong = []
    for path in sources(*PACKAGES, "tests", "bench", "docs", "results"):
        for node in nodes(path) if QUOTED.search(path.read_text(encoding="utf-8")) else []:
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = (ast.get_docstring(node) or "").lstrip()
                if OPENINGS.match(text):
                    wrong.append(f"{path}:{getattr(node, 'lineno', 1)}: {text.splitlines()[0]}")
    assert not wrong


def test_private_parts_of_other_libraries_stand_in_one_file():
    private = re.compile(r"(?m)^\s*(?:from|import) ((?:jax|flax|orbax|optax|grain)\.(?:\w+\.)*_\w+)")
    found = {name for name, path in MODULES.items() if private.search(path.read_text(encoding="utf-8"))}
    assert found == {"sharp_unet_jax.training.coordinator"}  # which says why


def test_lines_of_prose_are_no_longer_than_120_characters():
    pages = [*ROOT.glob("*.md"), *(page for name in PAGES for page in sorted((ROOT / name).rglob("*.md")))]
    long = [
        f"{page}:{number}"
        for page in pages
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 120 and not set("|`#<") & set(line)  # tables, code and links may be longer
    ]
    assert not long
