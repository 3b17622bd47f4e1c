"""Folders of runs, and what the report reads a sweep with."""

import subprocess
import sys

from sharp_unet_jax.storage.layout import Run, run_folder, run_of


def test_a_folder_tells_its_workdir_and_run(tmp_path):
    run = Run(1, 12, "sharp_unet+scaled+reflect")
    assert run_folder(tmp_path, run) == tmp_path / "runs" / "sharp_unet+scaled+reflect" / "repeat1-fold12"
    assert run_of(run_folder(tmp_path, run)) == (tmp_path, run)
    for other in ("runs/unet/repeat0", "runs/unet/repeat0-fold0/checkpoint", "models/unet/repeat0-fold0"):
        assert run_of(tmp_path / other) is None


def test_a_sweeps_files_are_read_without_jax():
    """The report has none."""
    code = "import sys; from sharp_unet_jax.storage import lock, packed; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
