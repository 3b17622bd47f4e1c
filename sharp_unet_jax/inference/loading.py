"""Finished runs read back from their folders: one by its folder, or all whose mean predicts by their workdir."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from sharp_unet_jax import models, ops
from sharp_unet_jax.data import resident
from sharp_unet_jax.errors import AGAIN, InputError, is_out_of_memory
from sharp_unet_jax.inference.trained import Trained, Weights
from sharp_unet_jax.storage import checkpoint, choice, contents, description
from sharp_unet_jax.storage.layout import CHECKPOINT, CHOICE, CONFIG, Run, run_folder, run_of
from sharp_unet_jax.storage.run_files import read_record
from sharp_unet_jax.sweeps import plan, workdir
from sharp_unet_jax.training import network

CHOSEN = "chosen"  # as a model: the ensemble of choice.json


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
