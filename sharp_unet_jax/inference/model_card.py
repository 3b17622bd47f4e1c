"""The model card beside an exported file: what the model is, its data and scores, its use and its limits."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from sharp_unet_jax import models
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.data import pixels, tiles
from sharp_unet_jax.data.resize import resized, resolution
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.inference import card_cleaning, predict
from sharp_unet_jax.inference.trained import Trained

_IN_AND_OUT = """
The file takes `images`, uint8 (N, H, W, {channels}), N, H and W free{order}. It returns `mask`, uint8 (N, H, W), and
`probabilities`, float32 (N, H, W, {num_classes}), at the images' own size. Resizing to {size}, scaling and the
threshold are inside.{window}
"""

# The lines that read an image, by its channels.
_READ = {
    1: """import numpy as np
from PIL import Image

image = np.asarray(Image.open("image.png").convert("L"))[..., None]  # (H, W, 1) uint8, grey
""",
    3: """import numpy as np
from PIL import Image

image = np.asarray(Image.open("image.png").convert("RGB"))  # (H, W, 3) uint8: red, green, blue
""",
}
_READ_ARRAY = """import numpy as np
from PIL import Image

image = np.load("image.npy")  # (H, W, {channels}) uint8
"""
_READ_DEEP = """import numpy as np
from PIL import Image

image = np.load("image.npy")  # (H, W, {channels}), values of a file of more than 8 bits
low, high = np.reshape({window}, (-1, 2)).T  # of all channels, or of each
image = np.rint(np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)
"""

_SAVE = """
Save the mask. Its values are 0 to {last}; times {step} they can be seen:

```python
Image.fromarray((np.asarray({mask}) * {step}).astype(np.uint8)).save("mask.png")
```
"""

# The section "How to use it" of each format, for runs on whole images.
USES: dict[str, str] = {
    "stablehlo": """```python
import jax
{read}
model = jax.export.deserialize(bytearray(open("{file}", "rb").read()))
mask, probabilities = model.call(image[None])  # on CPU, CUDA or TPU
```
"""
    + _IN_AND_OUT,
    "onnx": """```python
import onnxruntime
{read}
session = onnxruntime.InferenceSession("{file}")
mask, probabilities = session.run(None, {{"images": image[None]}})
```
"""
    + _IN_AND_OUT,
    "safetensors": "Weights by their names in the network, kernels (h, w, in, out); the metadata hold the config\n"
    "and the classes. Resizing to {size} and scaling to [0, 1] are left to the reader.{window}\n",
}

_TILES = """
The file takes `images`, uint8 (N, {height}, {width}, {channels}), N free: tiles at {resolution}. It returns `mask`,
uint8 (N, {height}, {width}), and `probabilities`, float32 (N, {height}, {width}, {num_classes}).
Scaling and the threshold are inside.{resized}{window}

The mask of a whole image, by overlapping tiles whose middles count most, as the run was scored:

```python
import numpy as np


def starts(length, tile, step):  # evenly spaced, at most half a tile apart, at multiples of the network's stride
    last = -(-max(length - tile, 0) // step)
    gaps = -(-last // max(tile // 2 // step, 1))
    return [-(-number * last // max(gaps, 1)) * step for number in range(gaps + 1)]


def predict(image):  # (h, w, {channels}) uint8 to probabilities (h, w, {num_classes})
    (h, w), (H, W) = image.shape[:2], ({height}, {width})
    rows, columns = starts(h, H, {row_step}), starts(w, W, {column_step})
    padded = np.pad(image, ((0, rows[-1] + H - h), (0, columns[-1] + W - w), (0, 0)), "reflect")
    weight = np.outer(*(np.exp(-0.5 * (8 * (np.arange(side) + 0.5) / side - 4) ** 2) for side in (H, W)))[..., None]
    total = np.zeros((*padded.shape[:2], {num_classes} + 1))  # of weight times probability, and of weight
    for tile in [(slice(y, y + H), slice(x, x + W)) for y in rows for x in columns]:
        _, probabilities = {call}
        total[tile] += weight * np.append(probabilities[0], np.ones((H, W, 1)), axis=-1)
    return (total[..., :-1] / total[..., -1:])[:h, :w]


probabilities = predict(image)
mask = {decision}
```
"""

# The same for runs on crops.
_USES_OF_TILES: dict[str, str] = {
    "stablehlo": """```python
import jax
{read}
model = jax.export.deserialize(bytearray(open("{file}", "rb").read()))  # for CPU, CUDA or TPU
```
"""
    + _TILES.replace("{call}", "model.call(padded[tile][None])"),
    "onnx": """```python
import onnxruntime
{read}
session = onnxruntime.InferenceSession("{file}")
```
"""
    + _TILES.replace("{call}", 'session.run(None, {{"images": padded[tile][None]}})'),
    "safetensors": "Weights by their names in the network, kernels (h, w, in, out); the metadata hold the config\n"
    "and the classes. Cutting images at {resolution} into overlapping tiles of {size}, and scaling to [0, 1]\n"
    "are left to the reader.{window}\n",
}

_CARD = """# {model} trained on {dataset}

Classes: {classes}. A pixel's class is: {rule}.

## Intended use

Research. Not a medical device: not for diagnosis, nor for any decision about a patient. Images from another scanner,
clinic or preparation can give worse masks than the scores below: score the model on your own images first.

## How to use it

{use}
## Data

{dataset}. Its terms, which may bind what was trained on it too:

{terms}

## Protocol and scores

{protocol}
Scores are means over {images}, of pixels {scored};
an image with neither truth nor prediction counts as `{empty}`.{without}

| run | test images | Jaccard | Dice |
|---|---|---|---|
{scores}
{ensemble}
{sources}Made by sharp_unet_jax.
"""

_WITHOUT = "\nThey are of masks without the rule above, which was chosen after training."
_ENSEMBLE = "\nThe mean of these runs predicts. The mean itself was not scored{why}.\n"


def write(runs: Sequence[Trained], format: str, file: str, terms: str) -> str:
    """Write the model card of an exported file, in Markdown.

    Args:
        runs: of one model or several, exported together.
        format: a key of `USES`.
        file: name of the exported file.
        terms: of the data's licence, as far as they are known.
    """
    use = _use(runs, format, file) + _cleaning(runs[0], format)
    if format != "safetensors":  # it returns no masks
        use += saving("mask" if runs[0].config.data.fit == "crop" else "mask[0]", len(runs[0].classes))
    return fill(runs, use, terms)


def fill(runs: Sequence[Trained], use: str, terms: str) -> str:
    """Write a model card whose section "How to use it" is `use`; for the other arguments see `write`."""
    first, networks = runs[0], dict.fromkeys(run.model for run in runs)
    config = first.config
    one, plain = first.num_classes == 1, Rule(config.threshold)
    return _CARD.format(
        model=" and ".join(networks),
        dataset=first.dataset,
        classes=", ".join(f"{label} {name}" for label, name in enumerate(first.classes)),
        rule="the " * (not one) + first.rule.words(one),
        use=use,
        terms=terms.strip() or "not known here: ask who gave you the data.",
        protocol=_protocol(config),
        images=_images(config.data),
        scored=plain.words(one) if one else "by class",
        empty=config.empty,
        without="" if first.rule == plain else _WITHOUT,
        scores=_scores([run.record for run in runs]),
        ensemble=_ENSEMBLE.format(why=": no image is new to all of them" * (config.folds > 1)) if len(runs) > 1 else "",
        sources=_sources([models.MODELS[name] for name in networks]),
    )


def _use(runs: Sequence[Trained], format: str, file: str) -> str:
    """Return the section "How to use it" up to the lines that clean masks."""
    run, stride = runs[0], predict.stride(runs)
    data, (height, width) = run.config.data, run.config.data.size
    fields = {
        "file": file,
        "channels": run.channels,
        "num_classes": run.num_classes,
        "window": _window(run),
        "read": reading(run),
        "order": ": red, green, blue" if run.slice_channels == run.channels == 3 else "",
    }
    if data.fit != "crop":
        return USES[format].format(size=f"{height}x{width} ({data.fit})", **fields)
    one_class = f"probabilities[..., 0] > {run.rule.threshold}"
    before = (
        f"\nImages are resized to {resolution(data)} (bilinear) before, and `probabilities` to their own size after."
    )
    return _USES_OF_TILES[format].format(
        size=f"{height}x{width}",
        height=height,
        width=width,
        row_step=tiles.step(height, stride),
        column_step=tiles.step(width, stride),
        resolution=resolution(data),
        resized=before if resized(data) else "",
        decision=one_class if run.num_classes == 1 else "probabilities.argmax(axis=-1)",
        **fields,
    )


def _window(run: Trained) -> str:
    """Say what becomes of an image before it is resized, and which slices its channels are of; "" for most runs."""
    window = ""
    if run.window:
        window = f" Deeper images are windowed before: {pixels.ranges(run.window)} becomes 0 to 255."
    if context := run.config.data.context:
        window += (
            f"\nChannels are those of {2 * context + 1} neighbouring slices of a volume in their order, the slice "
            "itself in\nthe middle; beyond an end of the volume the end slice is repeated."
        )
    return window


def _cleaning(run: Trained, format: str) -> str:
    """Return what cleans the masks of a file; "" where it returns none, or nothing is left to clean."""
    return "" if format == "safetensors" else card_cleaning.section(run.rule, len(run.classes), run.config.data)


def saving(mask: str, classes: int) -> str:
    """Return the lines that save `mask`, an expression of Python, so that one can see its classes."""
    return _SAVE.format(mask=mask, last=classes - 1, step=max(255 // (classes - 1), 1))


def reading(run: Trained) -> str:
    """Return the lines that read an image as the run was trained on its images."""
    several = run.channels // run.slice_channels  # neighbouring slices
    if run.window:
        ends = run.window if len(run.window) == 2 else run.window * several
        return _READ_DEEP.format(channels=run.channels, window=list(ends))
    read = _READ_ARRAY if several > 1 else _READ.get(run.channels, _READ_ARRAY)
    return read.format(channels=run.channels)


def _images(data: Data) -> str:
    """Say what images the scores are of."""
    if data.score == "native":
        return "whole test images at the resolution of their files"
    if data.fit == "crop":
        return f"whole test images at {resolution(data)}"
    return f"test images at {'x'.join(map(str, data.size))}"


def _sources(networks: Sequence[models.Network]) -> str:
    """Return a line for each paper that the networks are from."""
    papers = [("Network", network.paper) for network in networks]
    papers += [("Sharp blocks", models.ZUNAIR) for network in networks if network.skip == "sharp"]
    split = [(what, paper.rpartition(", ")) for what, paper in dict.fromkeys(papers) if paper]
    return "".join(f"{what}: {authors}, <{address}>.\n" for what, (authors, _, address) in split)


def _protocol(config: Config) -> str:
    """Describe how images were divided and epochs chosen, in two lines."""
    if config.folds == 1:  # `sharp_unet_jax.fit`, and split="authors"
        chosen = {
            "paper": "Epochs were chosen on the images that are scored, which flatters the score.",
            "nested": "Epochs were chosen on a part of the training images; nothing was decided on the test images.",
        }[config.protocol]
        return f"One division of the images, no cross-validation; seed: {config.seed}. {chosen}\n"
    chosen = {
        "paper": "Epochs were chosen on the fold that is scored, which flatters the score.",
        "nested": "Epochs were chosen on a part of the training folds; nothing was decided on the test fold.",
    }[config.protocol]
    groups = "Folds kept groups whole." if config.grouped else "Folds were drawn at random, whatever the groups."
    if config.split != "folds" and not config.grouped:
        groups = "Folds were given in a file."
    counts = f"folds: {config.folds}, repeats: {config.repeats}, seed: {config.seed}"
    return f"Protocol `{config.protocol}`, {counts}. {chosen}\n{groups}"


def _scores(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows of the table: each run's, and their mean if there are several."""
    rows = [f"| {r['run']} | {r['images']['test']} | {_score(r['jaccard'])} | {_score(r['dice'])} |" for r in records]
    jaccard, dice = ([r[name] for r in records if r[name] is not None] for name in ("jaccard", "dice"))
    if len(records) > 1 and jaccard:
        rows.append(f"| mean | | {_score(statistics.fmean(jaccard))} | {_score(statistics.fmean(dice))} |")
    return "\n".join(rows)


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
