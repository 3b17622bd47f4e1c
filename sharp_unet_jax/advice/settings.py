"""Settings that suit a data set and the memory at hand, each with its reason: a start, no optimum."""

import dataclasses
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharp_unet_jax.advice import duration, memory
from sharp_unet_jax.advice.profile import Profile
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resident import num_classes
from sharp_unet_jax.data.resize import Fit, Size
from sharp_unet_jax.sweeps import plan

DISTORTION = 0.05  # largest relative change of the aspect that stretching may cause
STEPS = 4  # fewest steps of an epoch
LOST = 0.9  # Jaccard of a mask resized there and back below which resizing loses objects
SHRUNK = 2.0  # times that an image is higher and wider than the size of training, from which on crops show more
ROOM = 0.8  # share of the memory that a run may fill; programs and fragmentation take the rest


class Advice(NamedTuple):
    """A value that suits a field of the config."""

    field: str
    value: str  # as on the command line
    why: str


def size(sizes: NDArray[np.int64], most: int, multiple: int) -> Size:
    """Choose the size (H, W) of training.

    Args:
        sizes: heights and widths of the images, (n, 2).
        most: pixels of the size at most, about; it has no more than the images have, either.
        multiple: both sides are multiples of it, and their aspect is close to that of the images.
    """
    height, width = np.log(sizes).T
    aspect = np.mean(np.quantile(height - width, (0.25, 0.75)))  # square, if portraits and landscapes are mixed
    area = min(np.median(height + width), np.log(most))
    sides = np.log(multiple * np.arange(1, 1 + max(1, int(np.sqrt(most * 16) / multiple))))
    # All in logarithms. A wrong aspect costs more than a wrong area.
    cost = 8 * np.abs(sides[:, None] - sides - aspect) + np.abs(sides[:, None] + sides - area)
    cost += np.maximum(sides[:, None] + sides - area - 0.1, 0) * 8  # larger only if nothing else fits
    row, column = np.unravel_index(np.argmin(cost), cost.shape)
    return multiple * (int(row) + 1), multiple * (int(column) + 1)


def fit(sizes: NDArray[np.int64], size: Size) -> tuple[Fit, str]:
    """Choose stretching if it hardly distorts any image, else letterboxing; return the reason as well."""
    off = np.log(sizes[:, 0] / sizes[:, 1]) - np.log(size[0] / size[1])
    worst = float(np.expm1(np.abs(off).max()))
    if worst <= DISTORTION:
        return "stretch", f"no image's aspect changes by more than {worst:.1%}, and nothing is padded"
    padded = float(np.mean(1 - np.exp(-np.abs(off))))
    return "letterbox", f"stretching would change aspects by up to {worst:.0%}; padding takes {padded:.0%} on average"


def crop_size(sizes: NDArray[np.int64], most: int, multiple: int) -> Size:
    """Choose the size (H, W) of crops: a square of `most` pixels at most, no side longer than the median image's.

    `sizes` and `multiple` are those of `size`.
    """
    sides = np.minimum(np.median(sizes, axis=0), np.sqrt(most)) // multiple
    height, width = (multiple * max(int(side), -(-16 // multiple)) for side in sides)
    return height, width


def shrinkage(sizes: NDArray[np.int64], size: Size) -> float:
    """Return how many times higher and wider than `size` the images are, in the median."""
    return float(np.median(np.sqrt(sizes.prod(axis=1) / np.prod(size))))


def crops(sizes: NDArray[np.int64], size: Size, ceilings: NDArray[np.float64]) -> str:
    """Say why crops of the images suit better than images resized to `size`; "" if they do not.

    Args:
        sizes: heights and widths of the images, (n, 2).
        size: of training, at which images are whole.
        ceilings: of some masks, see `profile.ceiling`, without those that are NaN.
    """
    times = shrinkage(sizes, size)
    if times < SHRUNK or not len(ceilings) or np.median(ceilings) >= LOST:
        return ""
    return (
        f"images are {times:.1f} times as high and wide as {size[0]}x{size[1]}; resized to it and back, half of the "
        f"masks have a Jaccard of at most {np.median(ceilings):.2f} with the originals: crops lose nothing"
    )


def settings(
    config: Config,
    profile: Profile,
    sizes: NDArray[np.int64],
    *,
    channels: int,
    room: int,
    fast: bool,
    kept: Collection[str],
) -> list[Advice]:
    """Choose size, fit, folds and batch size. Crops stay crops.

    Args:
        config: what the user asked for.
        profile: of the data set.
        sizes: heights and widths of the images at the resolution of training, (n, 2); only for crops.
        channels: of its images.
        room: bytes of memory at hand.
        fast: the device is no CPU.
        kept: fields of the config that stay as they are.
    """
    classes = num_classes(profile.classes)
    needs = [memory.need(config, model, channels=channels, num_classes=classes) for model in config.models]
    need = max(needs, key=lambda need: need.image)
    pixel = need.image / np.prod(config.data.size)  # bytes
    most = min(512 * 512 if fast else 256 * 256, max(int((ROOM * room - need.state) / (2 * pixel)), 32 * 32))
    data, advice = config.data, []
    multiple = max(each.multiple for each in needs)
    is_crop = config.data.fit == "crop"
    if "data.size" not in kept and is_crop:
        data = dataclasses.replace(data, size=crop_size(sizes, most, multiple))
        why = f"the size of crops, no larger than the median image{'' if fast else '; more costs time on a CPU'}"
        advice.append(Advice("data.size", ",".join(map(str, data.size)), why))
    elif "data.size" not in kept:
        data = dataclasses.replace(data, size=size(profile.sizes, most, multiple))
        middle = "x".join(str(int(side)) for side in np.median(profile.sizes, axis=0))
        why = f"the aspect of the images, whose median is {middle}; more costs time{'' if fast else ' on a CPU'}"
        advice.append(Advice("data.size", ",".join(map(str, data.size)), why))
    if "data.fit" not in kept and not is_crop:
        kind, why = fit(profile.sizes, data.size)
        advice.append(Advice("data.fit", kind, why))
    number, why = fold_count(config, profile)
    if number and number != config.folds:
        advice.append(Advice("folds", str(number), why))
    images = len(profile.ids)
    tested = 1 / number if number > 1 else 0.2
    training = images * (1 - tested) * (1 - config.inner_validation * (config.protocol == "nested"))
    training = duration.seen(dataclasses.replace(config, data=data), sizes, training)
    image = int(pixel * np.prod(data.size))
    fixed = need.state + memory.resident(
        dataclasses.replace(config, data=data),
        sizes,
        channels=channels,
        num_classes=classes,
        multiple=multiple,
        batch=config.batch_size,
    )
    fitting = max(int((ROOM * room - fixed) / image), 0)
    batch = config.batch_size
    while "batch_size" not in kept and batch > 1 and (batch > fitting or batch * STEPS > training):
        batch //= 2
    gigabytes = f"{(fixed + batch * image) / 2**30:.2g} of {room / 2**30:.2g} GiB"
    short = "" if batch <= fitting else ": TOO MUCH, take a smaller size or model"
    why = f"takes about {gigabytes}, room for {fitting}{short}; {-(-training // batch):.0f} steps per epoch"
    return [*advice, Advice("batch_size", str(batch), why)]


def fold_count(config: Config, profile: Profile) -> tuple[int, str]:
    """Return the most folds, up to the config's number, that the images or groups fill, and why no more; 0 for none.

    The number of folds that are given is that of the config.
    """
    reason = ""
    for number in range(config.folds, 1, -1) if config.split == "folds" else [config.folds]:
        try:
            classes = num_classes(profile.classes)
            plan.divide(dataclasses.replace(config, folds=number), profile.ids, profile.groups, classes)
        except ValueError as error:
            reason = reason or str(error)
            continue
        return number, reason
    return 0, reason
