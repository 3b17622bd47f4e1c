"""The GPU's lowerings against the definitions, and an epoch in one call against step by step.

Without a GPU, as in CI, the lowerings run on the CPU and the other tests are skipped. On a machine with a GPU run
`python -m pytest tests/test_gpu.py`.
"""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from sharp_unet_jax import models, ops
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.training import compile, epochs, train

HERE = jax.default_backend() == "gpu"
needs_gpu = pytest.mark.skipif(not HERE, reason="there is no GPU here")

# Error of a sum in bfloat16 and in float32, relative to the largest value.
TOLERANCE = {jnp.bfloat16: 2e-2, jnp.float32: 1e-5}


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def value_and_gradients(f, args):
    """Return f's output and the gradients of a weighted sum of it; the weights are exact in bfloat16."""

    def loss(*args):
        y = f(*args).astype(jnp.float32)
        return jnp.sum(y * normal(9, *y.shape).astype(jnp.bfloat16).astype(jnp.float32)), y

    with jax.default_matmul_precision("highest"):
        (_, y), gradients = jax.jit(jax.value_and_grad(loss, tuple(range(len(args))), has_aux=True))(*args)
    return [y, *gradients]


def assert_near(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        one, other = np.asarray(one, np.float32), np.asarray(other, np.float32)
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


OPERATIONS = {
    "sharpen": (ops.sharpen, [(2, 10, 12, 32)]),
    "sharpen, reflecting": (lambda x: ops.sharpen(x, "random", "reflect"), [(2, 10, 12, 8)]),
    "sharpen, learnable": (ops.sharpen, [(2, 9, 7, 5), (3, 3, 5)]),
    "sharpen, mostly border": (lambda x: ops.sharpen(x, "laplacian_of_gaussian"), [(2, 3, 4, 8)]),
    "sharp_skip": (ops.sharp_skip, [(2, 10, 12, 24), (2, 10, 12, 32)]),
    "sharp_skip, more channels": (ops.sharp_skip, [(2, 5, 6, 24), (2, 5, 6, 40)]),
    "sharp_skip, reflecting": (
        lambda b, x: ops.sharp_skip(b, x, "random", "reflect"),
        [(2, 10, 12, 3), (2, 10, 12, 8)],
    ),
    "sharp_skip, learnable": (ops.sharp_skip, [(2, 9, 7, 3), (2, 9, 7, 5), (3, 3, 5)]),
    "max_pool": (lambda x: ops.max_pool(ops.relu(x)), [(2, 9, 11, 16)]),
    "max_pool of 3x3": (lambda x: ops.max_pool(ops.relu(x), 3), [(2, 9, 11, 16)]),
    "up_conv": (ops.up_conv, [(2, 5, 6, 24), (2, 2, 24, 8)]),
    "add_bias": (ops.add_bias, [(2, 40, 50, 8), (8,)]),
    "add_bias, more than 1024 lines": (ops.add_bias, [(3, 350, 3, 8), (8,)]),
    **{
        f"conv3x3 {i} to {o}, {width} wide": (ops.conv3x3, [(2, 6, width, i), (3, 3, i, o), (o,)])
        for i, o, width in [
            (3, 32, 16),
            (32, 32, 16),
            (64, 32, 16),
            (32, 64, 16),
            (16, 1, 16),
            (32, 32, 15),
            (1, 8, 16),
        ]
    },
    "conv3x3 without a bias": (ops.conv3x3, [(2, 6, 16, 32), (3, 3, 32, 32)]),
}


@pytest.fixture
def gpu_lowerings(monkeypatch):
    """Use the GPU's lowerings on every platform."""
    if not HERE:
        take = lambda *args, default, cuda=None, **_: (cuda or default)(*args)  # noqa: E731
        monkeypatch.setattr(lax, "platform_dependent", take)


@pytest.mark.usefixtures("gpu_lowerings")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=["bfloat16", "float32"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_its_definition(name, dtype):
    f, shapes = OPERATIONS[name]
    args = [normal(seed, *shape).astype(dtype) for seed, shape in enumerate(shapes)]
    with ops.by_definition():
        expected = value_and_gradients(f, [arg.astype(jnp.float32) for arg in args])
    assert_near(value_and_gradients(lambda *args: f(*args), args), expected, TOLERANCE[dtype])


@pytest.mark.usefixtures("gpu_lowerings")
def test_a_tie_goes_to_the_first_in_reading_order():
    x = np.random.default_rng(0).integers(0, 2, (2, 10, 12, 3)).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(ops.max_pool(x))))
    found = np.asarray(gradient(x)).reshape(2, 5, 2, 6, 2, 3).transpose(0, 1, 3, 5, 2, 4).reshape(-1, 4)
    windows = x.reshape(2, 5, 2, 6, 2, 3).transpose(0, 1, 3, 5, 2, 4).reshape(-1, 4)
    np.testing.assert_array_equal(found, np.eye(4)[windows.argmax(axis=1)])


@pytest.mark.usefixtures("gpu_lowerings")
def test_a_sharp_block_ignores_pixels_outside_of_the_image():
    """The kernel reads the nearest pixel inside instead and discards it: times zero, an infinity would be NaN."""
    x = jnp.zeros((1, 4, 5, 1)).at[0, 0, 4, 0].set(jnp.inf)
    reached = np.zeros((4, 5), bool)
    reached[:2, 3:] = True
    np.testing.assert_array_equal(~np.isfinite(ops.sharpen(x)[0, :, :, 0]), reached)


@pytest.mark.usefixtures("gpu_lowerings")
def test_the_gradient_of_a_bias_is_summed_in_float32():
    """bfloat16 cannot hold 259, the sum of a line. The total, 777, is rounded once, to 776."""
    x, bias = jnp.ones((3, 1, 259, 1), jnp.bfloat16), jnp.zeros(1, jnp.bfloat16)
    gradient = jax.grad(lambda bias: jnp.sum(ops.add_bias(x, bias).astype(jnp.float32)))(bias)
    np.testing.assert_array_equal(gradient.astype(jnp.float32), [776])


def test_cudnn_is_started_before_a_gpus_program_is_compiled(monkeypatch):
    started = []
    monkeypatch.setattr(compile, "_start_cudnn", lambda: started.append("cudnn"))
    compile.jit(jnp.sin, Config(), "cpu")
    assert not started
    compile.jit(jnp.sin, Config(), "gpu")
    assert started


def test_what_starts_cudnn_runs():
    compile._start_cudnn.__wrapped__()


FROM_CACHE = """
import sys
import jax, numpy as np
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.training import epochs, train
rng, ids = np.random.default_rng(0), tuple(map(str, range(16)))
images, masks = rng.integers(0, 256, (16, 32, 32, 3), np.uint8), rng.integers(0, 2, (16, 32, 32), np.uint8)
dataset, devices = Dataset("noise", images, masks, ids, ids, ("background", "object")), jax.devices()[:1]
config = Config(models=("sharp_unet",), batch_size=8, precision=sys.argv[2])
program = epochs.build(config, "sharp_unet", dataset, epochs.put(dataset, devices), devices)
state, (index, weight) = program.init(0), train.batches(np.arange(16), 8, program.batch_size)
for _ in range(3):
    state, totals = program.train(state, index, weight, 1e-3, False, np.zeros(2, np.uint32))
print("losses", *np.asarray(totals), *np.asarray(program.evaluate(state, index)[0]).ravel()[:2])
"""


@needs_gpu
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_programs_from_the_cache_run(tmp_path, precision):
    """cuDNN cannot start while a CUDA graph is recorded: the second process, whose programs are cached, would fail."""
    command = [sys.executable, "-c", FROM_CACHE, str(tmp_path), precision]
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    losses = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
        assert "losses" in done.stdout, done.stderr[-2000:]
        losses.append([float(word) for word in done.stdout.split()[1:]])
    assert any(tmp_path.glob("jit_train_loop-*"))
    np.testing.assert_allclose(*losses, rtol=1e-3)  # the order of sums varies


@needs_gpu
def test_a_networks_gradients_are_as_close_as_the_definitions():
    """bfloat16 gradients differ from float32's, as rounding changes ReLUs and maxima: the definitions set the bound."""
    x = jnp.asarray(np.random.default_rng(0).random((2, 64, 64, 3)), jnp.float32)

    def gradients(dtype):
        graph, params, rest = nnx.split(models.build("sharp_unet", rngs=nnx.Rngs(0), dtype=dtype), nnx.Param, ...)

        def loss(params):
            y = nnx.merge(graph, params, rest)(x)
            return jnp.sum(y * normal(9, *y.shape))

        with jax.default_matmul_precision("highest"):
            return jax.tree.leaves(jax.jit(jax.grad(loss))(params))

    with ops.by_definition():
        exact, defined = gradients(jnp.float32), gradients(jnp.bfloat16)
    for leaf, one, by_definition, reference in zip(
        gradients(jnp.float32), gradients(jnp.bfloat16), defined, exact, strict=True
    ):
        size = jnp.linalg.norm(reference)
        assert jnp.linalg.norm(leaf - reference) <= 0.03 * size
        assert jnp.linalg.norm(one - reference) <= 1.3 * jnp.linalg.norm(by_definition - reference) + 0.003 * size


@needs_gpu
@pytest.mark.parametrize("model", ["ternausnet16", "unet_resnet18", "sharp_unet_resnet34", "sharp_unet_resnet50"])
def test_networks_with_other_encoders_train(model):
    """XLA can abort the process while it compiles such networks (openxla/xla#47381)."""
    rng, ids = np.random.default_rng(0), tuple("ab")
    images, masks = rng.integers(0, 256, (2, 64, 96, 3), np.uint8), rng.integers(0, 2, (2, 64, 96), np.uint8)
    dataset, devices = Dataset("noise", images, masks, ids, ids, ("background", "object")), jax.devices()[:1]
    config = Config(models=(model,), batch_size=2, precision="bfloat16")
    program = epochs.build(config, model, dataset, epochs.put(dataset, devices), devices)
    index, weight = train.batches(np.arange(2), 2, program.batch_size)
    state, totals = program.train(program.init(0), index, weight, 1e-3, False, np.zeros(2, np.uint32))
    assert np.isfinite(totals).all()
    assert np.isfinite(program.evaluate(state, index)[0]).all()


@needs_gpu
def test_an_epoch_in_one_call_is_its_steps(tiny_models):
    rng = np.random.default_rng(0)
    images, masks = rng.integers(0, 256, (10, 32, 32, 3), np.uint8), rng.integers(0, 2, (10, 32, 32), np.uint8)
    ids = tuple(map(str, range(10)))
    dataset = Dataset("noise", images, masks, ids, ids, ("background", "object"))
    config, devices = Config(models=("sharp_unet",), batch_size=4), jax.devices()[:1]
    losses = []
    for loop in (True, False):
        program = epochs.build(config, "sharp_unet", dataset, epochs.put(dataset, devices), devices, loop=loop)
        state, totals_of = program.init(0), []
        for epoch in range(2):  # the first records the CUDA graph, the second runs it
            index, weight = train.batches(np.arange(10), 4, program.batch_size)
            state, totals = program.train(state, index, weight, 1e-3, False, np.array([0, epoch], np.uint32))
            totals_of.append(np.asarray(totals))
        losses.append([*totals_of, *program.evaluate(state, index)])
    for one, other in zip(*losses, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)
