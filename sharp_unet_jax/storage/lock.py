"""Locks on a workdir: one sweep works there alone, or the shards of one sweep side by side.

The operating system holds the locks, on files that stay in .locks: a process that dies holds none.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from sharp_unet_jax.errors import InputError

WAIT = 600.0  # seconds: on a slow disk, a hundred shards may start or write the common files at the same time


def brief(workdir: Path) -> AcquireReturnProxy:
    """Return a context in which no other process writes the files that belong to all shards."""
    return FileLock(workdir / ".locks" / "written").acquire(timeout=WAIT)


@contextmanager
def making(workdir: Path, run: str) -> Iterator[None]:
    """Hold the lock of one run. Raises InputError if another process trains it, such as a shard with other models."""
    path = workdir / ".locks" / f"making {run.replace('/', ' ')}"
    try:
        # Not thread-local: the generator that holds the lock may be closed in another thread.
        acquired = FileLock(path, thread_local=False).acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"{workdir}: {run} is being trained by another process: "
            "give all shards the same models, repeats and max_runs"
        ) from error
    with acquired:
        yield


def check(workdir: Path, shard: tuple[int, int]) -> None:
    """Refuse a shard that `held` would refuse now, and make nothing. Raises InputError."""
    if (workdir / ".locks").exists():
        with held(workdir, shard):
            pass


@contextmanager
def held(workdir: Path, shard: tuple[int, int]) -> Iterator[bool]:
    """Hold shard (i, n) of `workdir`; (0, 1) is all of it. Yield True if no other shard was held when this one began.

    Raises InputError if another process holds the shard, or one of another division.
    """
    (i, n), alone = shard, True
    folder = workdir / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            with FileLock(folder / "entered").acquire(timeout=WAIT):  # one process at a time looks at the other locks
                for path in folder.glob("*-of-*"):
                    try:
                        with FileLock(path).acquire(timeout=0):
                            pass  # free
                    except Timeout:
                        if path.name == f"{i}-of-{n}" or not path.name.endswith(f"-of-{n}"):
                            raise  # shards of another division would train the same runs
                        alone = False
                stack.enter_context(FileLock(folder / f"{i}-of-{n}").acquire(timeout=0))
        except Timeout as error:
            name = Path(error.lock_file).name
            part = "a sweep" if name in ("0-of-1", "entered") else f"shard {name}"
            raise InputError(
                f"{workdir}: {part} is running there already; wait for it, name another --workdir, "
                "or share the work with --shard=I/N on every one of N commands"
            ) from error
        yield alone
