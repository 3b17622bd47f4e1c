"""Images a second from PNG files to mask files: launch.predict and PyTorch, the same network, measured by turns.

    python bench/predict.py --model=sharp_unet --count=200 --own=288,384 --size=192,256 --batch=16 --rounds=5

Both read, resize and write with the same functions in as many threads; what differs is the network and how its batches
overlap with the rest. PyTorch runs eagerly, in channels_last, its best setting in bench/README.md without compilation.
Writes nothing but a table; compilation is left out by a first round that does not count.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from PIL import Image
from sides import twin

from launch import formats
from launch.formats import picture
from launch.predict import THREADS, Command, work
from sharp_unet_jax import forward
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.data.resize import resize_image, restore
from sharp_unet_jax.predict import labels
from sharp_unet_jax.trained import Trained

CLASSES = ("background", "object")


def ours(args: argparse.Namespace, inputs: list[formats.Input], output: Path) -> Callable[[], None]:
    """What launch.predict does once a run is loaded; fresh weights are as fast as trained ones."""
    config = Config(models=(args.model,), data=Data(size=args.size), batch_size=args.batch)
    network = forward.network(config, args.model, outputs=1, channels=3, rngs=nnx.Rngs(0))
    params, stats = forward.arrays(network)
    weights = jax.device_get({"params": params, "stats": stats})
    graph = nnx.graphdef(network)
    run = Trained("bench", args.model, "bench", CLASSES, config, 3, None, 1, graph, weights)
    command = Command(output, "", [], output, {}, ())

    def go() -> None:
        for _, outcome in work(command, [run], inputs, jax.devices()):
            if isinstance(outcome, Exception):
                raise outcome

    return go


def theirs(args: argparse.Namespace, inputs: list[formats.Input], output: Path) -> Callable[[], None]:
    """A twin in PyTorch between the same reading and writing, with threads on either side."""
    import torch
    import torch_twins

    device = torch.device("cuda" if jax.default_backend() == "gpu" else "cpu")
    model = torch_twins.build(args.model)
    case = {"model": args.model, "twin": str(output / "twin.npz")}
    next(twin(case))
    torch_twins.agree(args.model, model, Path(case["twin"]))
    model = model.eval().to(device, memory_format=torch.channels_last)

    def read(one: formats.Input) -> tuple[picture.Stack, np.ndarray]:
        stack = picture.read(one.paths)
        return stack, resize_image(stack.pictures[0], args.size, "stretch")

    def write(one: formats.Input, stack: picture.Stack, probabilities: np.ndarray) -> None:
        whole = restore(probabilities, stack.pictures.shape[1:3], "stretch")
        path = output / "masks" / f"{one.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.write_masks(path, labels(whole, 0.5)[None], stack, CLASSES)

    @torch.inference_mode()
    def go() -> None:
        with ThreadPoolExecutor(THREADS) as readers, ThreadPoolExecutor(THREADS) as writers:
            written = []
            files = zip(inputs, readers.map(read, inputs), strict=True)
            while some := list(islice(files, args.batch)):
                images = torch.from_numpy(np.stack([small for _, (_, small) in some])).to(device)
                x = (images.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)
                found = model(x).sigmoid().permute(0, 2, 3, 1).cpu().numpy()
                for (one, (stack, _)), probabilities in zip(some, found, strict=True):
                    written.append(writers.submit(write, one, stack, probabilities))
            for future in written:
                future.result()

    return go


def main() -> None:
    """Makes the files, then times both by turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: tuple(map(int, text.split(",")))  # noqa: E731
    parser.add_argument("--model", default="sharp_unet")
    parser.add_argument("--count", type=int, default=200, help="files")
    parser.add_argument("--own", type=numbers, default=(288, 384), help="height,width of the files")
    parser.add_argument("--size", type=numbers, default=(192, 256), help="height,width the network is given")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(
        f"{args.model} on {jax.devices()[0].device_kind}, {len(os.sched_getaffinity(0))} cores, jax {jax.__version__}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        (folder / "in").mkdir()
        for number in range(args.count):  # smooth, as pictures are: noise would time the decoder
            coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
            coarse.resize(args.own[::-1], Image.Resampling.BICUBIC).save(folder / "in" / f"{number}.png")
        inputs = formats.find([str(folder / "in")])
        sides = {"sharp_unet_jax": ours(args, inputs, folder / "ours")}
        (folder / "ours").mkdir()
        (folder / "theirs").mkdir()
        try:
            sides["PyTorch, channels_last"] = theirs(args, inputs, folder / "theirs")
        except ImportError as error:
            print(f"PyTorch: not measured: {error}")
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(args.rounds + 1):
            for side in list(sides)[:: -1 if number % 2 else 1]:
                start = time.perf_counter()
                sides[side]()
                seconds[side] += [time.perf_counter() - start] * (number > 0)
    rates = {side: args.count / statistics.median(each) for side, each in seconds.items()}
    print("\n| side | images/s |\n|-|-|")
    for side, rate in rates.items():
        print(f"| {side} | {rate:.1f} |")
    if len(rates) == 2:
        print(f"\nspeed against PyTorch: {rates['sharp_unet_jax'] / rates['PyTorch, channels_last']:.2f}")


if __name__ == "__main__":
    main()
