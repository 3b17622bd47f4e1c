"""Kills a small sweep with SIGKILL at random moments, and compares what it leaves in the end.

    python bench/kills.py --kills=50 --processes=1,4

A sweep is started again after each kill until it ends by itself; then its files are compared with those of a sweep
that nobody killed, and the next one is begun. Networks, data set and command are those of tests/launch/tiny_cv.py, a
state is saved after every epoch. Of several processes one is killed, and the others have to end by themselves.
Takes minutes, prints a line of JSON for each number of processes, and exits with 1 if any byte differs.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.launch.test_distributed import end, start
from tests.test_sweep import files

EPOCHS = ["--config.epochs=25", "--config.patience=25"]


def sweeps(kills: int, processes: int, seed: int) -> dict[str, object]:
    """Makes sweeps until so many kills have happened."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        codes, printed = end(start(processes, 1, Path(folder) / "whole", *EPOCHS))
        if any(codes):
            raise SystemExit("\n".join(printed))
        seconds = time.monotonic() - began
        whole = files(Path(folder) / "whole")
        killed = made = same = in_training = damaged = number = 0
        last = 0.0  # the longest that another process lived on
        while killed < kills:
            number += 1
            workdir = Path(folder) / str(number)
            while True:
                running = start(processes, 1, workdir, *EPOCHS)
                moment, began = rng.uniform(0, seconds), time.monotonic()
                victim = rng.choice(running)
                while time.monotonic() - began < moment and victim.poll() is None:
                    time.sleep(0.005)
                if killed < kills and victim.poll() is None:
                    in_training += any(workdir.glob("runs/*/*/metrics.jsonl"))
                    victim.send_signal(signal.SIGKILL)
                    killed += 1
                    began = time.monotonic()
                    _, printed = end(running)
                    last = max(last, time.monotonic() - began)
                    damaged += sum(text.count("is damaged") for text in printed)
                    continue
                codes, printed = end(running)
                damaged += sum(text.count("is damaged") for text in printed)
                if any(codes):
                    raise SystemExit("\n".join(printed))
                break
            made += 1
            same += files(workdir) == whole
    return {
        "processes": processes,
        "seconds_of_a_sweep": round(seconds, 1),
        "kills": killed,
        "while_a_run_was_on": in_training,
        "damaged_states_met": damaged,
        "sweeps": made,
        "with_the_same_bytes": same,
        "longest_life_of_the_others_seconds": round(last, 1),
    }


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--processes", default="1,4")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    results = [sweeps(args.kills, int(processes), args.seed) for processes in args.processes.split(",")]
    for result in results:
        print(json.dumps(result))
    sys.exit(any(result["sweeps"] != result["with_the_same_bytes"] for result in results))


if __name__ == "__main__":
    main()
