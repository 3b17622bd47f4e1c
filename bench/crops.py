"""Time that crops add to a training step: one with whole images of a size, one with crops of it, by turns.

    python bench/crops.py --model=sharp_unet --size=192,256 --batch=4 --rounds=9

The images that crops are cut from have 600x900 pixels. Prints the median time of a step of each in one process, and the
share that crops add. Compilation is not timed. `compiled.py` shows what a GPU would execute.
"""

import argparse
import time
from collections.abc import Callable

import jax
import numpy as np
import turns

from sharp_unet_jax import ragged
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.training import epochs, train

IMAGES, OWN = 50, (600, 900)


def dataset_of(fit: str, size: tuple[int, int]) -> Dataset:
    """Return noise: images of `size`, or larger ones to cut crops from."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, *(OWN if fit == "crop" else size), 3), np.uint8)
    masks = (images[..., 0] > 200).astype(np.uint8)
    arrays = (ragged.of(list(images)), ragged.of(list(masks))) if fit == "crop" else (images, masks)
    ids = tuple(map(str, range(IMAGES)))
    return Dataset("noise", *arrays, ids, ids, ("background", "object"))


def program_of(args: argparse.Namespace, fit: str) -> tuple[epochs.Program, np.ndarray, np.ndarray]:
    """Return the program of a model on noise, and a batch of it."""
    dataset = dataset_of(fit, args.size)
    data = Data(size=args.size, fit=fit, crops=IMAGES if fit == "crop" else 0)
    config, devices = Config(data=data, models=(args.model,), batch_size=args.batch), jax.devices()[:1]
    program = epochs.build(config, args.model, dataset, epochs.put(dataset, devices), devices)
    order = train.order_of(dataset, config, np.arange(IMAGES), 0, 1)[: args.batch]
    return program, *train.batches(order, args.batch, program.batch_size)


def step(args: argparse.Namespace, fit: str) -> Callable[[], float]:
    """Return a function that takes one training step, as a run does, and returns its seconds."""
    program, index, weight = program_of(args, fit)
    state = program.init(0)

    def timed() -> float:
        nonlocal state
        start = time.perf_counter()
        state, totals = program.train(state, index, weight, 1e-3, False, np.zeros(2, np.uint32))
        jax.block_until_ready((state, totals))
        return time.perf_counter() - start

    return timed


def main() -> None:
    """Time both by turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sharp_unet")
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split(","))), default=(192, 256))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    print(f"{args.model} on {turns.machine()}")
    ratio = turns.compare({"whole images": step(args, "stretch"), "crops": step(args, "crop")}, args.rounds)
    print(f"crops add {ratio - 1:.1%}")


if __name__ == "__main__":
    main()
