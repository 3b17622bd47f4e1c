"""The processes that train one sweep together."""

from typing import NamedTuple


class Cluster(NamedTuple):
    """The processes that train a sweep together. What is None is read from SLURM, Open MPI, a TPU pod or GKE."""

    coordinator: str | None = None  # HOST:PORT of process 0
    processes: int | None = None
    process: int | None = None  # the number of this one, from 0
