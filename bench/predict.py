"""Images a second from PNG files to mask files: launch.predict and PyTorch with the same network, by turns.

    python bench/predict.py --model=sharp_unet --count=200 --own=288,384 --size=192,256 --batch=16 --rounds=5

With several --own, the files have these sizes in turn.

Both sides read, resize and write with the same functions and the same number of threads. They differ in the network,
and in how its batches overlap with reading and writing. PyTorch runs eagerly and compiled, in channels_last, each in a
process of its own, which waits on a pipe between its turns. Prints a table and writes nothing. A first round compiles
and is not counted. PyTorch may be in another environment with the same version of Python: --torch=PYTHON.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from PIL import Image
from sides import twin

from datasets.formats import picture, search
from launch.prediction.output import Output
from launch.prediction.pipeline import THREADS, predict_files
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.data.resize import resize_image, restore
from sharp_unet_jax.decision import labels
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.training import network

OURS, EAGER, COMPILED = "sharp_unet_jax", "PyTorch, channels_last", "PyTorch, compiled, channels_last"
CLASSES = ("background", "object")


def ours(case: dict[str, Any]) -> Callable[[], None]:
    """Return a function that predicts all files as launch.predict does; the weights are fresh."""
    config = Config(models=(case["model"],), data=Data(size=tuple(case["size"])), batch_size=case["batch"])
    segmenter = network.build(config, case["model"], num_classes=1, channels=3, rngs=nnx.Rngs(0))
    params, stats = network.arrays(segmenter)
    weights, graph = jax.device_get({"params": params, "stats": stats}), nnx.graphdef(segmenter)
    run = Trained("bench", case["model"], "bench", CLASSES, config, 3, None, 1, graph, weights)
    output, inputs = Path(case["folder"]) / "ours", search.find([f"{case['folder']}/in"])
    output.mkdir()

    def go() -> None:
        for _, outcome in predict_files([run], inputs, Output(output), jax.devices(), {}):
            if isinstance(outcome, Exception):
                raise outcome

    return go


def theirs(case: dict[str, Any]) -> Callable[[], None]:
    """Return a function that predicts all files with the network in PyTorch, with threads that read and write."""
    import torch
    import torch_twins

    device = torch.device("cuda" if case["platform"] == "gpu" else "cpu")
    model = torch_twins.build(case["model"])
    torch_twins.agree(case["model"], model, Path(case["twin"]))
    model = model.eval().to(device, memory_format=torch.channels_last)
    segmenter = torch.compile(model) if case["side"] == COMPILED else model
    output, inputs = Path(case["folder"]) / case["side"], search.find([f"{case['folder']}/in"])

    def read(one: search.Input) -> tuple[picture.Stack, np.ndarray]:
        stack = picture.read(one.paths)
        return stack, resize_image(stack.pictures[0], case["size"], "stretch")

    def write(one: search.Input, stack: picture.Stack, probabilities: np.ndarray) -> None:
        full = restore(probabilities, stack.pictures.shape[1:3], "stretch")
        picture.write_masks(output / "masks" / f"{one.name}.png", labels(full, 0.5)[None], stack, CLASSES)

    @torch.inference_mode()
    def go() -> None:
        with ThreadPoolExecutor(THREADS) as readers, ThreadPoolExecutor(THREADS) as writers:
            written = []
            files = zip(inputs, readers.map(read, inputs), strict=True)
            while some := list(islice(files, case["batch"])):
                images = torch.from_numpy(np.stack([small for _, (_, small) in some])).to(device)
                x = (images.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)
                found = segmenter(x).sigmoid().permute(0, 2, 3, 1).cpu().numpy()
                for (one, (stack, _)), probabilities in zip(some, found, strict=True):
                    written.append(writers.submit(write, one, stack, probabilities))
            for future in written:
                future.result()

    return go


def seconds_of(go: Callable[[], None]) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    go()
    return time.perf_counter() - start


def child(case: dict[str, Any], python: str) -> Iterator[float]:
    """Yield the seconds of each round of PyTorch; its Python may import from this environment too."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [python, __file__, "--child", json.dumps(case)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        while True:
            process.stdin.write("\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"{case['side']} failed, see above")
            yield float(line)


def answer(case: dict[str, Any]) -> None:
    """Run as a child: for each line read, run a round and write a line with its seconds."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr
    go = theirs(case)
    while sys.stdin.readline():
        print(seconds_of(go), file=replies, flush=True)


def main() -> None:
    """Read the command line; run as a child, or compare all sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: tuple(map(int, text.split(",")))  # noqa: E731
    parser.add_argument("--model", default="sharp_unet")
    parser.add_argument("--count", type=int, default=200, help="files")
    parser.add_argument("--own", type=numbers, action="append", help="height,width of the files (default: 288,384)")
    parser.add_argument("--size", type=numbers, default=(192, 256), help="height,width the network is given")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which needs a C++ compiler")
    parser.add_argument("--torch", default=sys.executable, help="a Python with bench/requirements.txt")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        answer(args.child)
    else:
        compare(args)


def compare(args: argparse.Namespace) -> None:
    """Make the files, time all sides by turns, and print a table."""
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # else JAX takes all memory of a GPU
    device = jax.devices()[0]
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"{args.model} on {device.device_kind}, {cores} cores, jax {jax.__version__}, load average {load:.1f}")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        pictures(args, Path(folder) / "in")
        case = {"folder": folder, "twin": f"{folder}/twin.npz", "platform": device.platform}
        case |= {"model": args.model, "size": args.size, "batch": args.batch}
        next(twin(case))
        go = ours(case)
        sides = {OURS: iter(lambda: seconds_of(go), None)}
        for side in [EAGER] + [COMPILED] * (not args.no_compile):
            sides[side] = stack.enter_context(contextlib.closing(child(case | {"side": side}, args.torch)))
        rounds: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(args.rounds + 1):
            for side in list(sides)[:: -1 if number % 2 else 1]:
                rounds[side].append(next(sides[side]))
                time.sleep(0.05)  # threads of the last side spin for up to 10 ms
    rates = {side: args.count / statistics.median(each[1:]) for side, each in rounds.items()}
    print("\n| side | images/s | slowest and fastest round |\n|-|-|-|")
    for side, rate in rates.items():
        slowest, fastest = (args.count / pick(rounds[side][1:]) for pick in (max, min))
        print(f"| {side} | {rate:.2f} | {slowest:.2f} to {fastest:.2f} |")
    best = max((side for side in rates if side != OURS), key=rates.__getitem__)
    print(f"\nspeed against PyTorch's best, {best}: {rates[OURS] / rates[best]:.2f}")


def pictures(args: argparse.Namespace, folder: Path) -> None:
    """Write smooth pictures: with noise, decoding would take most of the time."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(args.count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
        own = args.own[number % len(args.own)] if args.own else (288, 384)
        coarse.resize(own[::-1], Image.Resampling.BICUBIC).save(folder / f"{number}.png")


if __name__ == "__main__":
    main()
