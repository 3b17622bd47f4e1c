"""Programs of an epoch, compiled for TPUs on a machine that has none: memory, traffic, the compiler's own seconds.

    pip install libtpu
    python bench/compiled_tpu.py --models=unet,sharp_unet --topology=v6e:2x2 --chips=1 --batch=16

Each line of JSON is a program: the loop that trains an epoch, the loop that evaluates it, and a step of prediction.
`flops`, `bytes` and `seconds` are of one step, or of one batch. `memory` is what a chip holds at once. `host` says
whether the program calls back to the host, which no program should. These are a compiler's figures, not measurements. A
program takes minutes to compile.
"""

import argparse
import json
import os
import time

# Before JAX is imported. libtpu asks the machine for its TPU otherwise.
os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "JAX_PLATFORMS": "cpu"}

import elsewhere
import jax
from jax.experimental import topologies

from sharp_unet_jax.config import Config, Data

TYPES = {"v5e": "v5litepod", "v6e": "v6e"}  # as libtpu calls them
PROGRAMS = ("train", "evaluate", "predict")
HOST = ("xla_python_cpu_callback", "xla_ffi_python", "SendToHost", "RecvFromHost", "host_compute")


def figures(epoch: elsewhere.Epoch, name: str) -> dict[str, object]:
    """Compile a program of PROGRAMS; return what the compiler says of it."""
    function = {
        "train": epoch.program.train_loop,
        "evaluate": epoch.program.eval_loop,
        "predict": epoch.program.predict_step,
    }[name]
    began = time.perf_counter()
    compiled = function.lower(*getattr(epoch, name)).compile()
    seconds = time.perf_counter() - began
    cost, memory, text = compiled.cost_analysis(), compiled.memory_analysis(), compiled.as_text()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return {
        "flops": cost["flops"],
        "bytes": cost["bytes accessed"],
        "seconds": cost.get("optimal_seconds"),
        "memory": held + memory.temp_size_in_bytes,
        "host": any(call in text for call in HOST),
        "compiling": round(seconds, 1),
    }


def main() -> None:
    """Compile each program and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="unet,sharp_unet")
    parser.add_argument("--programs", default=",".join(PROGRAMS))
    parser.add_argument("--topology", default="v6e:2x2", help="v5e or v6e, and the slice: 2x2, 4x4")
    parser.add_argument("--chips", type=int, default=1, help="of the slice, which share every batch")
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split(","))), default=(192, 256))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="bfloat16")
    args = parser.parse_args()
    kind, _, sides = args.topology.partition(":")
    rows, columns = map(int, sides.split("x"))
    os.environ["TPU_ACCELERATOR_TYPE"] = f"{TYPES[kind]}-{rows * columns}"  # libtpu is not loaded yet
    devices = topologies.get_topology_desc(platform="tpu", topology_name=args.topology).devices[: args.chips]
    for model in args.models.split(","):
        data = Data(size=args.size)
        config = Config(data=data, models=(model,), batch_size=args.batch, precision=args.precision)
        epoch = elsewhere.epoch(config, model, devices)
        for name in args.programs.split(","):
            of = {"jax": jax.__version__, "topology": args.topology, "chips": args.chips, "batch": args.batch}
            of |= {"size": args.size, "precision": args.precision, "model": model, "program": name}
            print(json.dumps(of | figures(epoch, name)), flush=True)


if __name__ == "__main__":
    main()
