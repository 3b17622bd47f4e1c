"""Time that augmentation adds to a training step: a program with it and one without, by turns in one process.

    python bench/augment.py --config=folder --model=sharp_unet --size=192,256 --batch=4 --rounds=9

Prints the median time of a step of each, and the share that augmentation adds. Compilation is not timed.
"""

import argparse
import importlib
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
from sides import pairs_of

from sharp_unet_jax.config import Augment, Config
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.training import epochs, train


def step(args: argparse.Namespace, augment: Augment) -> Callable[[], float]:
    """Return a function that takes one training step, as a run does, and returns its seconds."""
    images, masks = pairs_of({"steps": 1, "batch": args.batch, "size": args.size})
    ids = tuple(map(str, range(args.batch)))
    dataset = Dataset("bench", images, masks, ids, ids, ("background", "object"))
    config = replace(Config(models=(args.model,), batch_size=args.batch), augment=augment)
    devices = jax.devices()[:1]
    program = epochs.build(config, args.model, dataset, epochs.put(dataset, devices), devices)
    state = program.init(0)
    index, weight = train.batches(np.arange(args.batch), args.batch, program.batch_size)

    def timed() -> float:
        nonlocal state
        start = time.perf_counter()
        draw = np.random.default_rng().integers(0, 2**32, 2, np.uint32)
        state, totals = program.train(state, index, weight, config.learning_rate, False, draw)
        jax.block_until_ready((state, totals))
        return time.perf_counter() - start

    return timed


def main() -> None:
    """Time both by turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: tuple(map(int, text.split(",")))  # noqa: E731
    parser.add_argument("--config", default="folder", help="a file of launch/configs, without .py")
    parser.add_argument("--model", default="sharp_unet")
    parser.add_argument("--size", type=numbers, default=(192, 256), help="height,width")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    device, cores, load = jax.devices()[0].device_kind, len(os.sched_getaffinity(0)), os.getloadavg()[0]
    augment = importlib.import_module(f"launch.configs.{args.config}").config.augment
    print(f"{args.model} on {device}, {cores} cores, jax {jax.__version__}, load average {load:.1f}; {augment}")
    sides = {"without": step(args, Augment()), "with": step(args, augment)}
    for timed in sides.values():
        timed(), timed()  # compile
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(args.rounds):
        for side in list(sides)[:: -1 if number % 2 else 1]:
            seconds[side].append(sides[side]())
    median = {side: statistics.median(each) for side, each in seconds.items()}
    for side, each in seconds.items():
        print(f"{side}: {1000 * median[side]:.0f} ms a step ({1000 * min(each):.0f} to {1000 * max(each):.0f})")
    print(f"augmentation adds {median['with'] / median['without'] - 1:.1%}")


if __name__ == "__main__":
    main()
