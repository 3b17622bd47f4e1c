"""Several runs of a sweep that predict together, used as one run is."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sharp_unet_jax import decision
from sharp_unet_jax.config import Config
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import display
from sharp_unet_jax.inference.predict import Spacing
from sharp_unet_jax.inference.trained import Trained, described, predicted


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The mean probability of runs of one sweep, and the masks that follow from it."""

    runs: tuple[Trained, ...]  # of one model or of several; all with the rule of their mean

    def __post_init__(self) -> None:
        """Refuse runs that read images in other ways: raise InputError."""
        if not self.runs:
            raise InputError("an ensemble has at least one run: load a workdir, or give runs of one")
        first, *others = map(_reading, self.runs)
        for run, other in zip(self.runs[1:], others, strict=True):
            if differing := [name for name, value in other.items() if value != first[name]]:
                names = f"{self.runs[0].name} and {run.name} differ in {differing[0]}"
                raise InputError(f"{names}, and have no mean: load runs of one sweep")

    def __repr__(self) -> str:
        """Return what it is in five lines."""
        return display.text_of_several(described(self.runs), self.runs)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: no examples, because in a cross-validation no image is new to all runs."""
        return display.preformatted(repr(self))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, background first."""
        return self.runs[0].classes

    @property
    def config(self) -> Config:
        """Settings of the sweep."""
        return self.runs[0].config

    @property
    def rule(self) -> decision.Rule:
        """The rule of its masks: the one chosen for the mean of these runs, or else the threshold of the config."""
        return self.runs[0].rule

    def predict(
        self, images: Iterable[np.ndarray], *, spacing: Spacing | None = None, **options: Any
    ) -> list[np.ndarray]:
        """Return probabilities (h, w, num_classes) float32 of images, each at its own size, as `Trained.predict`."""
        return predicted(self.runs, images, spacing=spacing, **options)

    def masks(
        self, images: Iterable[np.ndarray], *, spacing: Spacing | None = None, **options: Any
    ) -> list[np.ndarray]:
        """Return the classes of images' pixels, (h, w) uint8, by `rule`; arguments as of `Trained.predict`."""
        return [self.decide(each, spacing) for each in self.predict(images, spacing=spacing, **options)]

    def decide(self, probabilities: np.ndarray, spacing: Spacing | None = None) -> np.ndarray:
        """Return the class of each pixel, (h, w) uint8, by `rule`, as `Trained.decide`."""
        return self.runs[0].decide(probabilities, spacing)


def _reading(run: Trained) -> dict[str, Any]:
    """Return what runs must have in common: their probabilities are averaged, and those of a model share a program."""
    of_images = ("size", "fit", "context", "scale", "spacing")
    of_networks = ("skip_kernel", "skip_padding", "precision", "prediction_head")
    return {
        **{name: getattr(run, name) for name in ("classes", "channels", "window")},
        **{f"data.{name}": getattr(run.config.data, name) for name in of_images},
        **{name: getattr(run.config, name) for name in of_networks},
    }
