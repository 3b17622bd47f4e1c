"""Settings every test runs under, tiny networks, a tiny data set, and where real data is found."""

import dataclasses
import os
import shutil
from pathlib import Path

import hypothesis
import jax
import jaxlib.version
import numpy as np
import pytest
from flax import nnx

from sharp_unet_jax import models
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.models import decoder, layers
from sharp_unet_jax.report import paper_tables
from sharp_unet_jax.training import epochs
from tests.tiny_sweep import make
from tests.training import fits

# Tests compile hundreds of small programs and run each for moments: compiling fast beats compiling well. XLA reads this
# when JAX first uses the CPU; processes that tests start inherit it.
FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
if jaxlib.version.__version_info__ < (0, 11):  # its older code for fusions compiles in two thirds of the time
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", FLAGS)
# The first example often compiles, and machines are busy: no example is late.
hypothesis.settings.register_profile("compiling", deadline=None)
hypothesis.settings.load_profile("compiling")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 8)
# Simulated devices share one pool of threads, as large as the machine has cores. A reduction holds a thread of each
# device until all have come; where two run at once on a small machine, they wait for each other and XLA aborts.
os.environ["NPROC"] = "64"


def pytest_configure(config):
    """One cache of compiled programs for all workers, and for the next call: `pytest --cache-clear` empties it.

    The environment hands it to the processes that tests start, and keeps commands from setting their own.
    """
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(config.cache.mkdir("compiled"))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture(autouse=True, scope="module")
def programs():
    """Forget the compiled programs of a file after it: a worker would hold 5 GB of them at the end."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets beside the project; tests that need it are skipped where it is absent."""
    root = Path(__file__).parents[1]
    path = Path(os.environ.get("SHARP_UNET_TEST_DATA", root.parent / "shared" / "data"))
    if not (path / "manual").is_dir():
        pytest.skip(f"real data is not at {path} (SHARP_UNET_TEST_DATA names another place)")
    return path


def shrink_models(patch: pytest.MonkeyPatch, widths: tuple[int, ...] = (4, 8)) -> None:
    """Give `unet` and every `sharp_unet` these widths: two levels run the code of five, and compile in seconds."""
    for name, network in list(models.MODELS.items()):
        if network.network == "unet":
            patch.setitem(models.MODELS, name, network._replace(parts=models._unet(widths)))


@pytest.fixture
def tiny_models(monkeypatch):
    shrink_models(monkeypatch)


@pytest.fixture(scope="module")
def tiny_programs():
    """Shrink models as `tiny_models` does, for a whole file whose sweeps share their compiled programs.

    Such a file checks what lies around a program. Programs that are built anew, and give the same bytes, are those of
    tests/sweeps/test_sweep.py.
    """
    kept, build = {}, epochs.build

    def built(config, model, dataset, pairs, devices, weights=None):
        of_the_sweep = {"models": (), "repeats": 0, "max_runs": 0, "epochs": 0, "patience": 0, "checkpoint_minutes": 0}
        same = dataclasses.replace(config, **of_the_sweep)
        key = repr(same), models.MODELS[model], dataset.sha256, pairs is None, tuple(devices)
        if key not in kept:
            kept[key] = build(config, model, dataset, pairs, devices)
        definition = dataclasses.replace(kept[key].definition, config=config)
        program = dataclasses.replace(kept[key], definition=definition, dataset=dataset, pairs=pairs, weights=weights)
        return program.weighting(np.ones(len(dataset.classes), np.float32)) if config.class_weights else program

    with pytest.MonkeyPatch.context() as patch:
        shrink_models(patch)
        patch.setattr(epochs, "build", built)
        yield


@pytest.fixture
def program(tiny_models, dataset):
    """Compiled parts of the tiny `sharp_unet`."""
    return fits.make(fits.CONFIG, "sharp_unet", dataset)


class NormedEncoder(nnx.Module):
    """Two convolutions with stride 2 and batch normalisation: all that networks with pretrained encoders have."""

    stride = 4
    widths = (4, 6)

    def __init__(self, in_channels, *, rngs):
        self.conv1, self.bn1 = layers.Conv(in_channels, 4, 3, 2, bias=False, rngs=rngs), layers.BatchNorm(4)
        self.conv2, self.bn2 = layers.Conv(4, 6, 3, 2, bias=False, rngs=rngs), layers.BatchNorm(6)

    def __call__(self, x, weight=None):
        first = jax.nn.relu(self.bn1(self.conv1(x), weight))
        return [first, jax.nn.relu(self.bn2(self.conv2(first), weight))]


@pytest.fixture
def normed(monkeypatch):
    """Register a tiny network with batch normalisation, as a user would; return its name."""

    def parts(*, num_classes, in_channels, rngs):
        encoder = NormedEncoder(in_channels, rngs=rngs)
        return encoder, decoder.Decoder(encoder.widths, num_classes=num_classes, rngs=rngs)

    monkeypatch.setattr(decoder, "WIDTHS", (6, 4))
    monkeypatch.setitem(models.MODELS, "sharp_normed", models.Network(parts, "normed", "sharp", "normed"))
    return "sharp_normed"


def squares(
    n: int = 12, size: tuple[int, int] = (16, 24), classes: int = 2, channels: int = 3, seed: int = 0
) -> Dataset:
    """Bright rectangles on a dark ground, one for each foreground class: a network learns them in a few epochs."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (n, *size, channels), np.uint8)
    masks = np.zeros((n, *size), np.uint8)
    for index in range(n):
        for label in range(1, classes):
            top, left = rng.integers(0, size[0] - 6), rng.integers(0, size[1] - 8)
            masks[index, top : top + 6, left : left + 8] = label
            images[index, top : top + 6, left : left + 8] = 255 - 60 * (label - 1)
    ids = tuple(f"{index:03}" for index in range(n))
    names = ("background", "square", "other", "third")[:classes]
    return Dataset("squares", images, masks, ids, tuple(f"g{index // 2}" for index in range(n)), names)


@pytest.fixture
def dataset() -> Dataset:
    """Twelve pairs in six groups."""
    return squares()


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the files of figures empty: drawing a report's takes seconds, and tests in tests/report/ look at them."""

    def save(figure, file, **options):
        file.touch() if isinstance(file, Path) else file.write("<svg></svg>")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", save)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A sweep made once for all tests, which only read it; `done` is a copy of it for each test."""
    with pytest.MonkeyPatch.context() as patch:
        shrink_models(patch)
        folder = tmp_path_factory.mktemp("sweep") / "w"
        make(folder, squares())
    before = _contents(folder)
    yield folder
    assert _contents(folder) == before, "a test changed the sweep of all tests: let it take `done`"


def _contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def with_tables(finished, tmp_path_factory):
    """`finished` with its tables, which tests only read."""
    folder = shutil.copytree(finished, tmp_path_factory.mktemp("tables") / "w")
    paper_tables.write(folder)
    return Path(folder)


@pytest.fixture
def done(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "w"))
