"""Images a second of this project and of PyTorch with the same network: training and inference, by turns.

    python bench/speed.py --models=sharp_unet --batch=4,16 --size=192,256 --rounds=7 --output=speed.json

Every setting has a process of its own, which waits on a pipe while another one runs. With --no-separate all settings
share a process. See bench/README.md.
"""

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sides import SETTINGS, SIDES

OURS, PLAIN = "sharp_unet_jax", "sharp_unet_jax, plain twin"


def child(case: dict[str, Any], python: str) -> Iterator[dict[str, Any]]:
    """Yield what a side in a process of its own yields, one dict each time; first {} once the process has started."""
    command = [python, __file__, "--child", json.dumps(case)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield {}
            for line in process.stdout:
                yield json.loads(line)
                process.stdin.write("\n")
                process.stdin.flush()
            raise SystemExit(f"{case['side']} {case.get('setting', '')} of {case['model']} failed, see above")
        finally:
            process.kill()


def answer(case: dict[str, Any]) -> None:
    """Run as a child: write a line of JSON for each line read, until input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr
    for reply in SIDES[case["side"]](case):
        print(json.dumps(reply), file=replies, flush=True)
        if not sys.stdin.readline():
            return


def measure(args: argparse.Namespace, case: dict[str, Any]) -> dict[str, Any]:
    """Measure every setting of a case, by turns."""
    cases = {OURS: {"side": "ours"}}
    if args.plain and "sharp_" in case["model"]:
        cases[PLAIN] = {"side": "ours", "model": case["model"].removeprefix("sharp_")}
    for name, setting in SETTINGS.items():
        if args.settings is not None and name not in args.settings:
            continue
        if not (setting.compiled and args.no_compile) and not (setting.gpu_only and case["platform"] == "cpu"):
            cases[name] = {"side": "theirs", "setting": name}
    with contextlib.ExitStack() as stack:
        begun = (
            (name, stack.enter_context(contextlib.closing(start(args, case | own)))) for name, own in cases.items()
        )
        sides = {name: (side, next(side)) for name, side in (list(begun) if args.together else begun)}
        found = {name: about | {"rounds": []} for name, (_, about) in sides.items()}
        measured = [name for name in found if "error" not in found[name]]
        for number in range(args.rounds):
            for name in measured[:: -1 if number % 2 else 1]:
                time.sleep(0.05)  # threads of the last side spin for up to 10 ms
                found[name]["rounds"].append(next(sides[name][0]))
    work = found[OURS]["gflop_forward"] * (3 if case["mode"] == "train" else 1) * case["batch"] / 1000
    for name in measured:
        for key in ("seconds", "processor_seconds", "peak_bytes"):
            found[name][key] = statistics.median(each[key] for each in found[name]["rounds"])
        found[name]["images_per_second"] = case["batch"] / found[name]["seconds"]
        found[name]["tflops"] = work / found[name]["seconds"]
        if not args.separate:
            found[name]["peak_bytes"] = None  # the process has all sides
    peers = [name for name in measured if name in SETTINGS]
    best = min(peers, key=lambda name: found[name]["seconds"], default=None)
    ratio = found[best]["seconds"] / found[OURS]["seconds"] if best else None
    sharp = found[OURS]["seconds"] / found[PLAIN]["seconds"] if PLAIN in found else None
    return case | {"settings": found, "best_of_pytorch": best, "ratio": ratio, "sharp_over_plain": sharp}


def start(args: argparse.Namespace, case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Start a side of a case, in this process or in its own."""
    if not args.separate:
        return SIDES[case["side"]](case)
    side = child(case, args.torch if case["side"] == "theirs" else sys.executable)
    next(side)
    return side


def table(result: dict[str, Any], rate: float) -> str:
    """Return a Markdown table with a row for each setting, and the ratios."""
    height, width = result["size"]
    case = f"{result['model']} {result['mode']} {result['precision']} {height}x{width} batch {result['batch']}"
    lines = [
        f"\n{case}\n",
        "| setting | ms per step | img/s | TFLOP/s (of a product) | peak MB | compile s |",
        "|-" * 6 + "|",
    ]
    for name, found in result["settings"].items():
        if "error" in found:
            lines.append(f"| {name} | {found['error']} | | | | |")
            continue
        peak = "" if found["peak_bytes"] is None else f"{found['peak_bytes'] / 1e6:.0f}"
        lines.append(
            f"| {name} | {1000 * found['seconds']:.1f} | {found['images_per_second']:.2f} | {found['tflops']:.3f} "
            f"({found['tflops'] / rate:.0%}) | {peak} | {found['compile_seconds']:.1f} |"
        )
    if result["ratio"]:
        lines.append(f"\nspeed against PyTorch's best, {result['best_of_pytorch']}: {result['ratio']:.2f}")
    if result["sharp_over_plain"]:
        lines.append(f"\ntime of the sharp network over its plain twin's: {result['sharp_over_plain']:.3f}")
    return "\n".join(lines)


def main() -> None:
    """Read the command line; run as a child, or measure every combination."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: text.split(",")  # noqa: E731
    numbers = lambda text: tuple(map(int, text.split(",")))  # noqa: E731
    parser.add_argument("--models", type=words, default=["sharp_unet"])
    parser.add_argument("--batch", type=numbers, default=(4, 16), help="images per step")
    parser.add_argument("--size", type=numbers, action="append", help="height,width; may be given several times")
    parser.add_argument("--precision", type=words, default=["float32"], help="of float32, tf32 (GPU), bfloat16")
    parser.add_argument("--mode", type=words, default=["train", "infer"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a round, at least one step")
    parser.add_argument(
        "--settings", type=lambda text: text.split(";"), help="of PyTorch's, with ; between them (default: all)"
    )
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out: it takes minutes")
    parser.add_argument("--plain", action="store_true", help="also time the plain twin of a sharp network")
    parser.add_argument("--torch", default=sys.executable, help="a Python with bench/requirements.txt")
    parser.add_argument("--separate", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        "--together",
        action="store_true",
        help="processes compile at the same time, which saves minutes; ignore the column compile s then",
    )
    parser.add_argument("--output", type=Path, help="JSON")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        answer(args.child)
    else:
        compare(args)


def compare(args: argparse.Namespace) -> None:
    """Measure every case in turn, print its table, and write all results to --output."""
    # Else JAX takes all memory of a GPU, and torch.compile's cache makes compilation look free.
    os.environ |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            case: dict[str, Any] = {"side": "twin", "model": model, "twin": f"{folder}/{model}.npz"}
            with contextlib.closing(start(args, case)) as side:
                machine = next(side)
            print(f"\n{model} on {', '.join(f'{key} {value}' for key, value in machine.items())}", flush=True)
            options = itertools.product(args.size or [(192, 256)], args.batch, args.precision, args.mode)
            for size, batch, precision, mode in options:
                case |= {"size": size, "batch": batch, "precision": precision, "mode": mode, "seconds": args.seconds}
                # On a GPU one of our calls is an epoch, here of 16 steps. On the CPU a call is a step.
                steps = 1 if machine["platform"] == "cpu" else 16
                result = measure(args, case | {"platform": machine["platform"], "steps": steps})
                results.append({"machine": machine, "separate": args.separate, **result})
                print(table(result, machine["matrix product TFLOP/s"]), flush=True)
                if args.output:
                    args.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
