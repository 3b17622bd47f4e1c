"""The model card of a shared model: the block that the Hugging Face hub reads, then the card of `model_card`."""

import re
import statistics
from collections.abc import Sequence

import huggingface_hub

from sharp_unet_jax.data import pixels
from sharp_unet_jax.inference import model_card
from sharp_unet_jax.inference.trained import Trained

_USE = """With sharp_unet_jax installed:

```python
{read}
model = sharp_unet_jax.load("{address}")
{call}
```

{seen} have any size, and masks have theirs. Resizing or tiles, scaling and the rule of masks are inside.{mean}
{saving}
Files of any format, such as PNG, TIF, NIfTI and DICOM, become masks in their formats by a checkout of sharp_unet_jax:

```bash
python -m launch.predict --run={run} IMAGES OUTPUT
```
"""

# The lines that read an image, and those that predict it.
_IMAGE = "(mask,) = model.masks([image]{spacing})  # (H, W) uint8, the class of each pixel"
_DEEP = """import numpy as np
from PIL import Image

image = np.load("image.npy")  # (H, W, {channels}), uint8 or any dtype: {window} becomes 0 to 255
"""
_VOLUME = """import numpy as np
from PIL import Image

volume = np.load("volume.npy")  # (n, H, W) or (n, H, W, channels), all slices of a volume in their order{window}
"""
_SLICES = "masks = model.masks(volume{spacing})  # (H, W) uint8 of each slice, the class of each pixel"
_SPACING = """
# spacing: millimetres from row to row and from column to column"""


def write(runs: Sequence[Trained], repository: str, terms: str) -> str:
    """Write README.md.

    Args:
        runs: of one sweep; their mean predicts.
        repository: "OWNER/NAME" on the hub, for the code in the card; "" where it is not known: the code then runs in
            the folder itself.
        terms: of the data's licence, as far as they are known.
    """
    address = f"hf://{repository}" if repository else "."
    card = model_card.fill(runs, _use(runs, address), terms)
    return f"---\n{_metadata(runs)}\n---\n\n{card}"


def _metadata(runs: Sequence[Trained]) -> str:
    """Return the YAML block. It names no licence: which one the data allow is for their owner to say."""
    first, networks = runs[0], list(dict.fromkeys(run.model for run in runs))
    results = []
    for name, title in (("jaccard", "Jaccard index"), ("dice", "Dice coefficient")):
        scores = [run.record[name] for run in runs if run.record[name] is not None]
        if scores:
            several = f", mean of {len(scores)} runs" if len(scores) > 1 else ""
            results.append(
                huggingface_hub.EvalResult(
                    task_type="image-segmentation",
                    dataset_type=re.sub(r"\W+", "-", first.dataset),  # "OWNER/NAME" would be another's on the hub
                    dataset_name=first.dataset,
                    dataset_split=_split(runs),
                    metric_type=name,
                    metric_name=f"{title}{several}",
                    metric_value=round(statistics.fmean(scores), 4),
                )
            )
    return huggingface_hub.ModelCardData(
        model_name=" and ".join(networks),
        library_name="sharp_unet_jax",
        pipeline_tag="image-segmentation",
        tags=["jax", "flax", "biomedical", "semantic-segmentation", *networks],
        metrics=["jaccard", "dice"],
        eval_results=results or None,
    ).to_yaml()


def _split(runs: Sequence[Trained]) -> str:
    """Say which images the scores are of, and what was decided on them."""
    config = runs[0].config
    of_the_scored = "epochs chosen on the scored images, which flatters"
    decided = {"paper": of_the_scored, "nested": "nothing decided on the scored images"}[config.protocol]
    if config.folds == 1:
        return f"one division of the images, no cross-validation; {decided}"
    return f"test folds of {config.folds}-fold cross-validation, repeats: {config.repeats}; {decided}"


def _use(runs: Sequence[Trained], address: str) -> str:
    """Return the section "How to use it"."""
    run, data = runs[0], runs[0].config.data
    window = pixels.ranges(run.window) if run.window else ""
    read, call, mask = model_card.reading(run), _IMAGE, "mask"
    if data.context:
        read, call, mask = _VOLUME.format(window=f"; {window} becomes 0 to 255" if window else ""), _SLICES, "masks[0]"
    elif window:
        read = _DEEP.format(channels=run.channels, window=window)
    call = call.format(spacing=", spacing=(0.5, 0.5)" if data.spacing else "") + (_SPACING if data.spacing else "")
    return _USE.format(
        read=read.replace("from PIL", "import sharp_unet_jax\nfrom PIL"),
        call=call,
        address=address,
        run="FOLDER" if address == "." else address,
        seen="Slices" if data.context else "Images",
        mean=f"\nThe mean probability of {len(runs)} runs predicts." if len(runs) > 1 else "",
        saving=model_card.saving(mask, len(run.classes)),
    )
