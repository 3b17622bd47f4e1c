"""An image that a run is asked about: any file, or an image of the run's data set by its id."""

from pathlib import Path

import numpy as np

from datasets import formats
from datasets.formats import channel_files
from datasets.formats.stack import How
from sharp_unet_jax.data import pixels
from sharp_unet_jax.data.resize import resize_image
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference.predict import check_image
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.report import records
from sharp_unet_jax.storage import layout


def load(folder: Path, run: Trained, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return an image (H, W, C) uint8 at the size, or the resolution, of training, and its mask (H, W) uint8.

    Args:
        folder: of the run; the records of its workdir say where the prepared images are.
        run: says the channels, the window and the size or resolution.
        name: a file, whose mask is None, or an id in the run's data set. If channels are files of their own, any one.

    Raises:
        InputError: for a file that the run cannot read, and where there is no such file or id.
        DataError: for a file that is damaged, and where a channel is missing.
    """
    if Path(name).is_file():
        if run.config.data.context:
            raise InputError(
                f"--image={name}: the run was trained on slices with their neighbours; name an id of its data set"
            )
        how = How(run.config.data.pages, run.config.data.axis, run.slice_channels)
        stack = formats.read(_files(Path(name), run), how)
        if len(stack.pictures) != 1:
            raise InputError(f"{name}: holds {len(stack.pictures)} pictures; save the one that you mean as a file")
        try:
            image = pixels.as_trained(stack.pictures[0], run.slice_channels, run.window, ct=stack.ct)
            size = check_image(run, image.shape[:2], stack.spacing)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        return resize_image(image, size, run.config.data.fit), None
    workdir, _ = layout.run_of(folder.absolute()) or (folder, None)
    sweep = records.load(workdir)
    if sweep.prepared is None:
        raise InputError(f"--image={name}: there is no such file, and the images of {run.dataset} are not at hand")
    prepared, masks, row_of = sweep.prepared
    if name not in row_of:
        known = ", ".join(sweep.test_ids(run.name)[:3])
        raise InputError(
            f"--image={name}: there is no such file, nor id in {run.dataset}; test images are {known}, ..."
        )
    return np.asarray(prepared[row_of[name]]), np.asarray(masks[row_of[name]])


def _files(path: Path, run: Trained) -> tuple[Path, ...]:
    """Return the files of the channels of an image, of which `path` is one; only `path` where it is the whole image.

    Raises DataError where a channel is missing.
    """
    endings = run.config.data.channel_files
    if not endings and run.slice_channels not in (1, 3):
        endings = tuple(f"_{channel:04}" for channel in range(run.slice_channels))  # nnU-Net's
    beside = {one: channel_files.stripped(formats.stem(one), endings) for one in sorted(path.parent.iterdir())}
    if not (place := beside.get(path)):
        return (path,)
    named = [(formats.stem(one), one) for one, other in beside.items() if other and other[0] == place[0]]
    return channel_files.split(named, endings)[place[0]]
