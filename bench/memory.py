"""Memory of a training step, from XLA's analysis of the compiled step. Nothing is run.

    python bench/memory.py --model=sharp_unet_resnet50 --size=512,512 --batch=16

Prints a row for each setting that saves memory. The figures hold for the platform that compiles: a CPU's convolutions
need other temporaries than a GPU's, and XLA's CPU compiler undoes `remat`, because it merges equal computations.
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sharp_unet_jax.advice import memory
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.training import epochs

WAYS: tuple[dict[str, Any], ...] = ({}, {"accumulate": 4}, {"accumulate": 16}, {"accumulate": 4, "remat": True})


def needed(config: Config, model: str, size: tuple[int, int]) -> tuple[int, int]:
    """Return the bytes of a step's arguments (state and data set), and of its temporaries and other outputs."""
    images = np.zeros((config.batch_size, *size, 3), np.uint8)
    names = tuple(map(str, range(config.batch_size)))
    dataset = Dataset("zeros", images, images[..., 0], names, names, ("background", "object"))
    devices = jax.devices()[:1]
    pairs = epochs.put(dataset, devices)
    program = epochs.build(config, model, dataset, pairs, devices, loop=True)  # as on an accelerator
    state = jax.eval_shape(lambda: program.init(0))
    index, weight = jnp.zeros(program.batch_size, jnp.int32), jnp.ones(program.batch_size)
    compiled = program.train_step.lower(False, state, pairs, index, weight, np.float32(1e-3)).compile()
    found = compiled.memory_analysis()
    return (
        found.argument_size_in_bytes,
        found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes,
    )


def main() -> None:
    """Print a row for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sharp_unet_resnet50")
    parser.add_argument("--size", default="512,512", help="height,width")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="float32")
    arguments = parser.parse_args()
    height, width = map(int, arguments.size.split(","))
    device = jax.devices()[0].device_kind
    data = Data(size=(height, width))
    need = memory.need(Config(data=data, precision=arguments.precision), arguments.model, channels=3, num_classes=1)
    estimate = (need.state + arguments.batch * need.image) / 2**30
    print(f"{arguments.model}, {height}x{width}, batch {arguments.batch}, {arguments.precision}, {device}")
    print(f"{estimate:6.2f} GiB as launch.prepare estimates it, without compiling")
    for way in WAYS:
        config = Config(batch_size=arguments.batch, precision=arguments.precision, **way)
        fixed, working = (n / 2**30 for n in needed(config, arguments.model, (height, width)))
        print(f"{fixed + working:6.2f} GiB = {fixed:.2f} state and data + {working:.2f} working: {way}", flush=True)


if __name__ == "__main__":
    main()
