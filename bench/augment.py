"""Time that augmentation adds to a training step: a program with it and one without, by turns in one process.

    python bench/augment.py --config=folder --model=sharp_unet --size=192,256 --batch=4 --rounds=9

Prints the median time of a step of each, and the share that augmentation adds. Compilation is not timed.
"""

import argparse
import importlib
import time
from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
import turns
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
    augment = importlib.import_module(f"launch.configs.{args.config}").config.augment
    print(f"{args.model} on {turns.machine()}; {augment}")
    ratio = turns.compare({"without": step(args, Augment()), "with": step(args, augment)}, args.rounds)
    print(f"augmentation adds {ratio - 1:.1%}")


if __name__ == "__main__":
    main()
