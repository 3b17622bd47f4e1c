"""Time what a sweep costs beside its runs, by processes and devices; runs wait instead of training.

    python bench/scaling.py --runs=24 --epochs=4 --seconds=0.5

Networks and data are those of tests/launch/tiny_cv.py, and each epoch waits for --seconds, as if an accelerator trained
it. So the cores of this machine are free for what a sweep does itself: start, read, compile, deal out runs, talk, write
records and tables. Processes are connected over loopback, each with one device, or one process has several simulated
devices. Each line of JSON is a sweep: `seconds` from its start, after imports, to its end, and `ideal`, the waiting
alone: rounds of runs times epochs times --seconds.
"""

import argparse
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
LAYOUTS = ((1, 1), (2, 1), (4, 1), (1, 2), (1, 8))  # processes, and devices of each


def one(arguments: list[str], devices: int, seconds: float, output: Path) -> None:
    """Run a process of a sweep whose epochs wait; its prints go to `output`."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.argv[1:] = arguments
    os.environ["DEVICES"] = str(devices)
    from sharp_unet_jax.training.epochs import Program
    from tests.launch import tiny_cv

    train = Program.train

    def waiting(*args: object) -> object:
        time.sleep(seconds)
        return train(*args)  # type: ignore[arg-type]

    Program.train = waiting  # type: ignore[method-assign, assignment]
    tiny_cv.main()


def sweep(processes: int, devices: int, known: argparse.Namespace, folder: Path) -> float:
    """Return the seconds of a sweep. Raises RuntimeError if a process fails."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["launch.cv", "tests.launch.tiny_cv"])
    warm = forks.Process(target=print)  # the server imports what processes need
    warm.start()
    warm.join()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        cluster = [f"--coordinator=localhost:{free.getsockname()[1]}", f"--processes={processes}"]
    folds = 4
    settings = ["--config=demo.py", "--config.models=sharp_unet", f"--config.folds={folds}", "--config.batch_size=4"]
    settings += [f"--config.repeats={known.runs // folds}", f"--config.epochs={known.epochs}", "--config.patience=99"]
    settings += ["--config.data.size=16,24", f"--workdir={folder / 'w'}"]
    began, started = time.monotonic(), []
    for number in range(processes):
        arguments = [*settings, *([*cluster, f"--process={number}"] if processes > 1 else [])]
        output = folder / f"{number}.txt"
        started.append((forks.Process(target=one, args=(arguments, devices, known.seconds, output)), output))
        started[-1][0].start()
    for process, output in started:
        process.join()
        if process.exitcode:
            raise RuntimeError(output.read_text()[-2000:])
    return time.monotonic() - began


def main() -> None:
    """Time a sweep of each layout and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=24, help="a multiple of 4")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.5, help="that an epoch waits")
    known = parser.parse_args()
    for processes, devices in LAYOUTS:
        with tempfile.TemporaryDirectory() as folder:
            seconds = sweep(processes, devices, known, Path(folder))
        rounds = -(-known.runs // (processes * devices))
        row = {"processes": processes, "devices": devices, "runs": known.runs, "seconds": round(seconds, 2)}
        print(json.dumps(row | {"ideal": rounds * known.epochs * known.seconds}), flush=True)


if __name__ == "__main__":
    main()
