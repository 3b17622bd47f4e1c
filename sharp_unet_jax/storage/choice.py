"""choice.json: the rule of masks and the mean of networks that inner validation images chose, tied to its runs."""

from collections.abc import Callable
from pathlib import Path

from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import contents
from sharp_unet_jax.storage.layout import CHOICE
from sharp_unet_jax.storage.reading import read_json

REMEDY = "give launch.choose again, or delete the file"


def read(workdir: Path, weights: Callable[[str], str | None], sha256: str | None = None) -> contents.Choice | None:
    """Return choice.json of the sweep in `workdir`; None where nothing was chosen.

    `weights` returns the digest of the weights of a finished run by its name, None if there is no such run. `sha256` is
    the digest of the file, if packed results hold it. Raises InputError if the file is damaged, or was chosen with runs
    of other weights.
    """
    path = workdir / CHOICE
    if not path.exists() and sha256 is None:
        return None
    choice = read_json(path, contents.Choice, remedy=REMEDY, sha256=sha256)
    for run, digest in choice["weights_sha256"].items():
        if weights(run) != digest:
            raise InputError(f"{path} was chosen with other weights of {run}: {REMEDY}")
    return choice


def rule(fields: contents.Rule) -> Rule:
    """Return the rule that a field of choice.json holds."""
    return Rule(fields["threshold"], fields["fill"], fields["smallest"], fields["largest"])
