"""Finished runs read back: one by its folder, all whose mean predicts by their workdir, or a shared model."""

import functools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flax import nnx

from sharp_unet_jax.config import Config
from sharp_unet_jax.data import resident
from sharp_unet_jax.errors import AGAIN, InputError, is_out_of_memory
from sharp_unet_jax.inference import held_out, shared, stored
from sharp_unet_jax.inference.ensemble import Ensemble
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.models import Segmenter
from sharp_unet_jax.storage import checkpoint, choice, contents, description
from sharp_unet_jax.storage.description import Description
from sharp_unet_jax.storage.layout import CHECKPOINT, CHOICE, CONFIG, Run, run_folder, run_of
from sharp_unet_jax.storage.reading import damaged
from sharp_unet_jax.storage.run_files import read_record
from sharp_unet_jax.sweeps import plan, workdir
from sharp_unet_jax.weights import hub

CHOSEN = "chosen"  # as a model: the ensemble of choice.json


def load(path: str | Path, model: str = "", *, plain: bool = False) -> Trained | Ensemble:
    """Read a finished run, or all finished runs of a sweep whose mean predicts, or a shared model.

    If a rule of masks was chosen for them by `launch.choose`, their masks follow it.

    >>> import numpy as np
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

    Several runs are an `Ensemble`, which predicts as a run does:

    >>> both = sharp_unet_jax.load("work/demo", "unet,sharp_unet")
    >>> [run.name for run in both.runs]
    ['unet/repeat0-fold0', 'sharp_unet/repeat0-fold0']

    Args:
        path: a run's folder (WORKDIR/runs/MODEL/repeatR-foldF); a workdir, such as the `folder` of `fit`; the folder of
            a shared model, which `launch.export --format=hub` writes; or the address of such a model on the Hugging
            Face hub, "hf://OWNER/NAME" or "hf://OWNER/NAME@REVISION".
        model: with a workdir, the model, or several with commas between them; needed where the sweep has finished runs
            of several. Or "chosen", for the ensemble of the sweep's choice.json.
        plain: leave the chosen rule out: masks follow the threshold of the config.

    Raises:
        InputError: if nothing is finished, a file is damaged, `model` is needed or is another than the run's, this
            version of the project has another network by the model's name, choice.json is damaged or knows other
            weights, or the hub cannot be reached.
    """
    runs = load_all(path, model, plain=plain)
    return Ensemble(tuple(runs)) if len(runs) > 1 else runs[0]


def load_run(path: str | Path, *, plain: bool = False) -> Trained:
    """Read the finished run in the folder `path`, WORKDIR/runs/MODEL/repeatR-foldF; see `load`. Raises InputError."""
    path = Path(os.path.expanduser(path)).absolute()
    found = run_of(path)
    if found is None or not path.is_dir():
        raise InputError(
            f"{path} is no run: name a folder such as WORKDIR/runs/unet/repeat0-fold0, a workdir or a shared model"
        )
    folder, run = found
    sweep, config = description.read(folder), workdir.read_config(folder)
    one = _read(sweep, config, run)
    made = None if plain else _choice(sweep, config)
    return replace(one, chosen=choice.rule(choice.of_run(made, run, folder)["rule"])) if made else one


def _read(sweep: Description, config: Config, run: Run) -> Trained:
    """Read a finished run of a sweep in its workdir, without choice.json. Raises InputError."""
    path = run_folder(sweep.workdir, run)
    folds, record = sweep.folds, read_record(sweep, run)
    if record is None or record["status"] != "finished":
        raise InputError(f"{path} is not finished: give its sweep's command again, or name another run")
    classes, channels = tuple(folds["classes"]), record["channels"]
    num_classes = resident.num_classes(classes)
    shapes = stored.abstract(config, run.model, num_classes, channels, path)
    return Trained(
        run.name,
        run.model,
        folds["dataset"],
        classes,
        config,
        channels,
        tuple(window) if (window := folds["window"]) else None,
        num_classes,
        nnx.graphdef(shapes),
        _weights(path, shapes, record["weights_sha256"]),
        record,
        (clipped[0], clipped[1]) if (clipped := folds["clipped"]) else None,
        examples=functools.partial(held_out.read, sweep, run),
    )


def names(model: str) -> tuple[str, ...]:
    """Return the models that a text such as "unet,sharp_unet" names, each once."""
    return tuple(dict.fromkeys(name.strip() for name in model.split(",") if name.strip()))


def load_all(path: str | Path, model: str = "", *, plain: bool = False) -> list[Trained]:
    """Read the runs that `load` reads, as a list; arguments and errors are those of `load`."""
    if hub.is_address(path):
        return shared.read(hub.snapshot(str(path), shared.FILES), names(model), plain=plain, where=str(path))
    path = Path(os.path.expanduser(path))
    wanted = names(model)
    if shared.is_in(path):
        return shared.read(path, wanted, plain=plain)
    if not (path / CONFIG).exists():
        one = load_run(path, plain=plain)
        if wanted not in ((), (one.model,)):
            raise InputError(f"{path} is a run of {one.model}, not of {model}: name another run, or its workdir")
        return [one]
    sweep, config = description.read(path), workdir.read_config(path)
    description.check_unpacked(sweep)
    records = {run: read_record(sweep, run) for run in plan.every(config)}
    finished = [run for run, record in records.items() if record and record["status"] == "finished"]
    made = None if plain else _choice(sweep, config)
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
    return [replace(_read(sweep, config, run), chosen=rule) for run in runs]


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


def _choice(sweep: Description, config: Config) -> contents.Choice | None:
    """Read choice.json of a sweep in its workdir, None where nothing was chosen. Raises InputError."""
    runs = {run.name: run for run in plan.every(config)}

    def weights(name: str) -> str | None:
        record = read_record(sweep, runs[name]) if name in runs else None
        return record["weights_sha256"] if record and record["status"] == "finished" else None

    return choice.read(sweep.workdir, weights)


def _weights(run: Path, shapes: Segmenter, digest: str) -> stored.Weights:
    """Read the checkpoint in the folder `run`, and check its shapes and its digest. Raises InputError."""
    try:
        saved = checkpoint.load(run / CHECKPOINT)
    except Exception as error:  # Orbax passes on whatever its storage raises
        if is_out_of_memory(error):
            raise
        raise damaged(run / CHECKPOINT, " ".join(str(error).split())[:200], AGAIN) from error
    return stored.weights(
        lambda keys: functools.reduce(lambda tree, key: tree[key], keys, saved),
        shapes,
        digest,
        where=run,
        file=run / CHECKPOINT,
        remedy=AGAIN,
    )
