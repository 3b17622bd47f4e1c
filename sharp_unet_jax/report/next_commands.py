"""The commands that follow a sweep, with its own paths: predict, export, train more."""

import shlex
from collections.abc import Sequence
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
        flags = ["--config.repeats", "--config.max_runs", "--shard", "--workdir"]
        own = [f"--config.repeats={sweep.config['repeats'] + 2}", f"--workdir={workdir}"]
        if len(commands) > 1:  # of a merged sweep each trained a part
            flags += ["--config.models", "--config.epochs"]
            own += [f"--config.models={','.join(sweep.config['models'])}", f"--config.epochs={sweep.config['epochs']}"]
        more = shlex.join([*_without(shlex.split(commands[-1]), *flags), *own])
        found.append(Step(f"Train {provenance.more_repeats(sweep)}; finished runs are kept", more))
    return found


def _without(words: Sequence[str], *flags: str) -> list[str]:
    """Return a command's words without these flags, which have a value each, as `--flag=value` or `--flag value`."""
    values = {index + 1 for index, word in enumerate(words) if word in flags}
    return [word for index, word in enumerate(words) if index not in values and word.partition("=")[0] not in flags]
