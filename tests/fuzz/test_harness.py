"""The harness itself: each broken invariant is found, and a file that is refused in one line is none."""

import os
import sys
import threading
from pathlib import Path

import pytest

from sharp_unet_jax.errors import InputError
from tests.fuzz import harness
from tests.fuzz.harness import Act, Kind
from tests.fuzz.worker import Worker


def make(box: Path) -> None:
    (box / "figures.json").write_text('{"figure": 1}\n')


def nothing() -> None:
    pass


def reads(box: Path) -> str:
    """Return what was written, or refuse."""
    if _is_changed(box):
        raise InputError(f"{box / 'figures.json'} is damaged: bring it back from a copy")
    return "1"


def _is_changed(box: Path) -> bool:
    path = box / "figures.json"
    return not path.is_file() or path.stat().st_size != 14 or path.read_bytes() != b'{"figure": 1}\n'


def crashes(box: Path) -> str:
    return "1" if not _is_changed(box) else {}["figure"]


def lies(box: Path) -> str:
    return "2" if _is_changed(box) else "1"


def says_nothing(box: Path) -> str:
    if _is_changed(box):
        raise InputError("a file is damaged")
    return "1"


def says_too_much(box: Path) -> str:
    if _is_changed(box):
        raise InputError(f"{box / 'figures.json'} is damaged: {'x' * 2000}")
    return "1"


def warns(box: Path) -> str:
    if _is_changed(box):
        print("look out", file=sys.stderr)
    return reads(box)


def escapes(box: Path) -> str:
    if _is_changed(box):
        (box / "elsewhere").write_text("x")
    return reads(box)


def litters(box: Path) -> str:
    if _is_changed(box):
        (box / "out" / ".a.json.host.123").write_text("x")
    return reads(box)


def litters_elsewhere(box: Path) -> str:
    if _is_changed(box):
        (box / "tmp" / "x").mkdir()
    return reads(box)


def waits(box: Path) -> str:
    if _is_changed(box):
        threading.Event().wait()
    return "1"


def ends(box: Path) -> str:
    if _is_changed(box):
        sys.exit(0)
    return "1"


def dies(box: Path) -> str:
    if _is_changed(box):
        os.abort()
    return "1"


def takes_memory(box: Path) -> str:
    if _is_changed(box):
        len(bytes(2**40))
    return "1"


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    worker = Worker(nothing, tmp_path_factory.mktemp("worker") / "stderr", idle=2)
    yield worker
    worker.stop()


@pytest.mark.parametrize(
    ("act", "cause"),
    [
        (crashes, "crashes: KeyError in tests/fuzz/test_harness.py:"),
        (lies, "lies: wrong figures (figures.json): other figures"),
        (says_nothing, "says_nothing: names no file"),
        (says_too_much, "says_too_much: long message"),
        (warns, "warns: noise on stderr: look out"),
        (escapes, "escapes: wrote outside"),
        (litters, "litters: left a temporary file"),
        (litters_elsewhere, "litters_elsewhere: left in the temporary folder"),
        (waits, "waits: hang outside the project"),
        (ends, "ends: ended with code 0 without its work"),
        (dies, "dies: the process died with code -6"),
        (takes_memory, "takes_memory: names no file: there is too little memory"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_breaks_the_invariant_is_found(act, cause, worker, tmp_path):
    kind = Kind(act.__name__, make, ("figures.json",), (Act(act),))
    failing = harness.run(kind, worker, tmp_path, [0])
    assert [each.startswith(cause) for each in failing] == [True], failing
    assert cause in harness.report(kind, failing)


def test_right_figures_and_refusals_pass_and_a_seed_gives_the_same_change(worker, tmp_path):
    assert harness.run(Kind("reads", make, ("figures.json",), (Act(reads),)), worker, tmp_path, range(30)) == {}
    kind = Kind("lies", make, ("figures.json",), (Act(lies),))
    first, again = (harness.run(kind, worker, tmp_path, [7]) for _ in range(2))
    assert first == again != {}
