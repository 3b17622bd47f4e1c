"""The runs that a path on the command line stands for."""

from collections.abc import Sequence
from pathlib import Path

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import description, run_files
from sharp_unet_jax.storage.layout import CONFIG, Run, run_folder
from sharp_unet_jax.sweeps import plan, workdir


def to_explain(path: Path, models: Sequence[str], image_id: str) -> list[Path]:
    """Return the folders of the runs to explain: that of a run, or of a workdir one per model.

    Args:
        path: a run's folder or a workdir.
        models: names; () stands for all that have finished runs.
        image_id: a model's first finished run that tests this image is taken; without one its first finished run.

    Raises:
        InputError: where a model has no finished run, and for the folder of a run of another model.
    """
    if not (path / CONFIG).exists():
        if models and path.parent.name not in models:
            raise InputError(f"--model: {path} is not a run of {', '.join(models)}; leave it out, or name a workdir")
        return [path]
    sweep = description.read(path)
    description.check_unpacked(sweep)
    finished: dict[str, list[Run]] = {}
    for run in plan.every(workdir.read_config(path)):
        record = run_files.read_record(sweep, run)
        if record and record["status"] == "finished":
            finished.setdefault(run.model, []).append(run)
    if not finished:
        raise InputError(f"{path} has no finished run yet: wait for one")
    if missing := [name for name in models if name not in finished]:
        raise InputError(f"{path} has no finished run of {missing[0]}, but of {', '.join(finished)}")

    def tests(run: Run) -> bool:
        return image_id in sweep.cell(run.repeat, run.fold)["test"]

    chosen = [next(filter(tests, finished[name]), finished[name][0]) for name in models or finished]
    return [run_folder(path, run) for run in chosen]
