"""The events that a sweep yields as it goes, for whoever shows or logs it."""

from typing import Any, NamedTuple

from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.training import train


class Started(NamedTuple):
    """A run begins."""

    run: Run
    number: int  # from 1 to `total`, in the plan's order
    total: int  # runs of this process, or of all processes that share the sweep
    train_images: int  # of an epoch, or crops
    unit: str = "images"  # or "crops"
    epochs: int = 0  # that it has trained already, if it is resumed


class EpochEnded(NamedTuple):
    """An epoch of a run ended."""

    run: Run
    epoch: train.Epoch
    compiled: bool = False  # whether a network was compiled in it: its seconds do not predict those of the next epochs


class Warned(NamedTuple):
    """Something that the user should know and need not act on."""

    text: str


class Ended(NamedTuple):
    """A run is over; `record["status"]` is "finished" or "failed"."""

    run: Run
    record: dict[str, Any]


Event = Started | EpochEnded | Warned | Ended


class Stopped(Exception):  # noqa: N818
    """Raised at the end of a sweep that was asked to stop, once the states of its runs are saved."""
