"""The page beside an exported model: what it is, its data and scores, how to use it, what it is not for."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from sharp_unet_jax.inference.trained import Trained

_IN_AND_OUT = """
`images` is uint8 (N, H, W, {channels}), N, H and W free. `mask` is uint8 (N, H, W), `probabilities` float32
(N, H, W, {num_classes}) at the images' own size. Resizing to {size}, scaling and the threshold are inside.{window}
"""

# How a file of each format is used.
USES: dict[str, str] = {
    "stablehlo": """```python
import jax

model = jax.export.deserialize(bytearray(open("{file}", "rb").read()))
mask, probabilities = model.call(images)  # on CPU, CUDA or TPU
```
"""
    + _IN_AND_OUT,
    "onnx": """```python
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
mask, probabilities = session.run(None, {{"images": images}})
```
"""
    + _IN_AND_OUT,
    "safetensors": "Weights by their names in the network, kernels (h, w, in, out); the metadata hold the config\n"
    "and the classes. Resizing to {size} and scaling to [0, 1] are left to the reader.\n",
}


def write(runs: Sequence[Trained], format: str, file: str, records: Sequence[Mapping[str, Any]], terms: str) -> str:
    """The card, Markdown, of the `file` that `runs` were exported to in a `format` of `USES`.

    `records` are the runs' (record.json), `terms` what is known of the data's licence.
    """
    first = runs[0]
    config = first.config
    height, width = config.data.size
    window = f" Deeper images are first clipped to {first.window}, which becomes 0 and 255." if first.window else ""
    use = USES[format].format(
        file=file,
        channels=first.channels,
        num_classes=first.num_classes,
        size=f"{height}x{width} ({config.data.fit})",
        window=window,
    )
    classes = ", ".join(f"{label} {name}" for label, name in enumerate(first.classes))
    rule = f"above {config.threshold}" if first.num_classes == 1 else "the most probable class"
    scores = "\n".join(
        f"| {r['run']} | {r['images']['test']} | {_score(r['jaccard'])} | {_score(r['dice'])} |" for r in records
    )
    mean = ""
    if len(records) > 1:
        jaccard, dice = ([r[name] for r in records if r[name] is not None] for name in ("jaccard", "dice"))
        mean = (
            f"\n| mean | | {_score(statistics.fmean(jaccard))} | {_score(statistics.fmean(dice))} |" if jaccard else ""
        )
    chosen = {
        "paper": "Epochs were chosen on the fold that is scored, which flatters the score.",
        "nested": "Epochs were chosen on a part of the training folds; nothing was decided on the test fold.",
    }[config.protocol]
    groups = "Folds kept groups whole." if config.grouped else "Folds were drawn at random, whatever the groups."
    protocol = f"Protocol `{config.protocol}`, folds: {config.folds}, repeats: {config.repeats}, seed: {config.seed}."
    if config.folds == 1:  # fitting.fit
        chosen, groups = "Epochs were chosen on the images that are scored, which flatters the score.", ""
        protocol = f"One division of the images, no cross-validation; seed: {config.seed}."
    ensemble = "\nThe file averages these runs. The average itself was not scored: no image is new to all of them.\n"
    return f"""# {first.model} trained on {first.dataset}

Classes: {classes}. A pixel's class is: {rule}.

## Intended use

Research. Not a medical device: not for diagnosis, nor for any decision about a patient. Images of another scanner,
clinic or preparation than the training's can give worse masks than the scores below; score it on yours first.

## How to use it

{use}
## Data

{first.dataset}. Its terms, which may bind what was trained on it too:

{terms.strip() or "not known here: ask who gave you the data."}

## Protocol and scores

{protocol} {chosen}
{groups}
Scores are means over test images at {height}x{width}, of pixels {rule if first.num_classes == 1 else "by class"};
an image with neither truth nor prediction counts as `{config.empty}`.

| run | test images | Jaccard | Dice |
|---|---|---|---|
{scores}{mean}
{ensemble if len(runs) > 1 else ""}
Made by sharp_unet_jax; the Sharp U-Net is of <https://doi.org/10.1016/j.compbiomed.2021.104699>.
"""


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
