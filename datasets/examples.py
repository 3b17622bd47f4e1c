"""Examples of a data set: an image, its label map, its id and its group, checked and encoded for TFDS."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from datasets import built, files
from datasets.errors import DataError
from sharp_unet_jax.data.pixels import Window
from sharp_unet_jax.metrics import IGNORE, foreground

Examples = Iterator[tuple[str, dict[str, Any]]]


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder whose built set is refused in one line if it is damaged."""

    def as_data_source(self, split: str = "train", **options: Any) -> built.Records:
        """Return the examples of a split by index, as TFDS does. Raises DamagedError, as reading an example does."""
        folder = Path(self.data_dir)
        with built.whole(folder):
            return built.Records(super().as_data_source(split, **options), folder)


@dataclass(frozen=True)
class Pair:
    """One image and its label map before encoding."""

    id: str
    group: str  # images of one group must not be split across folds
    image: np.ndarray  # uint8 (H, W) or (H, W, C)
    mask: np.ndarray  # uint8 (H, W) of labels, and perhaps IGNORE
    where: str  # the image's file, for messages
    volume: str = ""  # whose slices follow each other; "" for a picture without neighbours
    spacing: tuple[float, float] = (0.0, 0.0)  # mm from row to row, from column to column; 0 where nobody knows
    encoded: bytes | None = None  # the image's own JPEG or PNG bytes, kept instead of encoding `image`


def info(
    builder: tfds.core.DatasetBuilder,
    classes: Sequence[str],
    *,
    channels: int,
    encoding: str = "png",
    window: Window | None = None,
) -> tfds.core.DatasetInfo:
    """Return the schema that all data sets share.

    Args:
        builder: of the data set.
        classes: names; the index of a class is its label.
        channels: of the images.
        encoding: of the images, "png" or "jpeg", if they have 1 or 3 channels.
        window: the values that became 0 and 255 where the files hold more than 8 bits; predictions need it again.
    """
    features = {
        "image": _image(channels, encoding),
        "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
        "id": tfds.features.Text(),
        "group": tfds.features.Text(),
        "volume": tfds.features.Text(),
        "spacing": tfds.features.Tensor(shape=(2,), dtype=np.float32),
    }
    described = builder.dataset_info_from_configs(
        features=tfds.features.FeaturesDict(features),
        supervised_keys=("image", "mask"),
        disable_shuffling=True,  # otherwise a hash of the ids decides the order
        metadata=tfds.core.MetadataDict({"classes": list(classes), "window": window}),
    )
    # TFDS would look for a set that is not built in Google's bucket, and leave a folder in the system's temporary one.
    described.initialize_from_bucket = lambda: None
    return described


def _image(channels: int, encoding: str) -> tfds.features.FeatureConnector:
    """Return the feature of images. A PNG holds grey or RGB; other numbers of channels are an array, deflated."""
    if channels in (1, 3):
        return tfds.features.Image(shape=(None, None, channels), encoding_format=encoding)
    return tfds.features.Tensor(shape=(None, None, channels), dtype=np.uint8, encoding="zlib")


def generate(pairs: Iterable[Pair], num_classes: int, *, ignoring: bool = False) -> Examples:
    """Check and encode pairs for TFDS.

    Args:
        pairs: images and masks.
        num_classes: labels are below it.
        ignoring: masks may hold IGNORE, too. Without it, such a label is a fault of the files.

    Raises:
        DataError: for a pair that does not fit, for a mask that holds only IGNORE, and if all masks are empty.
    """
    count = objects = 0
    for pair in pairs:
        check_sizes(pair.image, pair.mask, pair.where)
        if pair.image.dtype != np.uint8:
            raise DataError(f"{pair.where} holds {pair.image.dtype} pixels; convert it to 8 bits per channel")
        scored = pair.mask != IGNORE if ignoring else np.ones_like(pair.mask, bool)
        if not scored.any():
            raise DataError(f"{pair.where}: all pixels of its mask are ignored; remove the image")
        if (label := int(pair.mask.max(where=scored, initial=0))) >= num_classes:
            highest = f"the mask of {pair.where} holds label {label}"
            raise DataError(f"{highest}; {num_classes} classes end at {num_classes - 1}")
        count += 1
        objects += int(np.count_nonzero(foreground(pair.mask)))
        names = {"id": pair.id, "group": pair.group, "volume": pair.volume}
        spacing = np.array(pair.spacing, np.float32)
        yield pair.id, {"image": _encoded(pair), "mask": files.png(pair.mask), "spacing": spacing, **names}
    if count == 0:
        raise DataError("no images found")
    if objects == 0:
        raise DataError(f"all {count} masks are empty; are these the masks, with the foreground painted white?")


def _encoded(pair: Pair) -> io.BytesIO | np.ndarray:
    """Return the image as its feature takes it, see `_image`."""
    if pair.encoded is not None:
        return io.BytesIO(pair.encoded)
    plain = pair.image.ndim == 2 or pair.image.shape[-1] in (1, 3)
    return files.png(pair.image) if plain else pair.image


def check_sizes(image: np.ndarray, mask: np.ndarray, where: str) -> None:
    """Refuse a mask that has not its image's size. Raises DataError."""
    if image.shape[:2] != mask.shape[:2]:
        sizes = " but its mask is ".join(f"{array.shape[1]}x{array.shape[0]}" for array in (image, mask))
        raise DataError(f"{where}: the image is {sizes} (width x height); they must have one size")
