"""Locks on a workdir: one sweep works there alone, or the shards of one sweep side by side.

The operating system holds the locks, on files that stay in .locks: a process that dies holds none.
"""

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sharp_unet_jax.errors import InputError

UNLOCKABLE = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)  # as some network drives answer
WAIT = 600.0  # seconds: on a slow disk, a hundred shards may start or write the common files at the same time


@contextmanager
def brief(workdir: Path) -> Iterator[None]:
    """Hold the lock on the files that belong to all shards. Raises InputError if others write them for too long."""
    try:
        with _locked(workdir, "written", WAIT):
            yield
    except Timeout as error:
        why = f"other processes have been writing its common files for {WAIT:.0f} seconds"
        raise InputError(f"{workdir}: {why}; what was trained is kept: give the command again") from error


@contextmanager
def making(workdir: Path, run: str) -> Iterator[None]:
    """Hold the lock of one run. Raises InputError if another process trains it, such as a shard with other models."""
    try:
        with _locked(workdir, f"making {run.replace('/', ' ')}", 0):
            yield
    except Timeout as error:
        raise InputError(
            f"{workdir}: {run} is being trained by another process: "
            "give all shards the same models, repeats and max_runs"
        ) from error


def check(workdir: Path, shard: tuple[int, int]) -> None:
    """Refuse a shard that `held` would refuse now, and make nothing. Raises InputError."""
    if (workdir / ".locks").exists():
        with _entered(workdir, shard):
            pass


@contextmanager
def held(workdir: Path, shard: tuple[int, int]) -> Iterator[bool]:
    """Hold shard (i, n) of `workdir`; (0, 1) is all of it. Yield True if no other shard was held when this one began.

    Raises InputError if another process holds the shard, or one of another division.
    """
    (workdir / ".locks").mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with _entered(workdir, shard) as alone:
            stack.enter_context(_locked(workdir, _name(shard), 0))
        yield alone


@contextmanager
def _entered(workdir: Path, shard: tuple[int, int]) -> Iterator[bool]:
    """Look at the locks of all shards while no other process does; yield True if no other shard is held.

    Raises InputError if another process holds the shard, or one of another division.
    """
    alone = True
    try:
        with _locked(workdir, "entered", WAIT):
            for path in (workdir / ".locks").glob("*-of-*"):
                try:
                    with _locked(workdir, path.name, 0):
                        pass  # free
                except Timeout:
                    if path.name == _name(shard) or not path.name.endswith(f"-of-{shard[1]}"):
                        raise  # shards of another division would train the same runs
                    alone = False
            yield alone
    except Timeout as error:
        name = Path(error.lock_file).name
        part = "a sweep" if name in ("0-of-1", "entered") else f"shard {name}"
        raise InputError(
            f"{workdir}: {part} is running there already; wait for it, name another --workdir, "
            "or share the work with --shard=I/N on every one of N commands"
        ) from error


def _name(shard: tuple[int, int]) -> str:
    return f"{shard[0]}-of-{shard[1]}"


@contextmanager
def _locked(workdir: Path, name: str, wait: float) -> Iterator[None]:
    """Hold a lock of the workdir. Raises Timeout if another process does, InputError where no file can be locked."""
    try:
        # Not thread-local: the generator that holds a lock may be closed in another thread.
        acquired = FileLock(workdir / ".locks" / name, thread_local=False).acquire(timeout=wait)
    except OSError as error:
        if error.errno not in UNLOCKABLE:
            raise
        raise InputError(
            f"{workdir}: files cannot be locked there ({error.strerror}); name a --workdir on another disk"
        ) from error
    with acquired:
        yield
