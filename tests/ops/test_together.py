"""Several operations in one small network: sharded over devices, and lowered for each platform."""

import subprocess
import sys

import jax
import jax.numpy as jnp
from jax import Array

from sharp_unet_jax.ops import conv3x3, max_pool, sharpen, up_conv
from tests.ops.compare import normal


def small_network(x: Array, w: Array, up: Array, kernel: Array) -> Array:
    x = jax.nn.relu(conv3x3(x, w))
    y = up_conv(max_pool(x), up)
    return jnp.sum(conv3x3(jnp.concatenate([sharpen(x, kernel), y], -1), jnp.concatenate([w, w], 2)) ** 2)


SHARDED = """
import sys
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
sys.path.insert(0, ".")
from tests.ops.compare import normal
from tests.ops.test_together import small_network
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
args = normal(0, 8, 12, 10, 4), normal(1, 3, 3, 4, 4), normal(2, 2, 2, 4, 4), normal(3, 3, 3, 4)
f = jax.jit(jax.value_and_grad(small_network, (0, 1, 2, 3)))
mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
placed = [jax.device_put(a, NamedSharding(mesh, P("batch") if i == 0 else P())) for i, a in enumerate(args)]
alone, together = f(*args), f(*placed)
assert len(together[1][0].sharding.device_set) == 4 and not together[1][0].sharding.is_fully_replicated
for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(abs(a).max()))
print("equal")
"""


def test_a_batch_sharded_over_devices_gives_the_same_gradients():
    done = subprocess.run([sys.executable, "-c", SHARDED], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "equal", done.stderr


def test_other_platforms_get_the_definitions():
    """A TPU's program has grouped convolutions and select-and-scatter, and no convolution in parts."""
    args = normal(0, 6, 12, 10, 32), normal(1, 3, 3, 32, 32), normal(2, 2, 2, 32, 32), normal(3, 3, 3, 32)
    traced = jax.jit(jax.grad(small_network, (0, 1, 2, 3))).trace(*args)
    cpu, tpu, gpu = (traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "tpu", "cuda"))
    for text in ("feature_group_count = 32", "select_and_scatter"):
        assert text in tpu
        assert text not in cpu
    assert "select_and_scatter" not in gpu
    assert tpu.count("stablehlo.convolution") == 3 * 3  # two and the sharpening, each with two gradients
    assert cpu.count("stablehlo.convolution") == 2 * 3 * 6
