"""Kernels and bytes of a training step, compiled for an H200 on a machine that needs none.

    pip install "jax[cuda12]"
    python bench/compiled.py --model=sharp_unet --fit=stretch,crop --size=192,256 --batch=16

XLA compiles the loop of an epoch from a description of the GPU, without autotuning. Counted are the operations in the
body of the loop that become kernels, and the bytes of their operands and results; the data set itself, of which a step
gathers a little, is left out. These are a compiler's figures, not measurements.
"""

import argparse
import math
import os
import re

os.environ |= {"JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1", "JAX_PLATFORMS": "cpu"}  # before JAX is imported

import elsewhere
import jax
from jax.experimental import topologies

from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.training import compile

H200 = """
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: 233472 shared_memory_per_block_optin: 232448
  core_count: 132 fpus_per_core: 128 registers_per_core_limit: 65536 registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4916224000000 l2_cache_size: 62914560 clock_rate_ghz: 1.98 device_memory_size: 150000000000
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H200"
"""
BYTES = {"f32": 4, "bf16": 2, "f16": 2, "u8": 1, "s8": 1, "s32": 4, "u32": 4, "pred": 1, "s64": 8, "u64": 8}
# Operations that become kernels or copies of memory.
KERNELS = {"fusion", "custom-call", "copy", "convert", "reduce", "concatenate", "transpose", "scatter", "gather"}
KERNELS |= {"dynamic-update-slice", "dynamic-slice"}
DATASET = 5e6  # bytes from which on an array of uint8 is the data set


def compiled(model: str, fit: str, size: tuple[int, int], batch: int, precision: str) -> str:
    """Return the compiled program of an epoch as text."""
    device = topologies.get_topology_desc("x", "cuda", target_config=H200, topology="1x1x1").devices[0]
    config = Config(data=Data(size=size, fit=fit), models=(model,), batch_size=batch, precision=precision)
    epoch = elsewhere.epoch(config, model, [device])
    lowered = epoch.program.train_loop.lower(*epoch.train)
    return lowered.compile(compiler_options={"xla_gpu_autotune_level": 0}).as_text()


def counted(program: str) -> tuple[int, float]:
    """Return the kernels in the body of the loop, and the bytes that they read and write."""
    computations = re.split(r"\n(?=%|ENTRY)", program)
    body = max((one for one in computations if not one.startswith("ENTRY")), key=lambda one: one.count(" fusion("))
    shapes: dict[str, str] = {}
    kernels, total = 0, 0.0
    for line in body.splitlines():
        found = re.match(r"\s*(?:ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)", line)
        if not found:
            continue
        name, shape, operation, rest = found.groups()
        shapes[name] = shape
        if operation in KERNELS:
            operands = [shapes.get(each, "") for each in re.findall(r"%([\w.\-]+)", rest.split("), ")[0])]
            kernels += 1
            total += sum(map(_bytes, [shape, *(one for one in operands if "u8[" not in one or _bytes(one) < DATASET)]))
    return kernels, total


def _bytes(shape: str) -> int:
    arrays = re.findall(r"(\w+)\[([\d,]*)\]", shape)
    return sum(BYTES.get(kind, 0) * math.prod(int(side) for side in sides.split(",") if side) for kind, sides in arrays)


def main() -> None:
    """Compile each and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sharp_unet")
    parser.add_argument("--fit", default="stretch,crop")
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split(","))), default=(192, 256))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="bfloat16")
    args = parser.parse_args()
    compile._start_cudnn = lambda: None  # there is no GPU to start it on
    print(f"jax {jax.__version__}, {args.model}, {args.size[0]}x{args.size[1]}, batch {args.batch}, {args.precision}")
    for fit in args.fit.split(","):
        kernels, total = counted(compiled(args.model, fit, args.size, args.batch, args.precision))
        print(f"{fit}: {kernels} kernels, {total / 1e6:,.0f} MB per step")


if __name__ == "__main__":
    main()
