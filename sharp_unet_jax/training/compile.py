"""Compilation: XLA's options and the precision of products by platform, and the size of evaluation batches."""

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resize import Size

# XLA's CPU compiler gives matrix products, and in jaxlib 0.10 convolutions, to YNNPACK. That is slower than XLA's own
# code: a convolution of 32 channels runs on one core.
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}
# XLA's defaults, and convolutions and loops: an epoch is one CUDA graph, and the host waits only for its end. With
# several GPUs, collectives split the epoch into several graphs.
_COMMAND_BUFFERS = "CONDITIONAL,CONVOLUTION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,DYNAMIC_SLICE_FUSION,FUSION,WHILE"
_GPU_OPTIONS = {"xla_gpu_enable_command_buffer": _COMMAND_BUFFERS}
_DETERMINISTIC_OPTIONS = {"xla_gpu_deterministic_ops": True}  # a fixed order of sums, and no autotuning
_CPU_PIXELS = 400_000  # batches of more pixels are evaluated up to a sixth slower (bench/tried.md)


def matmul_precision(config: Config, platform: str) -> str | None:
    """Return the argument of `jax.default_matmul_precision` for "cpu", "gpu" or "tpu".

    By default a GPU multiplies float32 in TensorFloat-32 and a TPU in bfloat16. The CPU has one precision.
    """
    exact = {"float32": "highest", "tf32": "tensorfloat32" if platform == "gpu" else "highest"}
    return None if platform == "cpu" else exact.get(config.precision)


def eval_batch_size(config: Config, size: Size, devices: Sequence[jax.Device]) -> int:
    """Return how many images of `size` (height, width) the devices evaluate or predict at once, together.

    It is the batch of training, rounded up to a multiple of the devices. On a CPU it is often smaller.
    """
    each = -(-config.batch_size // len(devices))
    if devices[0].platform == "cpu":
        each = min(each, max(1, _CPU_PIXELS // math.prod(size)))
    return each * len(devices)


def jit(function: Callable[..., Any], config: Config, platform: str, **options: Any) -> jax.stages.Wrapped:
    """Return `jax.jit(function, **options)` with XLA's options and the precision of products that the config asks for.

    `platform` is that of the devices that run it: "cpu", "gpu" or "tpu".
    """
    if platform == "gpu":
        _start_cudnn()
    precise = jax.default_matmul_precision(matmul_precision(config, platform))(function)
    if isinstance(function, functools.partial):  # XLA names the program after the function, and a partial has no name
        precise.__name__ = function.func.__name__
    return jax.jit(precise, compiler_options=compiler_options(config, platform), **options)


def compiler_options(config: Config, platform: str) -> dict[str, Any]:
    """Return the `compiler_options` of `jax.jit` for "cpu", "gpu" or "tpu"."""
    if platform != "gpu":
        return _CPU_OPTIONS if platform == "cpu" else {}
    return _GPU_OPTIONS | (_DETERMINISTIC_OPTIONS if config.deterministic else {})


@functools.cache
def _start_cudnn() -> None:
    """Run a convolution and its gradients on every device of this process, outside of a CUDA graph.

    cuDNN takes memory and loads kernels at its first use. That fails while a CUDA graph is recorded, and XLA records
    one before it runs anything. Autotuning uses cuDNN earlier, but a program from the compilation cache, as in a
    resumed sweep, is not tuned. Seen with jax 0.11.2 and cuDNN 9.19 on an H200.
    """

    def loss(x: jax.Array, w: jax.Array, bias: jax.Array) -> jax.Array:
        y = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jnp.sum(jax.nn.relu(y + bias).astype(jnp.float32) ** 2)

    program = jax.jit(jax.value_and_grad(loss, (0, 1, 2)), compiler_options={"xla_gpu_enable_command_buffer": ""})
    shapes = (2, 16, 16, 64), (3, 3, 64, 64), (1, 1, 1, 64)
    for device in jax.local_devices():
        # A device may be full of another process's work; it is perhaps not used here.
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            jax.block_until_ready(program(*(jnp.ones(shape, jnp.bfloat16, device=device) for shape in shapes)))
