"""Weight files: the tensors that were written, or a refusal."""

from pathlib import Path

import numpy as np
import pytest

from sharp_unet_jax.weights import files
from tests.fuzz.harness import Act, Kind
from tests.weights import weight_writers as write

RANDOM = np.random.default_rng(0)
KERNEL, BIAS = RANDOM.normal(size=(3, 3, 2, 4)).astype(np.float32), np.arange(4, dtype=np.float32)
TENSORS = {"layer1.0.conv1.weight": KERNEL.transpose(3, 2, 0, 1).copy(), "bn.num_batches_tracked": np.array(7)}
LAYERS = {"conv10": {"kernel": KERNEL, "bias": BIAS}, "conv2": {"kernel": 2 * KERNEL, "bias": BIAS}}
CHECKSUMS = (".pth",)  # formats that know when a byte of a tensor has changed


def make(box: Path) -> None:
    write.write_pth(box / "w.pth", TENSORS)
    write.write_legacy_pth(box / "w.legacy", TENSORS)
    write.write_safetensors(box / "w.safetensors", TENSORS)
    write.write_keras_h5(box / "w.h5", LAYERS)
    write.write_weights_h5(box / "w.weights.h5", [("conv2d", "block12", [KERNEL, BIAS])])


def read(box: Path) -> dict[str, dict[str, tuple[str, tuple[int, ...], bytes]]]:
    found = {}
    for path in sorted(box.glob("w.*")):
        tensors = files.read(path).tensors
        found[path.name] = {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in sorted(tensors.items())}
    return found


def judge(figures, original, box, target) -> str:
    for name, tensors in original.items():
        if name not in figures:
            return "" if not target.exists() else f"{name} was not read"
        if name == target.name and target.suffix not in CHECKSUMS:
            continue  # other bytes are other tensors
        if figures[name] != tensors and name != target.name:
            return f"{name} changed with {target.name}"
        if figures[name] != tensors and not _is_another(figures[name], original):
            return f"{name}: other tensors"
    return ""


def _is_another(tensors, original) -> bool:
    return any(tensors == other for other in original.values())


KIND = Kind("weights", make, ("w.*",), (Act(read, (), judge),))


@pytest.mark.slow
def test_weights(fuzz):
    fuzz(KIND)
