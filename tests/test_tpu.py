"""Programs compiled for a TPU by its own compiler, which needs no TPU: pip install libtpu."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MEMORY = {"v5e": 16e9, "v6e": 32e9}  # bytes of a chip

pytestmark = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")


@pytest.mark.slow
@pytest.mark.parametrize(("topology", "chips"), [("v5e:2x2", 1), ("v6e:2x2", 1), ("v6e:4x4", 16)])
def test_training_evaluation_and_prediction_compile(topology, chips):
    """The smallest network, for a chip and for a slice that shares a batch: within its memory, without the host."""
    command = [sys.executable, "bench/compiled_tpu.py", "--models=sharp_attention_unet", "--size=32,48", "--batch=16"]
    command += [f"--topology={topology}", f"--chips={chips}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert ended.returncode == 0, ended.stderr
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [row["program"] for row in rows] == ["train", "evaluate", "predict"]
    for row in rows:
        assert not row["host"]
        assert 0 < row["memory"] < MEMORY[topology[:3]]
        assert row["seconds"] > 0
    # A chip's share of the FLOPs of the smallest network at 32x48, 16 images in all: training costs more than twice.
    assert rows[0]["flops"] > 2 * rows[1]["flops"] > 1e9 / chips
