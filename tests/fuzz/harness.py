"""The loop of all fuzzers: change one file, run the code on it, and hold the outcome against the invariant.

The invariant: right figures, or one line that names the file; never a traceback, a hang, or a write outside.
"""

import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.fuzz import sandbox
from tests.fuzz.mutators import choose
from tests.fuzz.worker import BUSY, Case, Outcome, Worker

CASES = int(os.environ.get("FUZZ_CASES", "25"))  # of each kind
SEED = int(os.environ.get("FUZZ_SEED", "0"))
ONLY = os.environ.get("FUZZ_CASE", "")  # the number of one case to run again
LENGTH = 600  # characters of a message, without paths
KEPT = 3  # failing inputs of each cause
TEMPORARY = re.compile(r"\..+\.\d+|\.prepared-.*|.*orbax-checkpoint-tmp.*")  # names of what must not be left

Judge = Callable[[Any, Any, Path, Path], str]


def equal(figures: Any, original: Any, box: Path, target: Path) -> str:
    """Say how figures differ from those of the unchanged input; "" if they do not."""
    if isinstance(original, dict) and isinstance(figures, dict):
        differing = [key for key in original.keys() | figures.keys() if figures.get(key) != original.get(key)]
        return f"other figures: {', '.join(sorted(map(str, differing))[:3])}" if differing else ""
    return "" if figures == original else "other figures"


class Act(NamedTuple):
    """Something that is done with an input."""

    run: Callable[[Path], Any]  # gets the sandbox; returns figures, or raises what the user can fix, or exits
    writes: tuple[str, ...] = ("out",)  # the folders that it may write to, below the sandbox
    judge: Judge = equal
    names: tuple[str, ...] = ()  # words of which a message may have one instead of the file's name


class Kind(NamedTuple):
    """A kind of input."""

    name: str
    make: Callable[[Path], None]  # writes it into a sandbox
    targets: tuple[str, ...]  # globs below the sandbox: the files that are changed
    acts: tuple[Act, ...]
    share: float = 1.0  # of the cases that other kinds get


class Fault(NamedTuple):
    """A broken invariant."""

    cause: str  # equal for cases of one cause, most likely
    detail: str


def numbers(kind: Kind) -> Iterable[int]:
    """Return the cases that the environment asks for."""
    return [int(ONLY)] if ONLY else range(max(1, round(CASES * kind.share)))


def run(kind: Kind, worker: Worker, folder: Path, numbers: Iterable[int]) -> dict[str, list[str]]:
    """Run the numbered cases of a kind; return the descriptions of failing ones by their cause."""
    box, originals = sandbox.begin(folder), folder / f"originals-{kind.name}"
    made = worker.run(Case(kind.make, equal, box, box, None), busy=600)
    assert not made.crash, made.detail
    shutil.rmtree(originals, ignore_errors=True)
    shutil.copytree(box, originals, symlinks=True)
    known: dict[Act, Any] = {}
    failing: dict[str, list[str]] = {}
    ended = refused = 0
    for number in numbers:
        random = np.random.default_rng([SEED, zlib.crc32(kind.name.encode()), number])
        act = kind.acts[random.integers(len(kind.acts))]
        sandbox.restore(originals, box)
        if act not in known:
            known[act] = _figures(act, worker, box)
            sandbox.restore(originals, box)
        target, way = _change(kind, box, random)
        before = sandbox.listing(box, act.writes)
        outcome = worker.run(Case(act.run, act.judge, box, target, known[act]))
        ended, refused = ended + 1, refused + (outcome.refusal is not None)
        for fault in _faults(outcome, act, box, target, before):
            cases = failing.setdefault(f"{act.run.__name__}: {fault.cause}", [])
            kept = folder / "failing" / f"{kind.name}-{SEED}-{number}"
            what = f"case {number}, {target.relative_to(box)}: {way}"
            if len(cases) < KEPT:
                sandbox.keep(box, kept, f"{what}\n{fault}\n{outcome}\n")
            cases.append(f"{what}: {fault.detail[:300]!r}{f', kept in {kept}' if kept.exists() else ''}")
    print(f"{kind.name}: {ended} cases, {refused} of them refused, {sum(map(len, failing.values()))} faults")
    return failing


def _figures(act: Act, worker: Worker, box: Path) -> Any:
    """Return the figures of the unchanged input."""
    outcome = worker.run(Case(act.run, act.judge, box, box, None), busy=600)
    assert (outcome.crash, outcome.refusal, outcome.noise) == ("", None, ""), f"the unchanged input: {outcome}"
    return outcome.figures


def _change(kind: Kind, box: Path, random: np.random.Generator) -> tuple[Path, str]:
    """Change a file of the input; return it, and the way of the change."""
    targets = sorted({path for pattern in kind.targets for path in box.glob(pattern) if path.is_file()})
    target = targets[random.integers(len(targets))]
    return target, choose.change(target, random)


def _faults(outcome: Outcome, act: Act, box: Path, target: Path, before: sandbox.Listing) -> list[Fault]:
    """Return what an outcome breaks of the invariant."""
    after, faults = sandbox.listing(box, act.writes), []
    if outcome.crash:
        faults.append(Fault(outcome.crash, outcome.detail.strip()[-300:]))
    if outcome.wrong:
        faults.append(Fault(f"wrong figures ({target.name}): {outcome.wrong}", outcome.wrong))
    if outcome.refusal is not None:
        faults += _of_a_message(outcome.refusal, act, box, target)
    if outcome.noise and not outcome.crash:
        faults.append(Fault(f"noise on stderr: {_shape(outcome.noise, box)[:80]}", outcome.noise))
    if outcome.seconds > BUSY:
        faults.append(Fault(f"slow ({target.suffix})", f"{outcome.seconds:.0f} s of a core"))
    if touched := sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)):
        inside = {str(box / "tmp")} >= {path for path in touched if not path.startswith(f"{box / 'tmp'}/")}
        faults.append(Fault("left in the temporary folder" if inside else "wrote outside", ", ".join(touched[:5])))
    left = [path for name in act.writes for path in (box / name).rglob("*") if TEMPORARY.fullmatch(path.name)]
    if left and not outcome.crash.startswith(("hang", "the process")):
        faults.append(Fault("left a temporary file", str(left[0])))
    return faults


def _of_a_message(message: str, act: Act, box: Path, target: Path) -> list[Fault]:
    line = " ".join(message.split())
    faults = []
    if len(_shape(line, box)) > LENGTH:
        faults.append(Fault("long message", line))
    if "Traceback (most recent call last)" in message:
        faults.append(Fault("a traceback in a message", message))
    files = [Path(found) for found in re.findall(rf"{re.escape(str(box))}/[^:,;() ]+", line)]
    # The folder of the file is a name too, if it is not the whole input.
    inputs = [path for path in files if not path.is_dir() or len(path.relative_to(box).parts) > 2]
    named = re.search(rf"\b{re.escape(target.stem)}\b", line) or any(word in line for word in act.names)
    if not (inputs or named):
        faults.append(Fault(f"names no file: {_shape(line, box)[:60]}", line))
    return faults


def _shape(text: str, box: Path) -> str:
    """Return a message without paths and numbers, which differ between cases of one cause."""
    return re.sub(r"\d+", "N", re.sub(rf"{re.escape(str(box))}\S*", "PATH", text))


def report(kind: Kind, failing: dict[str, list[str]]) -> str:
    """Describe failing cases by their causes, and how to run one again."""
    lines = [f"{sum(map(len, failing.values()))} faults of {len(failing)} causes:"]
    for cause, cases in sorted(failing.items(), key=lambda item: -len(item[1])):
        lines += [f"- {len(cases)} x {cause}", *(f"    {case}" for case in cases[:2])]
    again = f"FUZZ_SEED={SEED} FUZZ_CASE=NUMBER python -m pytest -m slow tests/fuzz -k {kind.name}"
    return "\n".join([*lines, f"one case again: {again}"])
