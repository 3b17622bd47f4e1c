"""Rules and networks that inner validation images chose after training, and their gains on test images."""

import math
import warnings

import pandas as pd

from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import StaleWarning
from sharp_unet_jax.report.provenance import describe
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table, interval, rounded, signed
from sharp_unet_jax.storage import choice as choices
from sharp_unet_jax.storage import layout
from sharp_unet_jax.storage.contents import Choice, Chosen

NOTE = (
    "Read the gain on test images: there each fold is scored with the choice that was made only on its own inner "
    "validation images, and no decision looked at the scored images. The gain on validation images is that of the best "
    "of several candidates, on the images that chose it: it is too high. A network is compared with its masks by the "
    "threshold of the config, the mean of several networks with the best of them by its own rule. Intervals over test "
    "images are those over runs, corrected for the training images that folds share; those over validation images take "
    "groups as drawn. The rules shown are those of all folds together, by which `launch.predict` makes masks. All "
    "scores in other tables are without them."
)


def table(sweep: Sweep) -> Table | None:
    """Return "chosen": a row per network, and one for the mean of several; None where nothing was decided.

    Where the choice is of other weights, as after training on, a warning says so, and there is no table. Raises
    InputError if choice.json is damaged.
    """
    weights = {name: record["weights_sha256"] for name, record in sweep.finished.items()}
    try:
        choice = choices.read(sweep.workdir, weights.get, sweep.sha256.get(layout.CHOICE))
    except choices.StaleError as error:
        warnings.warn(f"the report leaves it out: {error}", StaleWarning, stacklevel=2)
        return None
    if choice is None:
        return None
    rows, gains = [], []
    for name, each in named(choice).items():
        row: dict[str, object] = {"networks": name, "rule": rule(each, sweep.config["threshold"], len(sweep.classes))}
        for part, gain in {"validation": each["validation"], "test": each["test"]}.items():
            row[f"{part} (%)"] = rounded(points(gain["jaccard"]))
            row[f"gain on {part}"] = signed(points(gain["gain"]))
            row[f"95 % interval, {part}"] = interval(points(gain["low"]), points(gain["high"])) if gain["gain"] else "-"
        if each["test"]["gain"] is not None:
            gains.append(points(each["test"]["gain"]))
        sizes = f"{each['validation']['images']} and {each['test']['images']}"
        rows.append(row | {"images": sizes, "runs": each["test"]["runs"]})
    note = [NOTE, *since(choice, len(sweep.finished))]
    title = "Decided after training: Jaccard and gains in points"
    low, high = (signed(limit(gains, default=math.nan)) for limit in (min, max))
    says = f"On test images the choices gain {low if low == high else f'{low} to {high}'} points of Jaccard."
    return Table("chosen", title, describe([sweep]), pd.DataFrame(rows), "\n".join(note), says if gains else "")


def named(choice: Choice) -> dict[str, Chosen]:
    """Return the choices by what predicts: a network, or "mean of unet, sharp_unet"."""
    each = dict(choice["models"])
    if (several := choice["ensemble"]) is not None:
        networks = several["networks"]
        of = f"mean of {', '.join(networks)}" if len(networks) > 1 else f"best network, {networks[0]}"
        each[of] = several
    return each


def rule(chosen: Chosen, threshold: float, classes: int) -> str:
    """Return a chosen rule in words; `threshold` is that of the config."""
    found = choices.rule(chosen["rule"])
    words = found.words(classes == 2)
    return f"unchanged: {words}" if found == Rule(threshold) else words


def points(share: float | None) -> float:
    """Return a share in points, nan for None."""
    return math.nan if share is None else 100 * share


def since(choice: Choice, finished: int) -> list[str]:
    """Return a sentence if runs were finished after the choice; [] if none were."""
    known = len(choice["weights_sha256"])
    return [f"**Decided with {known} of {finished} finished runs.**"] if known < finished else []
