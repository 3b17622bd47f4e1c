"""Settings every test runs under, and where real data is found."""

import os
from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets beside the project; tests that need it are skipped where it is absent."""
    root = Path(__file__).parents[1]
    path = Path(os.environ.get("SHARP_UNET_TEST_DATA", root.parent / "shared" / "data"))
    if not (path / "manual").is_dir():
        pytest.skip(f"real data is not at {path} (SHARP_UNET_TEST_DATA names another place)")
    return path
