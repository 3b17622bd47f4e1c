"""A finished run: its network with the reported weights, its settings, and the rule of its masks."""

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from flax import nnx

from sharp_unet_jax import cleaning, decision, models
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import neighbours, pixels, resize
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import display, predict
from sharp_unet_jax.inference.predict import Spacing
from sharp_unet_jax.inference.stored import Weights
from sharp_unet_jax.training import compile, network


@dataclass(frozen=True, eq=False)
class Trained:
    """A run's network.

    To use it inside a program of your own, write a function of `weights` that calls `apply`, and compile it with
    `compiled`.
    """

    name: str  # "sharp_unet/repeat0-fold0"
    model: str  # a key of models.MODELS
    dataset: str  # name of the data set it was trained on
    classes: tuple[str, ...]  # names, background first
    config: Config  # of its sweep; config.data.size and config.data.fit say how images were resized, or cropped
    channels: int  # of the images; with data.context those of neighbouring slices too
    window: pixels.Window | None  # intensities that became 0 and 255
    num_classes: int  # channels of the logits: 1 for a single foreground, else one per class
    graph: nnx.GraphDef[models.Segmenter]
    weights: Weights  # NumPy arrays
    record: Mapping[str, Any] = field(default_factory=dict)  # the content of its record.json
    clipped: tuple[float, float] | None = None  # largest shares of a training image that the window clipped, if known
    chosen: decision.Rule | None = None  # the rule of masks in choice.json; None where none was chosen, or none is used
    examples: Callable[[], display.Examples | None] = lambda: None  # read when a notebook shows the run

    def __repr__(self) -> str:
        """Return what it is in five lines; its arrays would fill screens."""
        return display.text(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return display.page(self, self.examples())

    @property
    def rule(self) -> decision.Rule:
        """The rule of its masks: the chosen one, or else the threshold of its config."""
        return self.chosen or decision.Rule(self.config.threshold)

    @property
    def slice_channels(self) -> int:
        """Channels of an image without those of its neighbouring slices."""
        return self.channels // (2 * self.config.data.context + 1)

    @property
    def network(self) -> models.Segmenter:
        """The network as a Flax module, for images that are float in [0, 1]: a new copy each time."""
        return nnx.merge(self.graph, *jax.tree.map(jax.numpy.asarray, (self.weights["params"], self.weights["stats"])))

    @functools.cached_property
    def stride(self) -> int:
        """The network's stride, see `models.Segmenter.stride`."""
        return nnx.merge(self.graph, self.weights["params"], self.weights["stats"]).stride

    def apply(self, weights: Weights, images: jax.Array) -> jax.Array:
        """Compute logits (N, H, W, num_classes) float32 of images (N, H, W, channels) uint8: a pure function."""
        return nnx.merge(self.graph, weights["params"], weights["stats"])(network.scaled(images))

    def compiled(self, function: Callable[..., Any], platform: str) -> jax.stages.Wrapped:
        """Compile `function` with training's precision and XLA options for a platform: "cpu", "gpu" or "tpu"."""
        return compile.jit(function, self.config, platform)

    @property
    def platform(self) -> str:
        """Platform of the device that JAX puts the weights on by default."""
        return next(iter(jax.tree.leaves(self._placed)[0].devices())).platform

    @functools.cached_property
    def step(self) -> Callable[[str], jax.stages.Wrapped]:
        """Compiled step by platform: from weights and images to probabilities (N, H, W, num_classes) float32.

        Weights and images are those of `apply`. A step is compiled once for a platform and a shape.
        """
        return functools.cache(
            lambda platform: self.compiled(
                lambda weights, images: network.probabilities(self.apply(weights, images)), platform
            )
        )

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Compute logits (N, H, W, num_classes) float32 of images (N, H, W, channels) uint8 of any size."""
        return np.asarray(self._logits(self._placed, images))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Compute probabilities (N, H, W, num_classes) float32 of images (N, H, W, channels) uint8 of any size.

        One class is the foreground; several have the background first.
        """
        return np.asarray(self.step(self.platform)(self._placed, images))

    def predict(
        self, images: Iterable[np.ndarray], *, spacing: Spacing | None = None, **options: Any
    ) -> list[np.ndarray]:
        """Return probabilities (h, w, num_classes) float32 of images of any sizes, each at its own size.

        Args:
            images: (h, w) or (h, w, C); uint8, or any dtype if the run has a window. For a run with `data.context`
                they are all slices of one volume in their order, such as (n, h, w): the neighbours of each are taken
                from them.
            spacing: millimetres from row to row and from column to column of all images; needed for a run with
                `data.spacing`, and of no use to others.
            options: those of `predict.predict`: `flips=True`, `tile=(512, 512)`, ...

        Raises:
            InputError: for an image that the run cannot read, and where the spacing is needed and not given.
        """
        return predicted([self], images, spacing=spacing, **options)

    def masks(
        self, images: Iterable[np.ndarray], *, spacing: Spacing | None = None, **options: Any
    ) -> list[np.ndarray]:
        """Return the classes of images' pixels, (h, w) uint8, by `rule`; arguments as of `predict`."""
        return [self.decide(each, spacing) for each in self.predict(images, spacing=spacing, **options)]

    def decide(self, probabilities: np.ndarray, spacing: Spacing | None = None) -> np.ndarray:
        """Return the class of each pixel, (h, w) uint8, by `rule`.

        Args:
            probabilities: (h, w, num_classes) float32, of an image at its own size.
            spacing: that of the image, for a run with `data.spacing`: the rule counts pixels at the resolution of
                training.
        """
        if probabilities.ndim != 3 or probabilities.shape[2] != self.num_classes:
            raise InputError(f"probabilities are (height, width, {self.num_classes}), not {probabilities.shape}")
        return self.clean(decision.labels(probabilities, self.rule.threshold), spacing)

    def clean(self, labels: np.ndarray, spacing: Spacing | None = None) -> np.ndarray:
        """Return labels (h, w) uint8, as the threshold of `rule` gives them, without what `rule` cleans away.

        `spacing` is as of `decide`.
        """
        if not self.rule.cleans:
            return labels
        data, own = self.config.data, labels.shape
        return cleaning.clean(labels, self.rule, resize.pixels(own, resize.trained_size(own, data, spacing), data.fit))

    @functools.cached_property
    def _placed(self) -> Weights:
        return jax.device_put(self.weights)

    @functools.cached_property
    def _logits(self) -> Callable[..., jax.Array]:
        return self.compiled(self.apply, self.platform)


def predicted(
    runs: Sequence[Trained], images: Iterable[np.ndarray], *, spacing: Spacing | None, **options: Any
) -> list[np.ndarray]:
    """Return the mean probabilities of runs of one sweep; arguments and errors are those of `Trained.predict`."""
    first = runs[0]
    if spacing is not None and np.shape(spacing) != (2,):
        raise InputError(f"spacing: give millimetres from row to row and from column to column, not {spacing}")
    one = (1, 2, 3, 4, first.slice_channels)
    if isinstance(images, np.ndarray | jax.Array) and (
        images.ndim < 3 or (images.ndim == 3 and images.shape[2] in one)
    ):
        raise InputError(f"predict takes several images, and this is one, {images.shape}: give [image]")
    if context := first.config.data.context:
        images = list(neighbours.stacked(_slices(first, images), context))
    return list(predict.predict(runs, images, spacings=itertools.repeat(spacing), **options))


def _slices(run: Trained, images: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Return the slices of a volume as they are stacked, (h, w, slice_channels) uint8. Raises InputError."""
    slices = [image[..., None] if image.ndim == 2 else image for image in map(np.asarray, images)]
    if len(slices) < 2 or len({one.shape[:2] for one in slices}) > 1:
        context = f"data.context={run.config.data.context}"
        raise InputError(f"the run was trained on slices with their neighbours ({context}): give all of one volume")
    return [pixels.as_trained(one, run.slice_channels, run.window) for one in slices]


def described(runs: Sequence[Trained]) -> str:
    """Say what predicts: "unet/repeat0-fold0", "5 runs of unet", or "5 runs of unet and 5 of sharp_unet"."""
    if len(runs) == 1:
        return runs[0].name
    counts = [f"{count} of {model}" for model, count in Counter(run.model for run in runs).items()]
    first = counts[0].replace(" of ", " run of " if counts[0].startswith("1 ") else " runs of ", 1)
    *most, last = [first, *counts[1:]]
    return f"{', '.join(most)} and {last}" if most else last
