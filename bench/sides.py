"""Sides that `speed.py` compares: this project's steps and PyTorch's, each a generator that yields when it is asked.

A case is a dict from JSON: model, batch, size, precision, mode, platform, steps (of a call), seconds (of a round), twin
(a file), setting. The first dict that a side yields is about its warm-up, each further one has the figures of a round.
"""

import importlib.metadata
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Setting(NamedTuple):
    """Options of PyTorch."""

    channels_last: bool = False
    compiled: str = ""  # mode of torch.compile; "" is eager
    gpu_only: bool = False


SETTINGS = {
    "eager": Setting(),
    "channels_last": Setting(channels_last=True),
    "compile": Setting(compiled="default"),
    "compile channels_last": Setting(channels_last=True, compiled="default"),
    "compile channels_last, CUDA graphs": Setting(channels_last=True, compiled="reduce-overhead", gpu_only=True),
}


def twin(case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Write our network and its logits for `torch_twins.agree`; yield the machine and the speed of a matrix product."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from sharp_unet_jax import models

    rng = np.random.default_rng(0)
    model = models.build(case["model"], rngs=nnx.Rngs(0))
    leaves = dict(nnx.to_flat_state(nnx.state(model)))
    for path, leaf in leaves.items():
        if leaf.ndim == 1 < len(path):  # biases and statistics start at 0 and 1, which would hide a mix-up
            leaves[path] = leaf.replace(leaf[...] + rng.uniform(0, 0.2, leaf.shape).astype(np.float32))
    nnx.update(model, nnx.from_flat_state(list(leaves.items())))
    image = rng.random((2, 64, 96, 3), np.float32)
    with jax.default_matmul_precision("highest"):
        logits = nnx.jit(lambda model, x: model(x))(model, image)
    weights = {".".join(map(str, path)): leaf[...] for path, leaf in leaves.items()}
    np.savez(case["twin"], image=image, logits=logits, **weights)

    device, rates = jax.devices()[0], []
    size, dtype = (2048, jnp.float32) if device.platform == "cpu" else (8192, jnp.bfloat16)
    matrix = jnp.ones((size, size), dtype)
    product = jax.jit(jnp.matmul)
    for _ in range(8):
        start = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        rates.append(2 * size**3 / (time.perf_counter() - start) / 1e12)
    yield {
        "platform": device.platform,
        "device": device.device_kind,
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.platform(),
        "load average": os.getloadavg()[0],  # of the last minute; if well above 0, do not trust the figures
        "matrix product": f"{size}x{size} {matrix.dtype}",
        "matrix product TFLOP/s": max(rates),
        **versions("jax", "jaxlib", "flax"),
    }


def ours(case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time this project's steps, as a run takes them."""
    import jax
    from flax import nnx

    from sharp_unet_jax import ops
    from sharp_unet_jax.config import Config
    from sharp_unet_jax.data.resident import Dataset
    from sharp_unet_jax.training import epochs, train

    jax.config.update("jax_enable_compilation_cache", False)
    images, masks = pairs_of(case)
    ids = tuple(map(str, range(len(images))))
    dataset = Dataset("bench", images, masks, ids, ids, ("background", "object"))
    config = Config(models=(case["model"],), batch_size=case["batch"], precision=case["precision"])
    devices = jax.devices()[:1]
    program = epochs.build(config, case["model"], dataset, epochs.put(dataset, devices), devices)
    state = program.init(0)
    size, padded = case["batch"], program.batch_size
    if case["mode"] == "infer":
        size = padded = program.eval_batch_size
    index, weight = train.batches(np.arange(len(images)), size, padded)

    def steps() -> Any:
        nonlocal state
        if case["mode"] == "infer":
            return program.evaluate(state, index)
        state, totals = program.train(state, index, weight, config.learning_rate, False, np.zeros(2, np.uint32))
        return totals

    def peak() -> int:
        return high_water() if case["platform"] == "cpu" else devices[0].memory_stats()["peak_bytes_in_use"]

    network = nnx.eval_shape(lambda: epochs.build_network(config, case["model"], dataset, nnx.Rngs(0)))
    graph, arrays = nnx.split(network)
    image = jax.ShapeDtypeStruct((1, *case["size"], 3), np.float32)
    with ops.by_definition():  # lowerings may use more or fewer operations
        count = flops(jax.make_jaxpr(lambda arrays, x: nnx.merge(graph, arrays)(x))(arrays, image).jaxpr)
    yield from rounds(case, steps, jax.block_until_ready, peak, {"gflop_forward": count / 1e9})


def theirs(case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time PyTorch: the same gather, network, loss and Adam, or in inference the same loss and pixel counts."""
    try:
        import torch
        import torch_twins
        from torch.nn import functional

        model = torch_twins.build(case["model"])
    except ImportError as error:
        yield {"error": f"not measured: {error}"}
        return
    gpu = case["platform"] != "cpu"
    if gpu and not torch.cuda.is_available():
        yield {"error": "not measured: this PyTorch sees no GPU"}
        return
    setting, device = SETTINGS[case["setting"]], torch.device("cuda" if gpu else "cpu")
    share = torch_twins.agree(case["model"], model, Path(case["twin"]))
    torch.set_float32_matmul_precision("highest" if case["precision"] == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = case["precision"] != "float32"
    torch.backends.cudnn.benchmark = True
    layout = torch.channels_last if setting.channels_last else torch.contiguous_format
    model = model.train(case["mode"] == "train").to(device, memory_format=layout)
    network = torch.compile(model, mode=setting.compiled) if setting.compiled else model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
    images, masks = (torch.from_numpy(array).to(device) for array in pairs_of(case))
    images = images.permute(0, 3, 1, 2).contiguous(memory_format=layout)
    batches = torch.arange(len(images), device=device).split(case["batch"])

    def forward(index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = (images[index].float() / 255).contiguous(memory_format=layout)
        with torch.autocast(device.type, torch.bfloat16, enabled=case["precision"] == "bfloat16"):
            logits = network(x)
        return logits.float(), masks[index][:, None] == 1

    def train(index: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        logits, truth = forward(index)
        loss = functional.binary_cross_entropy_with_logits(logits, truth.float())
        loss.backward()
        optimizer.step()
        return loss.detach()

    @torch.inference_mode()
    def infer(index: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        logits, truth = forward(index)
        loss = functional.binary_cross_entropy_with_logits(logits, truth.float(), reduction="none")
        found = logits > 0
        return loss.mean((1, 2, 3)), [x.sum((1, 2, 3)) for x in (found & truth, found, truth)]

    def steps() -> Any:
        return [(train if case["mode"] == "train" else infer)(index) for index in batches]

    def wait(_: Any) -> None:
        if gpu:
            torch.cuda.synchronize()

    about = {"twins differ by": share, "threads": torch.get_num_threads()}
    about |= versions("torch", *["segmentation-models-pytorch"] * ("resnet" in case["model"]))
    yield from rounds(case, steps, wait, torch.cuda.max_memory_allocated if gpu else high_water, about)


def rounds(
    case: dict[str, Any],
    steps: Callable[[], Any],
    wait: Callable[[Any], Any],
    peak: Callable[[], int],
    about: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """Warm up and yield `about` with the seconds of compilation; then run a round and yield its figures when asked."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        wait(steps())
        seconds.append(time.perf_counter() - start)
    calls = max(1, round(case["seconds"] / seconds[-1]))
    Path("/proc/self/clear_refs").write_text("5")  # reset high_water after compilation
    yield {**about, "compile_seconds": seconds[0] - seconds[-1], "steps_a_round": calls * case["steps"]}
    while True:
        wait(steps())  # after the other sides' turns memory is released and caches are cold
        start, processor = time.perf_counter(), time.process_time()
        for _ in range(calls):
            last = steps()
        wait(last)
        elapsed, processor = time.perf_counter() - start, time.process_time() - processor
        count = calls * case["steps"]
        yield {"seconds": elapsed / count, "processor_seconds": processor / count, "peak_bytes": peak()}


def flops(jaxpr: Any) -> int:
    """Return 2 x the multiply-adds of the convolutions and matrix products of a jaxpr."""
    total = 0
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            outputs = kernel[parameters["dimension_numbers"].rhs_spec[0]]
            total += 2 * equation.outvars[0].aval.size * math.prod(kernel) // outputs
        elif name == "dot_general":
            ((contracted, _), _), shape = parameters["dimension_numbers"], equation.invars[0].aval.shape
            total += 2 * equation.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
        else:
            values = [v for value in parameters.values() for v in (value if isinstance(value, tuple) else (value,))]
            inner = [getattr(value, "jaxpr", value) for value in values]
            total += sum(flops(part) for part in inner if hasattr(part, "eqns"))
    return total


def pairs_of(case: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, H, W, 3) and masks (n, H, W), uint8, of noise: speed does not depend on the values."""
    rng, shape = np.random.default_rng(0), (case["steps"] * case["batch"], *case["size"])
    return rng.integers(0, 256, (*shape, 3), np.uint8), rng.integers(0, 2, shape, np.uint8)


def high_water() -> int:
    """Return the peak of this process's resident memory in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python and of packages."""
    return {
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
    }


SIDES = {"twin": twin, "ours": ours, "theirs": theirs}
