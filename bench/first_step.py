"""Show where the seconds go from the start of a command to the end of its first training step.

    python bench/first_step.py --rounds=3 -- --config=isbi.py --config.data.manual_dir=DOWNLOADS \
        --config.models=sharp_unet

What follows `--` are arguments of launch.cv. Its data set is prepared by a first command that is not counted. Then
commands take turns, each into a new workdir: one with an empty folder of compiled programs (`cold`), and one that finds
the programs of the cold one (`warm`). Each line of JSON is such a command, in seconds: `all`, and its parts. `import`
is the interpreter and all modules, `data` the reading of prepared arrays, `trace` the programs' way from Python to XLA,
`compile` XLA, or the reading of what it compiled before, `step` the first step once it is compiled, and `rest` the
checks, the workdir and fresh weights.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = {
    "jaxpr_trace_duration": "trace",
    "jaxpr_to_mlir_module_duration": "trace",
    "backend_compile_duration": "compile",
}


def first_step(arguments: list[str], began: float) -> None:
    """Run launch.cv until its first step has ended; print the seconds since `began` (`time.monotonic`) and leave."""
    sys.argv[1:] = arguments
    import jax

    from launch import cv
    from launch.console import dataset
    from sharp_unet_jax.training.epochs import Program

    seconds = {"import": time.monotonic() - began, "data": 0.0, "trace": 0.0, "compile": 0.0, "step": 0.0}
    load, train = dataset.load, Program.train

    def heard(name: str, duration: float, **_: object) -> None:
        if part := PARTS.get(name.rpartition("/")[2]):
            seconds[part] += duration

    def loading(*given: object) -> object:
        start = time.monotonic()
        loaded = load(*given)  # type: ignore[arg-type]
        seconds["data"] += time.monotonic() - start
        return loaded

    def training(program: Program, state: object, *batches_and_rates: object) -> None:
        index, weight, rates, *others = batches_and_rates
        one = index[:1], weight[:1], rates[:1], *others  # type: ignore[index]
        start, before = time.monotonic(), seconds["trace"] + seconds["compile"]
        jax.block_until_ready(train(program, state, *one))  # type: ignore[arg-type]
        end = time.monotonic()
        seconds["step"] = end - start - (seconds["trace"] + seconds["compile"] - before)
        seconds["rest"] = end - began - sum(seconds.values())
        print(json.dumps({"all": end - began} | seconds), file=sys.stderr, flush=True)
        os._exit(0)

    jax.monitoring.register_event_duration_secs_listener(heard)
    dataset.load = loading  # type: ignore[assignment]
    Program.train = training  # type: ignore[method-assign, assignment]
    cv.main()


def timed(arguments: list[str], cache: Path) -> dict[str, float]:
    """Start a command that keeps compiled programs in `cache`; return its seconds. Raises RuntimeError if it fails."""
    code = "import sys; from bench import first_step; first_step.first_step(sys.argv[2:], float(sys.argv[1]))"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, str(time.monotonic()), *arguments, f"--workdir={folder}/w"]
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stderr.splitlines()[-1])
    except (IndexError, ValueError):
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:]) from None


def main() -> None:
    """Time the commands by turns and print each."""
    own, _, arguments = " ".join(sys.argv[1:]).partition("-- ")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    known = parser.parse_args(own.split())
    with tempfile.TemporaryDirectory() as folder:
        timed(arguments.split(), Path(folder) / "preparing")
        for number in range(known.rounds):
            for kind in ("cold", "warm"):
                row = timed(arguments.split(), Path(folder) / str(number))
                print(json.dumps({"kind": kind} | {name: round(value, 2) for name, value in row.items()}), flush=True)


if __name__ == "__main__":
    main()
