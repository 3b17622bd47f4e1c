"""The rule of masks and the mean of networks, chosen after training: python -m launch.choose WORKDIR

Takes a sweep under protocol=nested whose runs are finished. For each network it looks for the rule that turns
probabilities into masks: the threshold, filled holes, the smallest piece kept, only the largest piece kept. Of several
networks it looks for those whose mean scores best. All of it is decided on the inner validation images of each fold; a
step is kept only where the 95 % interval of its gain lies above zero. The gain on the test images is printed, and no
decision looks at them.

The choice is written to WORKDIR/choice.json. launch.predict, launch.evaluate and launch.export apply it from then on,
unless told --plain. Give the command again and it is replaced. Exit code 0: done; 1: there is nothing to choose on, or
the input is wrong; 130: Ctrl-C.
"""

import functools
import math
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from launch.console import arguments as command_line
from launch.console import ending, paths, runtime
from launch.console.progress import track
from sharp_unet_jax.choosing import choose, images
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.report import chosen, records, statistics
from sharp_unet_jax.report.table import interval, rounded, signed
from sharp_unet_jax.storage import choice as choices
from sharp_unet_jax.storage import lock
from sharp_unet_jax.storage.atomic import check_writable, write_json
from sharp_unet_jax.storage.contents import Choice, Gain
from sharp_unet_jax.storage.layout import CHOICE
from sharp_unet_jax.sweeps import workdir


def run(arguments: Sequence[str], console: Console) -> None:
    """Run the command. Raises InputError or OSError for what the user can fix."""
    parser = command_line.parser("launch.choose", __doc__)
    parser.add_argument("workdir", metavar="WORKDIR", type=paths.path, help="a folder that launch.cv wrote")
    folder = command_line.parse(parser, arguments).workdir
    sweep, config = records.load(folder), workdir.read_config(folder)
    choose.check(sweep, config)
    check_writable(folder)
    if missing := [name for name in sweep.planned if name not in sweep.finished]:
        console.print(f"{len(missing)} of {len(sweep.planned)} runs are not finished: {', '.join(missing)}")
    dataset = images.dataset(sweep)
    devices = runtime.configure()[: config.devices_per_run]
    source = images.Source(sweep, config, dataset, images.predictor(sweep, config, dataset, devices))
    choice = choose.choose(source, functools.partial(track, console))
    with lock.brief(folder):
        write_json(folder / CHOICE, choice)
    console.print(_table(choice, config.threshold, len(dataset.classes)))
    for line in _remarks(choice, config.threshold):
        console.print(line)
    console.print(f"written: {folder / CHOICE}")


def _table(choice: Choice, threshold: float, classes: int) -> Table:
    """Return the choices, a row each."""
    shown = Table(
        "networks",
        "rule of masks",
        "validation,\nall folds",
        "test,\nfold by fold",
        title="Jaccard (%), gain in points, 95 % interval",
    )
    for name, each in chosen.named(choice).items():
        rule = chosen.rule(each, threshold, classes)
        shown.add_row(*map(Text, (name, rule, _cell(each["validation"]), _cell(each["test"]))))
    return shown


def _cell(gain: Gain) -> str:
    """Return a score and its gain, the interval of the gain, and how many images and runs they are of, a line each."""
    score, gained, low, high = (chosen.points(gain[key]) for key in ("jaccard", "gain", "low", "high"))
    if gain["gain"]:  # neither 0 nor None
        between = "no interval" if math.isnan(low) else interval(low, high)
        lines = [f"{rounded(score)}, {signed(gained)}", between]
    else:
        lines = [rounded(score), "no gain"]
    return "\n".join([*lines, f"n = {gain['images']}, {gain['runs']} run{'s' if gain['runs'] > 1 else ''}"])


def _remarks(choice: Choice, threshold: float) -> list[str]:
    """Return what the gains say, a line per choice."""
    lines = []
    for name, each in chosen.named(choice).items():
        several, alone = name not in choice["models"], len(each["networks"]) == 1
        if several and alone:
            said = "no mean of networks gains enough on the inner validation images; "
        elif not several and choices.rule(each["rule"]) == Rule(threshold):
            said = "no rule gains enough on the inner validation images, so masks stay as they are; "
        else:
            said = ""
        lines.append(f"{name}: {said}{_verdict(each['test'], several)}")
    return lines


def _verdict(test: Gain, several: bool) -> str:
    """Return what the gain on test images says, of a rule or of `several` networks."""
    if test["gain"] is None:
        return "no test image has a score"
    if test["gain"] == 0:
        return "no fold takes a mean of networks" if several else "no test image scores differently"
    if test["runs"] < statistics.ENOUGH or test["low"] is None or test["high"] is None:
        return f"{test['runs']} run{'s are' if test['runs'] > 1 else ' is'} too few to tell on test images"
    if test["low"] > 0:
        return "the gain on test images is more than chance explains"
    if test["high"] < 0:
        return "the loss on test images is more than chance explains: predict with --plain"
    return "the gain on test images is within what chance explains"


if __name__ == "__main__":
    with ending.in_one_line():
        run(sys.argv[1:], Console(width=None if sys.stdout.isatty() else 120, highlight=False, markup=False))
