"""The command line of `launch.cv`."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from launch.console import arguments as command_line
from launch.console import config as configs
from launch.console import paths
from launch.console.cluster import Cluster
from sharp_unet_jax.config import Config
from sharp_unet_jax.errors import InputError

TRACKERS = ("tensorboard", "wandb")  # of launch.console.tracking, whose imports take seconds


class Command(NamedTuple):
    """The request of the user."""

    config: Config  # with the overrides of the command line
    workdir: Path
    shard: tuple[int, int]  # (i, n): every n-th run from the i-th on
    cluster: Cluster | None  # where several processes train the sweep together
    verify: str  # the name of a run, or ""
    track: str  # "tensorboard", "wandb", or ""


def parse(arguments: Sequence[str], description: str = "") -> Command:
    """Parse the command line. Raises InputError for wrong values."""
    parser = command_line.parser_with_config("launch.cv", description)
    workdir = "folder for records and tables (default: work/<name of the config>)"
    parser.add_argument("--workdir", type=paths.path, help=workdir)
    verify = "train that run again and compare its weights"
    parser.add_argument("--verify", metavar="RUN", default="", help=verify)
    parser.add_argument("--track", choices=("", *TRACKERS), default="", help="log every epoch as it ends")
    several = parser.add_argument_group("several processes or machines")
    shard = "train the I-th of N shares of the runs; I counts from 0"
    several.add_argument("--shard", metavar="I/N", default="0/1", help=shard)
    distributed = "this is one of the processes that SLURM, Open MPI, a TPU pod or GKE started"
    several.add_argument("--distributed", action="store_true", help=distributed)
    coordinator = "this is one of the processes that you started: the address where process 0 listens"
    several.add_argument("--coordinator", metavar="HOST:PORT", help=coordinator)
    several.add_argument("--processes", metavar="N", type=int, help="with --coordinator: the number of processes")
    several.add_argument("--process", metavar="I", type=int, help="with --coordinator: the number of this one, from 0")
    known, config, _ = command_line.parse_with_config(parser, arguments)
    folder = known.workdir or Path("work") / configs.short_name(known.config)
    cluster = _cluster(known)
    if cluster and (known.verify or known.shard != "0/1"):
        raise InputError("--shard and --verify are for processes on their own: leave them out, or --distributed")
    return Command(config, folder, _shard(known.shard), cluster, known.verify, known.track)


def _cluster(known: argparse.Namespace) -> Cluster | None:
    named = Cluster(known.coordinator, known.processes, known.process)
    if any(part is not None for part in named) and None in named:
        raise InputError("give --coordinator=HOST:PORT, --processes=N and --process=I together")
    if known.coordinator and not re.fullmatch(r".+:\d{1,5}", known.coordinator):
        raise InputError(f"--coordinator={known.coordinator}: give it as HOST:PORT")
    return named if known.coordinator or known.distributed else None


def _shard(text: str) -> tuple[int, int]:
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and int(i) < int(n)):
        raise InputError(f"--shard={text}: give it as I/N with I from 0 to N - 1: 0/4, 1/4, 2/4 and 3/4 make a whole")
    return int(i), int(n)
