"""Bring workdirs together: python -m launch.merge [--pack OUTPUT] WORKDIR [SHARD_WORKDIR ...]

Shards of a sweep (--shard=I/N) that had no workdir in common are brought into WORKDIR: their finished runs are copied,
and tables and report are made of all runs, with pictures if the prepared images of one of the workdirs are at hand.
The files of the shards stay as they are.

--pack writes the results of WORKDIR to a folder of a few files, small enough to keep in a repository: records, epochs,
per-image counts, scores and tables. The report reads it like a workdir, but for pictures.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from launch.console import arguments as command_line
from launch.console import ending, environment, paths
from sharp_unet_jax.report import paper_tables, records, write
from sharp_unet_jax.sweeps import merge, pack


def run(arguments: Sequence[str]) -> None:
    """Run the whole command. Raises InputError or OSError for what the user can fix."""
    parser = command_line.parser("launch.merge", __doc__)
    parser.add_argument(
        "workdir", metavar="WORKDIR", type=paths.path, help="where all runs go; it may hold some already"
    )
    of_shards = "workdirs to take finished runs from"
    parser.add_argument("shards", metavar="SHARD_WORKDIR", type=paths.path, nargs="*", help=of_shards)
    parser.add_argument("--pack", metavar="OUTPUT", type=paths.path, help="a folder for the packed results of WORKDIR")
    known = command_line.parse(parser, arguments)
    if known.shards:
        _merge(known.workdir, known.shards)
    elif not known.pack:
        parser.error("name the workdirs to take runs from, or --pack=OUTPUT")
    if known.pack:
        print(f"{pack.pack(known.pack, known.workdir)} records are packed in {known.pack}")


def _merge(workdir: Path, shards: Sequence[Path]) -> None:
    """Merge the shards into the workdir, and write its tables and report."""
    copied = merge.merge(workdir, shards)
    environment.merge(workdir, shards)
    paper_tables.write(workdir)
    print(f"{copied} runs came to {workdir}; see its tables.md")
    if records.load(workdir).finished:
        print(f"report: {write.write([workdir]) / 'report.html'}")


if __name__ == "__main__":
    with ending.in_one_line():
        run(sys.argv[1:])
