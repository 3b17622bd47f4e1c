"""Augmented images as training sees them: python -m launch.augmentations --config=folder.py [--config.field=value ...]

Draws a few images of the config's data set with the outlines of their masks: each unchanged, and as the first epochs of
the first run see it. Writes them as one picture to --output (default: augmentations.png).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from PIL import Image
from rich.console import Console

from launch.console import arguments as command_line
from launch.console import dataset, ending, paths
from launch.preview.outlines import outlined
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import augment, neighbours, stream
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage.atomic import check_writable, replacing
from sharp_unet_jax.sweeps import check, plan
from sharp_unet_jax.training import epochs, train

ROWS, COLUMNS = 6, 8  # a row per image: unchanged, then a column per epoch
# Pillow's name of the format for each suffix of --output.
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".pdf": "PDF"}


def sheet(config: Config, data: Dataset, seed: int = 0) -> np.ndarray:
    """Draw a row for each of a few images, or crops: unchanged, then as in epochs 1, 2, ...; (h, w, 3) uint8.

    A row has one crop throughout, though each epoch of training draws others.
    """
    index = np.unique(np.linspace(0, len(data.ids) - 1, ROWS).astype(np.int32))
    size = epochs.trained_size(config, data)
    numbers, window = index, size
    if config.data.fit == "crop":
        drawn = train.order_of(data, config, index, seed, 1)
        index = drawn[np.unique(drawn[:, 0], return_index=True)[1]]  # the first of each image
        numbers, window = index[:, -1], augment.window(config.augment, size)
    columns = [stream.read(data, index, size, size)]
    images, masks = map(jnp.asarray, stream.read(data, index, size, window))  # with what lies around crops
    for epoch in range(1, COLUMNS):
        draw = jnp.array([seed, epoch], jnp.uint32)
        changed = augment.batch(config.augment, images, masks, jnp.asarray(numbers), draw, size)
        columns.append((np.asarray(changed[0]), np.asarray(changed[1])))
    columns = [(neighbours.own(images, config.data.context), masks) for images, masks in columns]
    column = [np.concatenate([outlined(*pair) for pair in zip(*each, strict=True)]) for each in columns]
    return np.concatenate(column, axis=1)


def run(arguments: Sequence[str], console: Console) -> int:
    """Run the command and return its exit code. Raises InputError, DataError or OSError for what the user can fix."""
    parser = command_line.parser_with_config("launch.augmentations", __doc__)
    parser.add_argument("--output", type=paths.path, default=Path("augmentations.png"), help="the picture to write")
    known, config, _ = command_line.parse_with_config(parser, arguments)
    kind = FORMATS.get(known.output.suffix.lower())
    if kind is None:
        raise InputError(f"--output={known.output}: give it one of the suffixes {', '.join(FORMATS)}")
    check.config(config, config.devices_per_run)
    if not config.augment:
        raise InputError("the config augments nothing: set --config.augment.flip=0.5, say, or take --config=folder.py")
    check_writable(known.output.parent)
    seed = plan.seed(config, plan.runs(config)[0])
    picture = Image.fromarray(sheet(config, dataset.load(config.data, console), seed))
    with replacing(known.output) as temporary:
        picture.save(temporary, kind)
    console.print(f"{known.output}: on the left unchanged, then in epochs 1 to {COLUMNS - 1}")
    return 0


def main() -> None:
    """Run the command and exit with its code; an error that the user can fix is one line and code 1."""
    with ending.in_one_line():
        sys.exit(run(sys.argv[1:], Console(highlight=False, markup=False)))


if __name__ == "__main__":
    main()
