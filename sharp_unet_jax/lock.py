"""One process at a time on the runs of a workdir: a whole sweep alone, or the shards of one sweep side by side.

The locks are the operating system's, on files that stay behind: a process that dies holds none.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from sharp_unet_jax.errors import InputError

PATIENCE = 2.0  # seconds: shards that start together hold the first lock for a moment


def brief(workdir: Path) -> AcquireReturnProxy:
    """A context to write in what belongs to all shards."""
    return FileLock(workdir / ".locks" / "all").acquire(timeout=60)


@contextmanager
def held(workdir: Path, shard: tuple[int, int]) -> Iterator[None]:
    """Holds shard (i, n) of `workdir`, (0, 1) being all of it; InputError where another process holds part of it."""
    i, n = shard
    folder = workdir / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    whole = FileLock(folder / "all")
    with ExitStack() as mine:
        try:
            with ExitStack() as entering:
                entering.enter_context(whole.acquire(timeout=PATIENCE))
                for path in folder.iterdir():
                    if path.name != "all" and (n == 1 or not path.name.endswith(f"-of-{n}")):
                        with FileLock(path).acquire(timeout=0):
                            pass  # shards of another division would make the same runs
                if n == 1:
                    mine.enter_context(entering.pop_all())
                else:
                    mine.enter_context(FileLock(folder / f"{i}-of-{n}").acquire(timeout=0))
        except Timeout as error:
            part = "a sweep" if error.lock_file.endswith("all") else f"shard {Path(error.lock_file).name}"
            raise InputError(
                f"{workdir}: {part} is running there already; wait for it, name another --workdir, "
                "or share the work with --shard=I/N on every one of N commands"
            ) from error
        yield
