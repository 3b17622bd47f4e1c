"""choice.json: the rule of masks and the mean of networks that inner validation images chose, tied to its runs."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import contents
from sharp_unet_jax.storage.layout import CHOICE, Run
from sharp_unet_jax.storage.reading import read_json

REMEDY = (
    "give launch.choose again, or delete the file; commands that make masks leave it out with --plain, Python with "
    "plain=True"
)


class StaleError(InputError):
    """A choice that was taken with other weights than the runs have."""


def read(workdir: Path, weights: Callable[[str], str | None], sha256: str | None = None) -> contents.Choice | None:
    """Return choice.json of the sweep in `workdir`; None where nothing was chosen.

    `weights` returns the digest of the weights of a finished run by its name, None if there is no such run. `sha256` is
    the digest of the file, if packed results hold it. Raises InputError if the file is damaged, and StaleError if it
    was chosen with runs of other weights.
    """
    path = workdir / CHOICE
    if not path.exists() and sha256 is None:
        return None
    choice = read_json(path, contents.Choice, remedy=REMEDY, sha256=sha256)
    for run, digest in choice["weights_sha256"].items():
        if weights(run) != digest:
            raise StaleError(f"{path} was chosen with other weights of {run}: {REMEDY}")
    return choice


def rule(fields: contents.RuleFields) -> Rule:
    """Return the rule that a field of choice.json holds."""
    return Rule(fields["threshold"], fields["fill"], fields["smallest"], fields["largest"])


def check_runs(choice: contents.Choice, runs: Iterable[Run], workdir: Path) -> None:
    """Raise InputError if a run that predicts was not there when the choice was made."""
    for run in runs:
        if run.name not in choice["weights_sha256"] or run.model not in choice["models"]:
            raise InputError(f"{workdir / CHOICE} was chosen without {run.name}: {REMEDY}")


def of_run(choice: contents.Choice, run: Run, workdir: Path) -> contents.ChosenFold:
    """Return the choice for the one run. Raises InputError if it was not there when the choice was made."""
    check_runs(choice, [run], workdir)
    folds, cell = choice["models"][run.model]["folds"], f"repeat{run.repeat}-fold{run.fold}"
    if cell not in folds:
        raise InputError(f"{workdir / CHOICE} was chosen without {run.name}: {REMEDY}")
    return folds[cell]


def of_networks(choice: contents.Choice, networks: Sequence[str]) -> contents.Chosen | None:
    """Return the choice for the mean of `networks`; None for several that are not the ensemble."""
    if len(networks) == 1:
        return choice["models"].get(networks[0])
    chosen = choice["ensemble"]
    return chosen if chosen and set(chosen["networks"]) == set(networks) else None


def ensemble(choice: contents.Choice | None, workdir: Path) -> contents.Chosen:
    """Return the ensemble of choice.json. Raises InputError where there is none."""
    if choice is None:
        raise InputError(f"{workdir / CHOICE} is missing: give launch.choose, or name a network as the model")
    if choice["ensemble"] is None:
        known = ", ".join(choice["models"])
        raise InputError(f"{workdir / CHOICE} has no ensemble: choose one of {known} as the model")
    return choice["ensemble"]
