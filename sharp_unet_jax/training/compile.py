"""What is asked of XLA: options and precision by platform, and how many images an evaluation takes at once."""

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

# XLA gives products, and in jaxlib 0.10 convolutions, on the CPU to a library that is slower than its own: one of 32
# channels runs on a single core.
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}
# XLA's defaults, convolutions and loops: an epoch is one CUDA graph, and the host waits for its end alone. Where
# several GPUs share a batch it is many, between what they exchange.
_COMMAND_BUFFERS = "CONDITIONAL,CONVOLUTION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,DYNAMIC_SLICE_FUSION,FUSION,WHILE"
_GPU_OPTIONS = {"xla_gpu_enable_command_buffer": _COMMAND_BUFFERS}
_DETERMINISTIC_OPTIONS = {"xla_gpu_deterministic_ops": True}  # no sums in any order, and no autotuning
_CPU_PIXELS = 400_000  # with arrays of more pixels it is up to a sixth slower (bench/tried.md)


def matmul_precision(config: Config, platform: str) -> str | None:
    """For `jax.default_matmul_precision`, on "cpu", "gpu" or "tpu".

    Left to itself, a GPU multiplies float32 in TensorFloat-32 and a TPU in bfloat16. The CPU has one precision.
    """
    return None if platform == "cpu" else {"float32": "highest", "tf32": "tensorfloat32"}.get(config.precision)


def eval_batch_size(config: Config, size: Size, devices: Sequence[jax.Device]) -> int:
    """Images (height, width) that `devices` evaluate or predict at once: a training's batch, on the CPU often fewer."""
    each = -(-config.batch_size // len(devices))
    if devices[0].platform == "cpu":
        each = min(each, max(1, _CPU_PIXELS // math.prod(size)))
    return each * len(devices)


def jit(function: Callable[..., Any], config: Config, platform: str, **options: Any) -> Callable[..., Any]:
    """`jax.jit` with what is asked of XLA on "cpu", "gpu" or "tpu": options, and the precision of its products."""
    if platform == "gpu":
        _start_cudnn()
    precise = jax.default_matmul_precision(matmul_precision(config, platform))(function)
    if isinstance(function, functools.partial):  # it has no name, and XLA names the program after the function
        precise.__name__ = function.func.__name__
    return jax.jit(precise, compiler_options=compiler_options(config, platform), **options)


def compiler_options(config: Config, platform: str) -> dict[str, Any]:
    """For `jax.jit`, on "cpu", "gpu" or "tpu"."""
    if platform != "gpu":
        return _CPU_OPTIONS if platform == "cpu" else {}
    return _GPU_OPTIONS | (_DETERMINISTIC_OPTIONS if config.deterministic else {})


@functools.cache
def _start_cudnn() -> None:
    """A convolution and its gradients, outside of any CUDA graph, on every device of this process.

    cuDNN takes memory and loads its kernels when it is first used, which fails while a graph is being recorded, and
    XLA records one before it runs anything. Autotuning uses it before; but a program that comes from the cache of
    compilations, as of a sweep that is resumed, is not tuned again. Seen with jax 0.11.2, cuDNN 9.19, on an H200.
    """

    def convolved(x: jax.Array, w: jax.Array, bias: jax.Array) -> jax.Array:
        y = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jnp.sum(jax.nn.relu(y + bias).astype(jnp.float32) ** 2)

    once = jax.jit(jax.value_and_grad(convolved, (0, 1, 2)), compiler_options={"xla_gpu_enable_command_buffer": ""})
    shapes = (2, 16, 16, 64), (3, 3, 64, 64), (1, 1, 1, 64)
    for device in jax.local_devices():
        with contextlib.suppress(
            jax.errors.JaxRuntimeError
        ):  # of a device that is full of another's work: perhaps unused
            jax.block_until_ready(once(*(jnp.ones(shape, jnp.bfloat16, device=device) for shape in shapes)))
