"""The commands that follow a sweep, with its own paths: predict, export, train more."""

import shlex
from typing import NamedTuple

from sharp_unet_jax.report import provenance
from sharp_unet_jax.report.records import Sweep


class Step(NamedTuple):
    """A thing to do, and the command that does it."""

    what: str
    command: str


def steps(sweep: Sweep) -> list[Step]:
    """Return the commands; [] for packed results, which hold no weights, and without finished runs."""
    if sweep.packed or not sweep.finished:
        return []
    best = str(sweep.runs.astype({"jaccard": float}).groupby("model")["jaccard"].mean().fillna(0).idxmax())
    workdir = str(sweep.workdir)
    chosen = f"--run={shlex.quote(workdir)} --model={shlex.quote(best)}"
    onnx = shlex.quote(f"{workdir}/{best}.onnx")
    found = [
        Step(
            f"Predict masks of new images with `{best}`, which has the highest mean Jaccard",
            f"python -m launch.predict {chosen} --overlays NEW_IMAGES OUTPUT",
        ),
        Step(
            f"Export `{best}` for onnxruntime",
            f"python -m launch.export {chosen} --format=onnx --output={onnx}",
        ),
    ]
    if commands := sweep.environment.get("commands"):
        words = [word for word in shlex.split(commands[-1]) if not word.startswith("--config.repeats")]
        more = shlex.join([*words, f"--config.repeats={sweep.config['repeats'] + 2}"])
        found.append(Step(f"Train {provenance.more_repeats(sweep)}; finished runs are kept", more))
    return found
