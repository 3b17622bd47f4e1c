"""A finished run, read back from its folder: its network with the reported weights, and its settings."""

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from sharp_unet_jax import cleaning, decision, models, ops
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import neighbours, pixels, resident, resize
from sharp_unet_jax.errors import AGAIN, InputError, is_out_of_memory
from sharp_unet_jax.inference import predict, shown
from sharp_unet_jax.inference.predict import Spacing
from sharp_unet_jax.storage import checkpoint, choice, contents, description
from sharp_unet_jax.storage.layout import CHECKPOINT, CHOICE, CONFIG, Run, run_folder, run_of
from sharp_unet_jax.storage.run_files import read_record
from sharp_unet_jax.sweeps import plan, workdir
from sharp_unet_jax.training import compile, network

Weights = dict[str, Any]  # {"params": nested dicts of arrays, "stats": nested dicts of arrays}, as in the checkpoint
CHOSEN = "chosen"  # as a model: the ensemble of choice.json


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
    num_classes: int  # channels of the logits: 1 for a single foreground, else one a class
    graph: nnx.GraphDef[models.Segmenter]
    weights: Weights  # NumPy arrays
    record: Mapping[str, Any] = field(default_factory=dict)  # the content of its record.json
    clipped: tuple[float, float] | None = None  # largest shares of a training image that the window clipped, if known
    chosen: decision.Rule | None = None  # the rule of masks in choice.json; None where none was chosen, or none is used
    examples: shown.Examples | None = None  # that a notebook shows with the run

    def __repr__(self) -> str:
        """Return what it is in five lines; its arrays would fill screens."""
        return shown.text(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return shown.page(self, self.examples)

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

    def compiled(self, function: Callable[..., Any], platform: str) -> Callable[..., Any]:
        """Compile `function` with training's precision and XLA options for a platform: "cpu", "gpu" or "tpu"."""
        return compile.jit(function, self.config, platform)

    @property
    def platform(self) -> str:
        """Platform of the device that JAX puts the weights on by default."""
        return next(iter(jax.tree.leaves(self._placed)[0].devices())).platform

    @functools.cached_property
    def step(self) -> Callable[[str], Callable[..., jax.Array]]:
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
        if spacing is not None and np.shape(spacing) != (2,):
            raise InputError(f"spacing: give millimetres from row to row and from column to column, not {spacing}")
        one = (1, 3, self.slice_channels)
        if isinstance(images, np.ndarray) and (images.ndim < 3 or (images.ndim == 3 and images.shape[2] in one)):
            raise InputError(f"predict takes several images, and this is one, {images.shape}: give [image]")
        if context := self.config.data.context:
            images = list(neighbours.stacked(self._slices(images), context))
        return list(predict.predict(self, images, spacings=itertools.repeat(spacing), **options))

    def _slices(self, images: Iterable[np.ndarray]) -> list[np.ndarray]:
        """Return the slices of a volume as they are stacked, (h, w, slice_channels) uint8. Raises InputError."""
        slices = [image[..., None] if image.ndim == 2 else image for image in images]
        if len(slices) < 2 or len({one.shape[:2] for one in slices}) > 1:
            context = f"data.context={self.config.data.context}"
            raise InputError(f"the run was trained on slices with their neighbours ({context}): give all of one volume")
        return [pixels.as_trained(one, self.slice_channels, self.window) for one in slices]

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
        labels, data, own = (
            decision.labels(probabilities, self.rule.threshold),
            self.config.data,
            probabilities.shape[:2],
        )
        if not self.rule.cleans:
            return labels
        return cleaning.clean(labels, self.rule, resize.pixels(own, resize.trained_size(own, data, spacing), data.fit))

    @functools.cached_property
    def _placed(self) -> Weights:
        return jax.device_put(self.weights)

    @functools.cached_property
    def _logits(self) -> Callable[..., jax.Array]:
        return self.compiled(self.apply, self.platform)


def load(path: str | Path, *, plain: bool = False) -> Trained:
    """Read the finished run in the folder `path`, WORKDIR/runs/MODEL/repeatR-foldF.

    Where its workdir has a choice.json, by `launch.choose`, its masks follow the rule that was chosen for it there.

    >>> import sharp_unet_jax
    >>> run = sharp_unet_jax.load("work/demo/runs/sharp_unet/repeat0-fold0")
    >>> run.model, run.num_classes
    ('sharp_unet', 1)
    >>> (probabilities,) = run.predict([np.zeros((50, 70, 3), np.uint8)])
    >>> probabilities.shape, probabilities.dtype
    ((50, 70, 1), dtype('float32'))
    >>> (mask,) = run.masks([np.zeros((50, 70, 3), np.uint8)])
    >>> mask.shape, mask.dtype
    ((50, 70), dtype('uint8'))

    Args:
        path: a run's folder.
        plain: leave choice.json unread: masks follow the threshold of the config.

    Raises:
        InputError: if the folder is no run, the run is not finished, its checkpoint is damaged, this version of the
            project has another network by the model's name, or choice.json is damaged or knows other weights.
    """
    path = Path(path).expanduser().absolute()
    found = run_of(path)
    if found is None or not path.is_dir():
        raise InputError(f"{path} is no run: name a folder such as WORKDIR/runs/unet/repeat0-fold0")
    (folder, run), one = found, _read(*found)
    made = None if plain else _choice(folder)
    return replace(one, chosen=choice.rule(choice.of_run(made, run, folder)["rule"])) if made else one


def _read(folder: Path, run: Run) -> Trained:
    """Read a finished run of the workdir `folder`, without choice.json. Raises InputError."""
    path = run_folder(folder, run)
    sweep, config = description.read(folder), workdir.read_config(folder)
    folds, record = sweep.folds, read_record(sweep, run)
    if record is None or record["status"] != "finished":
        raise InputError(f"{path} is not finished: give its sweep's command again, or name another run")
    models.check(run.model)
    try:
        dataset, classes = folds["dataset"], tuple(folds["classes"])
        digest, channels = record["weights_sha256"], record["channels"]
    except KeyError as error:
        raise InputError(f"{path} is of another version of this project: its records lack {error}") from error
    if config.skip_kernel not in ops.KERNELS:
        raise InputError(f"{path} is of another version of this project: this one has no kernel {config.skip_kernel!r}")
    num_classes = resident.num_classes(classes)
    abstract = nnx.eval_shape(
        lambda: network.build(config, run.model, num_classes=num_classes, channels=channels, rngs=nnx.Rngs(0))
    )
    return Trained(
        run.name,
        run.model,
        dataset,
        classes,
        config,
        channels,
        tuple(window) if (window := folds.get("window")) else None,
        num_classes,
        nnx.graphdef(abstract),
        _weights(path, abstract, digest),
        record,
        (clipped[0], clipped[1]) if (clipped := folds.get("clipped")) else None,
    )


def names(model: str) -> tuple[str, ...]:
    """Return the models that a text such as "unet,sharp_unet" names, each once."""
    return tuple(dict.fromkeys(name.strip() for name in model.split(",") if name.strip()))


def described(runs: Sequence[Trained]) -> str:
    """Say what predicts: "unet/repeat0-fold0", "5 runs of unet", or "5 runs of unet and 5 of sharp_unet"."""
    if len(runs) == 1:
        return runs[0].name
    counts = [f"{count} of {model}" for model, count in Counter(run.model for run in runs).items()]
    first = counts[0].replace(" of ", " run of " if counts[0].startswith("1 ") else " runs of ", 1)
    *most, last = [first, *counts[1:]]
    return f"{', '.join(most)} and {last}" if most else last


def load_all(path: str | Path, model: str = "", *, plain: bool = False) -> list[Trained]:
    """Read the run in the folder `path`, or all finished runs of the sweep in `path` whose mean predicts.

    Args:
        path: a run's folder or a workdir.
        model: the model's name, or several with commas between them; needed where the sweep has finished runs of
            several. Or "chosen", for the ensemble of the sweep's choice.json.
        plain: leave choice.json unread: masks follow the threshold of the config.

    Raises:
        InputError: if nothing is finished, if `model` is needed or is another than the run's, and as `load`.
    """
    path = Path(path).expanduser()
    wanted = names(model)
    if not (path / CONFIG).exists():
        one = load(path, plain=plain)
        if wanted not in ((), (one.model,)):
            raise InputError(f"{path} is a run of {one.model}, not of {model}: name another run, or its workdir")
        return [one]
    sweep = description.read(path)
    records = {run: read_record(sweep, run) for run in plan.every(workdir.read_config(path))}
    finished = [run for run, record in records.items() if record and record["status"] == "finished"]
    made = None if plain else _choice(path)
    if model == CHOSEN and plain:
        raise InputError(f"the model {CHOSEN} is the ensemble of {CHOICE}, which is left out: name a network")
    known = list(dict.fromkeys(run.model for run in finished))
    ensemble = choice.ensemble(made, path) if model == CHOSEN else None
    networks = ensemble["networks"] if ensemble else _networks(path, model, known)
    picked = ensemble or (choice.of_networks(made, networks) if made else None)
    runs = [run for run in finished if run.model in networks]
    if made:
        choice.check_runs(made, runs, path)
    rule = choice.rule(picked["rule"]) if picked else None
    return [replace(_read(path, run), chosen=rule) for run in runs]


def _networks(path: Path, model: str, known: Sequence[str]) -> list[str]:
    """Return the names of the networks that `model` asks for; `known` have finished runs in the workdir `path`.

    Raises InputError.
    """
    if not known:
        raise InputError(f"{path} has no finished run yet: wait for one")
    wanted = names(model)
    missing = [name for name in wanted if name not in known]
    if missing or (len(known) > 1 and not wanted):
        which = f"no finished run of {missing[0]}" if missing else f"runs of {len(known)} models"
        several = ", or several with commas between them" if len(known) > 1 else ""
        raise InputError(f"{path} has {which}: choose one of {', '.join(known)} as the model{several}")
    return list(wanted or known)


def _choice(folder: Path) -> contents.Choice | None:
    """Read choice.json of the workdir `folder`, None where nothing was chosen. Raises InputError."""
    runs = {run.name: run for run in plan.every(workdir.read_config(folder))}
    sweep = description.read(folder)

    def weights(name: str) -> str | None:
        record = read_record(sweep, runs[name]) if name in runs else None
        return record.get("weights_sha256") if record else None

    return choice.read(folder, weights)


def _weights(run: Path, abstract: models.Segmenter, digest: str) -> Weights:
    """Read the checkpoint in the folder `run` with the dtypes and shapes of `abstract`, and check its digest."""
    try:
        saved = checkpoint.load(run / CHECKPOINT)
    except Exception as error:  # Orbax passes on whatever its storage raises
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{run / CHECKPOINT} is damaged ({reason}): {AGAIN}") from error
    params, stats = network.arrays(abstract)
    weights = jax.tree_util.tree_map_with_path(functools.partial(_leaf, saved, run), {"params": params, "stats": stats})
    if checkpoint.digest(weights) != digest:
        raise InputError(f"{run / CHECKPOINT} is damaged (its bytes are not those recorded): {AGAIN}")
    return weights


def _leaf(saved: Any, run: Path, path: Sequence[Any], like: jax.ShapeDtypeStruct) -> np.ndarray:
    """Return the array at `path` of what Orbax read: all its keys are text."""
    keys = [str(key.key) for key in path]
    try:
        array = functools.reduce(lambda tree, key: tree[key], keys, saved)
    except KeyError as error:
        raise InputError(
            f"{run} is of another version of this project: its checkpoint has no {'.'.join(keys)}"
        ) from error
    if array.shape != like.shape:
        raise InputError(
            f"{run} is of another version of this project: {'.'.join(keys)} is {array.shape}, "
            f"this version's is {like.shape}"
        )
    return array
