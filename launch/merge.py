"""Brings the runs of several workdirs into one: python -m launch.merge WORKDIR SHARD_WORKDIR [SHARD_WORKDIR ...]

For shards of a sweep (--shard=I/N) that had no workdir in common. Files of the shards stay as they are. Tables
and report are made of all runs, with pictures where the prepared images of one of the workdirs are at hand.
"""

import argparse
import sys
from collections.abc import Sequence

from launch.console import ending, environment, paths
from sharp_unet_jax.report import paper_tables, records, write
from sharp_unet_jax.sweeps import workdir


def run(arguments: Sequence[str]) -> None:
    """The whole command. Raises InputError or OSError for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m launch.merge", description=__doc__, allow_abbrev=False)
    parser.add_argument("workdir", type=paths.path, help="where all runs go; it may hold some already")
    parser.add_argument("shards", type=paths.path, nargs="+", help="workdirs to take finished runs from")
    known = parser.parse_args(arguments)
    came = workdir.merge(known.workdir, known.shards)
    environment.merge(known.workdir, known.shards)
    paper_tables.write(known.workdir)
    print(f"{came} runs came to {known.workdir}; see its tables.md")
    if records.load(known.workdir).finished:
        print(f"report: {write.write([known.workdir]) / 'report.html'}")


if __name__ == "__main__":
    with ending.in_one_line():
        run(sys.argv[1:])
