"""Tables, figures and one page from the records of sweeps: python -m launch.report WORKDIR [WORKDIR ...] [--output=DIR]

A WORKDIR may be a folder of packed results. Several are put side by side: data sets, protocols, kinds of folds. The
command needs no device and trains nothing.
"""

import sys
from collections.abc import Sequence

from launch.console import arguments as command_line
from launch.console import ending, paths
from sharp_unet_jax.report import write
from sharp_unet_jax.storage.atomic import check_writable


def run(arguments: Sequence[str]) -> None:
    """Run the whole command. Raises InputError or OSError for what the user can fix."""
    parser = command_line.parser("launch.report", __doc__)
    parser.add_argument(
        "workdirs", metavar="WORKDIR", type=paths.path, nargs="+", help="a folder that launch.cv or launch.merge wrote"
    )
    parser.add_argument("--output", metavar="DIR", type=paths.path, help="default: report, in the first WORKDIR")
    parser.add_argument("--title", default="", help="the page's heading; default: the data sets")
    parser.add_argument("--note", metavar="TEXT", default="", help="a paragraph below it, such as your name and why")
    known = command_line.parse(parser, arguments)
    check_writable(known.output or known.workdirs[0])
    print(f"report: {write.write(known.workdirs, known.output, known.title, known.note) / 'report.html'}")


if __name__ == "__main__":
    with ending.in_one_line():
        run(sys.argv[1:])
