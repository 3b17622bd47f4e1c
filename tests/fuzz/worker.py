"""A process that reads mutated inputs, so that a hang, a crash or all memory taken is an outcome like any other."""

import contextlib
import faulthandler
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from datasets.errors import DataError
from launch.console import ending
from sharp_unet_jax.errors import InputError, is_out_of_memory

ROOT = Path(__file__).parents[2]
PACKAGES = tuple(str(ROOT / name) for name in ("launch", "datasets", "sharp_unet_jax"))
MEMORY = 3 * 2**30  # bytes that a case may take beyond those that the process has
BUSY = 20.0  # seconds of a core's time after which a case is slow; after three times as many it is ended
IDLE = 10.0  # seconds without any work after which a case hangs
NOTICES = ("downloading ",)  # beginnings of lines that may come to stderr before a refusal
LONGEST = 600.0  # seconds of wall-clock time


class Case(NamedTuple):
    """A mutated input, and what to do with it."""

    act: Callable[[Path], Any]  # returns the figures of the input in the sandbox; or raises, or exits
    judge: Callable[[Any, Any, Path, Path], str]  # says what is wrong about figures; "" for nothing
    box: Path  # the sandbox
    target: Path  # the file that was changed
    original: Any  # the figures before the change; None to learn them


class Outcome(NamedTuple):
    """The end of a case."""

    figures: Any = None
    wrong: str = ""  # what is wrong about the figures
    refusal: str | None = None  # the message of an error that the user can fix
    crash: str = ""  # the cause of a traceback: the error and the line of the project
    detail: str = ""  # the whole traceback
    noise: str = ""  # what came to stderr beside the message
    seconds: float = 0.0  # of a core's time


class Worker:
    """The process, begun anew after it was killed or has crashed."""

    def __init__(self, prepare: Callable[[], None], log: Path, idle: float = IDLE):
        self._prepare, self._log, self._idle = prepare, log, idle
        self._process: Any = None
        self._pipe: Any = None

    def run(self, case: Case, busy: float = 3 * BUSY) -> Outcome:
        """Run a case; end it after `busy` seconds of a core's time."""
        if self._process is None:
            self._start()
        try:
            self._pipe.send(case)
            if self._answers(busy):
                return self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join(10)
            code, noise = self._process.exitcode, self._log.read_text(errors="replace")
            self.stop()
            return Outcome(crash=f"the process died with code {code}", detail=noise)
        os.kill(self._process.pid, signal.SIGUSR1)
        time.sleep(1)
        stack = self._log.read_text(errors="replace")
        self.stop()
        return Outcome(crash=f"hang {_hanging(stack)}", detail=stack)

    def _answers(self, busy: float) -> bool:
        """Wait for the outcome; give up on a process that works for too long, or waits for what never comes."""
        process = psutil.Process(self._process.pid)
        first = worked = _work(process)
        began = active = time.monotonic()
        while not self._pipe.poll(1):
            now, work = time.monotonic(), _work(process)
            if work > worked + 0.05:
                worked, active = work, now
            if work - first > busy or now - active > self._idle or now - began > LONGEST:
                return False
        return True

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._prepare, self._log), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(300) or self._pipe.recv() != "ready":
            raise RuntimeError(f"the worker did not start: {self._log.read_text()}")


def _work(process: psutil.Process) -> float:
    """Return the seconds of cores' time that a process has had."""
    times = process.cpu_times()
    return times.user + times.system


def _serve(pipe: Connection, prepare: Callable[[], None], log: Path) -> None:
    """Run cases until the other end closes; standard error goes to `log`."""
    descriptor = os.open(log, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(descriptor, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    faulthandler.enable(2)
    faulthandler.register(signal.SIGUSR1, 2, all_threads=True)
    prepare()
    pipe.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            case = pipe.recv()
            os.ftruncate(descriptor, 0)
            pipe.send(_run(case, log))


def _run(case: Case, log: Path) -> Outcome:
    os.chdir(case.box / "cwd")
    os.environ |= {"TMPDIR": str(case.box / "tmp"), "HOME": str(case.box / "home")}
    tempfile.tempdir = None
    began = time.process_time()
    with warnings.catch_warnings(), _limited_memory():
        warnings.resetwarnings()
        for hidden in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", hidden)  # as Python does
        outcome = _outcome(case)
    seconds = time.process_time() - began
    lines = log.read_text(errors="replace").splitlines()
    noise = "\n".join(line for line in lines if not line.startswith(NOTICES))
    if outcome.refusal == "":  # the command printed it, and ended with code 1
        usage, error, text = noise.rpartition("error: ")
        outcome = outcome._replace(refusal=error + text)
        noise = "" if usage.startswith("usage: ") else usage
    return outcome._replace(seconds=seconds, noise=noise.strip())


def _outcome(case: Case) -> Outcome:
    try:
        figures = case.act(case.box)
        learning = case.original is None
        return Outcome(figures, "" if learning else case.judge(figures, case.original, case.box, case.target))
    except (InputError, DataError, OSError) as error:
        return Outcome(refusal=str(error) or type(error).__name__, detail=traceback.format_exc())
    except SystemExit as end:
        if end.code in (0, None):
            return Outcome(crash="ended with code 0 without its work", detail=traceback.format_exc())
        return Outcome(refusal=end.code if isinstance(end.code, str) else "")
    except BaseException as error:
        if isinstance(error, Exception) and is_out_of_memory(error):  # as every command's end has it
            return Outcome(refusal=ending.OUT_OF_MEMORY, detail="".join(traceback.format_exception(error))[-6000:])
        return Outcome(crash=_cause(error), detail="".join(traceback.format_exception(error))[-6000:])


@contextlib.contextmanager
def _limited_memory() -> Iterator[None]:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _cause(error: BaseException) -> str:
    """Name an error's type and the innermost line of the project that it passed."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(PACKAGES)]
    where = lines[-1] if lines else traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {_place(where.filename, where.lineno)}"


def _place(filename: str, line: int | None) -> str:
    path = Path(filename)
    return f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name}:{line}"


def _hanging(stack: str) -> str:
    """Name the innermost line of the project in faulthandler's report of all threads."""
    main = stack.rpartition("Current thread")[2] or stack
    lines = [line for line in main.splitlines() if any(package in line for package in PACKAGES)]
    if not lines:
        return "outside the project"
    _, filename, rest = lines[0].split('"', 2)
    return f"in {_place(filename, int(''.join(c for c in rest.split(' in ')[0] if c.isdigit()) or 0))}"
