"""Kill a small sweep with SIGKILL at random moments, and compare the files of the finished sweep.

    python bench/kills.py --kills=50 --processes=4 --folder=/tmp/kills [--minutes=5]

A sweep is started again after each kill until it ends by itself. Then its files are compared with those of a sweep
that was never killed, and the next sweep starts. Network, data set and command are those of tests/launch/tiny_cv.py:
four runs of 8 epochs, with a state saved after each epoch. With several processes one is killed, and the others have to
end by themselves. Processes are forked from one that has imported everything, so that kills hit work and not imports;
compiled programs come from a cache in --folder. After --minutes no new sweep starts; the same command continues later.
Prints a line of JSON: what the sweeps were doing when they were killed, as the files showed it, and the comparisons.
Exits with 1 if a byte differs, a file is left over, or a saved state was unreadable.
"""

import argparse
import json
import multiprocessing
import os
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
CONFIG = ["--config=demo.py", "--config.models=sharp_unet", "--config.repeats=1", "--config.folds=4"]
CONFIG += ["--config.data.size=16,24", "--config.batch_size=4", "--config.epochs=8", "--config.checkpoint_minutes=0"]


def one(arguments: Sequence[str], output: Path) -> None:
    """Run a process of a sweep; its prints go to `output`."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.argv[1:] = arguments
    from tests.launch import tiny_cv

    tiny_cv.main()


def start(workdir: Path, processes: int) -> list[tuple[ForkServerProcess, Path]]:
    """Start the processes of a sweep; return them with the files of their prints."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        cluster = [f"--coordinator=localhost:{free.getsockname()[1]}", f"--processes={processes}"]
    forks = multiprocessing.get_context("forkserver")
    started = []
    for number in range(processes):
        arguments = [*CONFIG, f"--workdir={workdir}", *([*cluster, f"--process={number}"] if processes > 1 else [])]
        output = workdir.with_name(f"{workdir.name}.{number}.txt")
        started.append((forks.Process(target=one, args=(arguments, output)), output))
    for process, _ in started:
        process.start()
    return started


def end(started: list[tuple[ForkServerProcess, Path]]) -> list[int | None]:
    """Wait for the processes; return their exit codes, None for one that does not end within five minutes."""
    deadline = time.monotonic() + 300
    for process, _ in started:
        process.join(max(0, deadline - time.monotonic()))
    codes = [process.exitcode for process, _ in started]
    for process, _ in started:
        process.kill()
    return codes


def epochs(workdir: Path) -> int:
    """Return how many epochs the runs have finished."""
    return sum(path.read_bytes().count(b"\n") for path in workdir.glob("runs/*/*/metrics.jsonl"))


def where(workdir: Path, before: int) -> str:
    """Return what a sweep was doing when it was killed, as its files show; it had `before` epochs at its start."""
    runs = [path for path in workdir.glob("runs/*/*") if path.is_dir()]
    if not runs:
        return "start"
    if any(any(run.glob("resume/.*")) for run in runs):
        return "writing a state"
    begun = ("checkpoint*", ".*", "per_image.parquet")
    if any(any(run.glob(each)) for each in begun for run in runs if not (run / "record.json").exists()):
        return "writing a record"
    if any(len(list(run.glob("resume/*"))) > 1 for run in runs if (run / "record.json").exists()):
        return "writing a record"
    if len(runs) == 4 and all((run / "record.json").exists() for run in runs):
        return "writing the tables"
    return "tracing and compiling" if epochs(workdir) <= before else "training"


def remains(workdir: Path) -> tuple[dict[str, bytes], list[str]]:
    """Return the files of a finished sweep that must have the same bytes, and all names but Orbax's random ones."""
    from sharp_unet_jax.storage import checkpoint
    from tests.tiny_sweep import files

    names = (str(path.relative_to(workdir)) for path in workdir.rglob("*") if "/checkpoint/" not in str(path))
    weights = {
        str(path.relative_to(workdir)): checkpoint.digest(checkpoint.load(path)).encode()
        for path in workdir.glob("runs/*/*/checkpoint")
    }
    return files(workdir) | weights, sorted(name for name in names if not name.startswith(".locks"))


def sweep(workdir: Path, processes: int, seconds: float, kills: int, rng: random.Random) -> dict[str, Any]:
    """Make a sweep and kill it at random moments, at most `kills` times; return what happened."""
    fell, damaged, last = [], 0, 0.0
    while True:
        before = epochs(workdir)
        started, moment, killed_at = start(workdir, processes), rng.uniform(0, seconds), time.monotonic()
        victim = rng.choice(started)[0]
        victim.join(moment if len(fell) < kills else None)
        killed = victim.exitcode is None
        if killed:
            victim.kill()
            fell.append(where(workdir, before))
            killed_at = time.monotonic()
        codes = end(started)
        printed = [output.read_text() for _, output in started]
        damaged += sum(text.count("is damaged") for text in printed)
        if killed:
            last = max(last, time.monotonic() - killed_at)
        if None in codes or (any(codes) and not killed):
            raise SystemExit("\n".join([f"exit codes {codes}", *printed]))
        if not killed:
            return {"fell": fell, "damaged": damaged, "last": last}


def main() -> None:
    """Read the command line, continue from --folder, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    args = parser.parse_args()
    folder = args.folder.absolute() / str(args.processes)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"DEVICES": "1", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    os.environ.pop("XLA_FLAGS", None)  # other flags change the last digits
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(args.folder.absolute() / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.launch.tiny_cv"])
    log, clock, start_time = folder / "sweeps.jsonl", folder / "seconds", time.monotonic()
    if not clock.exists():
        # The first sweep fills the cache; the second is the reference.
        for name in ("first", "reference"):
            start_time = time.monotonic()
            sweep(folder / name, args.processes, 0.0, 0, random.Random())
        clock.write_text(str(time.monotonic() - start_time))
    seconds, stop = float(clock.read_text()), start_time + 60 * args.minutes
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    while (remaining := args.kills - sum(len(each["fell"]) for each in done)) > 0 and time.monotonic() < stop:
        workdir = folder / str(len(done))
        each = sweep(workdir, args.processes, seconds, remaining, random.Random(f"{args.processes} {len(done)}"))
        same, names = (
            ours == theirs for ours, theirs in zip(remains(workdir), remains(folder / "reference"), strict=True)
        )
        done.append(each | {"same": same, "nothing_left_over": names})
        with open(log, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(done[-1]) + "\n")
    result = {
        "processes": args.processes,
        "seconds_of_a_sweep": round(seconds, 1),
        "kills": sum(len(each["fell"]) for each in done),
        "fell": Counter(where for each in done for where in each["fell"]),
        "damaged_states_met": sum(each["damaged"] for each in done),
        "sweeps": len(done),
        "with_the_same_bytes": sum(each["same"] for each in done),
        "with_nothing_left_over": sum(each["nothing_left_over"] for each in done),
        "longest_life_of_the_others_seconds": round(max((each["last"] for each in done), default=0), 1),
    }
    print(json.dumps(result))
    correct = all(result["sweeps"] == result[key] for key in ("with_the_same_bytes", "with_nothing_left_over"))
    sys.exit(not correct or result["damaged_states_met"] > 0)


if __name__ == "__main__":
    main()
