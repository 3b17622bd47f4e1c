"""The process that all fuzzers share."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fuzz import harness
from tests.fuzz.harness import Kind
from tests.fuzz.worker import Worker


def prepare() -> None:
    """Make JAX's start-up and the tests' tiny networks part of the process's start, not of its first case."""
    import jax

    from launch.console import runtime
    from tests.conftest import shrink_models

    jax.config.update("jax_num_cpu_devices", 1)
    jax.config.update("jax_compilation_cache_dir", os.environ["FUZZ_COMPILED"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    shrink_models(pytest.MonkeyPatch())
    runtime.configure()


@pytest.fixture(scope="session")
def worker(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Worker]:
    os.environ["FUZZ_COMPILED"] = str(request.config.cache.mkdir("compiled"))
    worker = Worker(prepare, tmp_path_factory.mktemp("worker") / "stderr")
    yield worker
    worker.stop()


@pytest.fixture
def fuzz(worker: Worker, tmp_path: Path) -> Callable[[Kind], None]:
    """Return a function that runs the cases of a kind, and fails with the causes that it found."""

    def check(kind: Kind) -> None:
        failing = harness.run(kind, worker, tmp_path, harness.numbers(kind))
        if failing:
            pytest.fail(harness.report(kind, failing), pytrace=False)

    return check
