"""One process at a time on the runs of a workdir: a whole sweep alone, or the shards of one sweep side by side.

The locks are the operating system's, on files that stay behind: a process that dies holds none.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from sharp_unet_jax.errors import InputError

TURNS = 600.0  # seconds: a hundred shards may start, or write what belongs to all, together, on a slow disk


def brief(workdir: Path) -> AcquireReturnProxy:
    """A context to write in what belongs to all shards."""
    return FileLock(workdir / ".locks" / "written").acquire(timeout=TURNS)


@contextmanager
def making(workdir: Path, run: str) -> Iterator[None]:
    """Holds one run of `workdir`; InputError where another process makes it, such as a shard of other models."""
    path = workdir / ".locks" / f"making {run.replace('/', ' ')}"
    try:
        mine = FileLock(path, thread_local=False).acquire(timeout=0)  # another thread may close the generator
    except Timeout as error:
        raise InputError(
            f"{workdir}: {run} is being made by another process: give all shards the same models, repeats and max_runs"
        ) from error
    with mine:
        yield


@contextmanager
def held(workdir: Path, shard: tuple[int, int]) -> Iterator[None]:
    """Holds shard (i, n) of `workdir`, (0, 1) being all of it; InputError where another process holds part of it."""
    i, n = shard
    folder = workdir / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as mine:
        try:
            with FileLock(folder / "entered").acquire(timeout=TURNS):  # one at a time looks at the others
                for path in folder.glob("*-of-*"):
                    if not path.name.endswith(f"-of-{n}"):
                        with FileLock(path).acquire(timeout=0):
                            pass  # shards of another division would make the same runs
                mine.enter_context(FileLock(folder / f"{i}-of-{n}").acquire(timeout=0))
        except Timeout as error:
            name = Path(error.lock_file).name
            part = "a sweep" if name in ("0-of-1", "entered") else f"shard {name}"
            raise InputError(
                f"{workdir}: {part} is running there already; wait for it, name another --workdir, "
                "or share the work with --shard=I/N on every one of N commands"
            ) from error
        yield
