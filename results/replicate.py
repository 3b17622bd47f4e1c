"""Train a published config on a GPU that is lent for minutes: as many runs as fit, and the rest another time.

    python -m results.replicate carry FOLDER --config.data.manual_dir=DOWNLOADS
    python -m results.replicate train FOLDER --records=RECORDS.tgz --seconds=400 --config.precision=tf32

The first command writes the prepared images and masks to FOLDER as a PNG each, where the data set is: 27 MiB for
CVC-ClinicDB. The second needs neither the data set's files nor what reads them. It trains the runs that RECORDS.tgz has
not, both networks on a seed and then the next seed, and writes what is finished to that file after every run. After
--seconds, or at SIGTERM, it stops at the end of the epoch: leave it half a minute more. A run that it stops in begins
anew the next time, since its weights are larger than what may be carried back.

Both take --config=NAME (published/cvc.py unless it is given) and --config.FIELD=VALUE, the same ones every time. Then

    mkdir -p work/published
    tar -xzf RECORDS.tgz -C work/published
    python -m launch.merge work/published --pack results/NAME

packs the results. Beside JAX, Flax and Orbax, training needs grain, array-record, portpicker, msgspec, dm-pix and the
installed metadata of tensorflow-datasets: 10 MB of wheels.
"""

import argparse
import json
import signal
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image
from rich.console import Console

from launch.console import arguments as command_line
from launch.console import config as configs
from launch.console import ending, environment, progress, runtime
from sharp_unet_jax import ragged
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.ragged import Ragged
from sharp_unet_jax.report import paper_tables
from sharp_unet_jax.storage import layout
from sharp_unet_jax.storage.atomic import replacing, write_json
from sharp_unet_jax.sweeps import check, sweep, workdir
from sharp_unet_jax.sweeps.events import Ended, Event, Stopped

ARRAYS = ("images", "masks", "native")  # the last one where masks are scored at another resolution than trained on
LEFT = {layout.CHECKPOINT, layout.RESUME, layout.PREDICTIONS, ".locks"}  # on the machine: too large to carry back


def carry(data: Dataset, folder: Path) -> None:
    """Write a prepared data set: images.png, masks.png and so on, one image below the other, and data.json."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {}  # of images that have their own
    for name in ARRAYS:
        array = getattr(data, name)
        if array is None:
            continue
        if isinstance(array, Ragged):
            sizes[name] = array.sizes.tolist()
            widest = int(array.sizes[:, 1].max())
            array = np.concatenate([_widened(image, widest) for image in array])[None]
        rows = np.asarray(array).reshape(-1, *array.shape[2:])
        Image.fromarray(rows[..., 0] if rows.shape[2:] == (1,) else rows).save(folder / f"{name}.png", optimize=True)
    names = {"name": data.name, "ids": data.ids, "groups": data.groups, "classes": data.classes, "sizes": sizes}
    write_json(folder / "data.json", {**names, "sha256": data.sha256})


def carried(folder: Path, size: tuple[int, int]) -> Dataset:
    """Return the data set that `carry` wrote. Raises InputError if its pixels or names are not the same."""
    names = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    ids, groups, classes = (tuple(names[name]) for name in ("ids", "groups", "classes"))
    arrays: dict[str, Any] = {}
    for name in ARRAYS:
        if (folder / f"{name}.png").exists():
            rows = np.asarray(Image.open(folder / f"{name}.png"))
            rows = rows[..., None] if name == "images" and rows.ndim == 2 else rows
            own = names["sizes"].get(name)  # of images of their own sizes
            arrays[name] = _cut(rows, own) if own else rows.reshape(len(ids), *size, *rows.shape[2:])
    data = Dataset(names["name"], **arrays, ids=ids, groups=groups, classes=classes)
    if data.sha256 != names["sha256"]:
        raise InputError(f"{folder}: the images or masks have changed: carry them again")
    return data


def _widened(image: np.ndarray, width: int) -> np.ndarray:
    return np.pad(image, ((0, 0), (0, width - image.shape[1]), *[(0, 0)] * (image.ndim - 2)))


def _cut(rows: np.ndarray, sizes: Sequence[Sequence[int]]) -> Ragged:
    """Return images of their own `sizes`, which lie below each other in `rows`."""
    ends = np.cumsum([height for height, _ in sizes])
    return ragged.of([rows[end - height : end, :width] for end, (height, width) in zip(ends, sizes, strict=True)])


def train(config: Config, data: Dataset, records: Path, seconds: int, console: Console) -> None:
    """Train the runs that the archive `records` has not, for `seconds`, and add them to it."""
    devices = runtime.configure()
    check.config(config, len(devices))
    stop = threading.Event()
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    signal.alarm(seconds)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "workdir"
        if records.exists():
            with tarfile.open(records) as archive:
                known = hasattr(tarfile, "data_filter")  # Python 3.11.0 to 3.11.3 has no filters
                archive.extractall(folder, **({"filter": "data"} if known else {}))
        events = sweep.train(config, data, folder, devices, stop=stop)
        try:
            progress.show(_saved(events, folder, config, records, devices), console, config.epochs, len(devices))
        except Stopped as stopped:
            console.print(f"stopped in {stopped}: give the same command again to go on")


def _saved(
    events: Iterable[Event], folder: Path, config: Config, records: Path, devices: Sequence[jax.Device]
) -> Iterator[Event]:
    """Yield the events; after each run write scores and tables, and the archive `records` without weights."""
    for event in events:
        if isinstance(event, Ended):
            workdir.collect(folder, config)
            environment.write(folder, "results.replicate", sys.argv[1:], environment.facts(devices))
            paper_tables.write(folder)
            with replacing(records) as temporary, tarfile.open(temporary, "w:gz") as archive:
                archive.add(folder, ".", filter=lambda member: None if LEFT & set(member.name.split("/")) else member)
        yield event


def main(arguments: Sequence[str], console: Console) -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("carry", "train"))
    parser.add_argument("folder", type=Path, help="of the prepared images")
    parser.add_argument("--config", default="published/cvc.py", help=command_line.CONFIG)
    parser.add_argument("--records", type=Path, default=Path("records.tgz"), help="what is trained, from time to time")
    parser.add_argument("--seconds", type=int, default=400, help="time to train")
    known, rest = parser.parse_known_args(arguments)
    config = configs.overridden(configs.load(known.config), rest)
    if known.command == "carry":
        from launch.console import dataset  # needs what reads data sets

        carry(dataset.load(config.data, console), known.folder)
    else:
        train(config, carried(known.folder, config.data.size), known.records, known.seconds, console)


if __name__ == "__main__":
    with ending.in_one_line():
        main(sys.argv[1:], Console(width=160, highlight=False, markup=False))
