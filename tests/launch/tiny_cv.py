"""launch.cv with the tests' tiny networks and data set, for tests that need a process:

DEVICES=2 python -m tests.launch.tiny_cv ...
"""

import os

import jax
import pytest

from launch import cv
from launch.console import runtime
from tests.conftest import shrink_models, squares
from tests.uneven import uneven


def main() -> None:
    jax.config.update("jax_num_cpu_devices", int(os.environ["DEVICES"]))
    runtime.HEARTBEAT = 10
    with pytest.MonkeyPatch.context() as patch:
        shrink_models(patch)
        height = int(os.environ.get("HEIGHT", "16"))  # thousands make steps of seconds
        patch.setattr(
            "launch.console.dataset.load",
            lambda data, console: (
                1 / 0 if "FAULT" in os.environ else uneven() if data.fit == "crop" else squares(size=(height, 24))
            ),
        )
        patch.setattr(cv, "_report", lambda folder, console: None)  # takes seconds, and has tests of its own
        cv.main()


if __name__ == "__main__":
    main()
