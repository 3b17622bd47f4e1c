"""Settings that suit a data set and the memory at hand, each with its reason: a start, not an optimum."""

import dataclasses
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharp_unet_jax.advice import memory
from sharp_unet_jax.advice.profile import Facts
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resident import num_classes
from sharp_unet_jax.data.resize import Fit, Size
from sharp_unet_jax.sweeps import plan

DISTORTION = 0.05  # of the aspect: below, stretching is seen by nobody
STEPS = 4  # an epoch should have at least so many
ROOM = 0.8  # of the memory; the rest is for programs and what fragments


class Advice(NamedTuple):
    """A field of the config, the value that suits, and why."""

    field: str
    value: str  # as on the command line
    why: str


def size(sizes: NDArray[np.int64], most: int, multiple: int) -> Size:
    """A training size (H, W) for images of `sizes` (n, 2): their aspect, at most about `most` pixels and no more than
    the images have, in multiples that the network likes."""
    height, width = np.log(sizes).T
    aspect = np.mean(np.quantile(height - width, (0.25, 0.75)))  # of portraits and landscapes together: square
    area = min(np.median(height + width), np.log(most))
    sides = np.log(multiple * np.arange(1, 1 + max(1, int(np.sqrt(most * 16) / multiple))))
    # An aspect that is off counts more than an area that is.
    cost = 8 * np.abs(sides[:, None] - sides - aspect) + np.abs(sides[:, None] + sides - area)
    cost += np.maximum(sides[:, None] + sides - area - 0.1, 0) * 8  # larger only where nothing else fits
    row, column = np.unravel_index(np.argmin(cost), cost.shape)
    return multiple * (int(row) + 1), multiple * (int(column) + 1)


def fit(sizes: NDArray[np.int64], size: Size) -> tuple[Fit, str]:
    """Stretched where that hardly distorts any image, else letterboxed; and why."""
    off = np.log(sizes[:, 0] / sizes[:, 1]) - np.log(size[0] / size[1])
    worst = float(np.expm1(np.abs(off).max()))
    if worst <= DISTORTION:
        return "stretch", f"no image's aspect changes by more than {worst:.1%}, and nothing is padded"
    padded = float(np.mean(1 - np.exp(-np.abs(off))))
    return "letterbox", f"stretching would change aspects by up to {worst:.0%}; padding takes {padded:.0%} on average"


def settings(
    config: Config, facts: Facts, *, channels: int, room: int, fast: bool, kept: Collection[str]
) -> list[Advice]:
    """Size, fit, folds and batch for the data set and `room`, the bytes of memory at hand.

    `fast` says that the device is no CPU; fields in `kept` stay as they are.
    """
    classes = num_classes(facts.classes)
    needs = [memory.need(config, model, channels=channels, num_classes=classes) for model in config.models]
    need = max(needs, key=lambda need: need.image)
    pixel = need.image / np.prod(config.data.size)  # bytes
    most = min(512 * 512 if fast else 256 * 256, max(int((ROOM * room - need.state) / (2 * pixel)), 32 * 32))
    data, advice = config.data, []
    if "data.size" not in kept:
        data = dataclasses.replace(data, size=size(facts.sizes, most, max(each.multiple for each in needs)))
        middle = "x".join(str(int(side)) for side in np.median(facts.sizes, axis=0))
        why = f"the aspect of the images, whose median is {middle}; more costs time{'' if fast else ' on a CPU'}"
        advice.append(Advice("data.size", ",".join(map(str, data.size)), why))
    if "data.fit" not in kept:
        kind, why = fit(facts.sizes, data.size)
        advice.append(Advice("data.fit", kind, why))
    number, why = fold_count(config, facts)
    if number and number != config.folds:
        advice.append(Advice("folds", str(number), why))
    training = len(facts.ids) * (1 - 1 / (number or 2)) * (1 - config.inner_validation * (config.protocol == "nested"))
    image = int(pixel * np.prod(data.size))
    resident = len(facts.ids) * int(np.prod(data.size)) * (channels + 1)
    fixed = need.state + resident * (resident <= 1e9 * data.resident_gb)
    fitting = max(int((ROOM * room - fixed) / image), 0)
    batch = config.batch_size
    while "batch_size" not in kept and batch > 1 and (batch > fitting or batch * STEPS > training):
        batch //= 2
    gigabytes = f"{(fixed + batch * image) / 2**30:.2g} of {room / 2**30:.2g} GiB"
    short = "" if batch <= fitting else ": TOO MUCH, take a smaller size or model"
    why = f"takes about {gigabytes}, room for {fitting}{short}; {-(-training // batch):.0f} steps an epoch"
    return [*advice, Advice("batch_size", str(batch), why)]


def fold_count(config: Config, facts: Facts) -> tuple[int, str]:
    """The config's number of folds, or the most below it that the images or groups fill, and why; 0 where none do."""
    reason = ""
    for number in range(config.folds, 1, -1):
        try:
            plan.divide(dataclasses.replace(config, folds=number), facts.ids, facts.groups)
        except ValueError as error:
            reason = reason or str(error)
            continue
        return number, reason
    return 0, reason
