"""Folders of runs, and JSON files that are missing or damaged."""

import subprocess
import sys

import pytest

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage.layout import Run, read_json, run_folder, run_of


def test_a_folder_tells_its_workdir_and_run(tmp_path):
    run = Run(1, 12, "sharp_unet+scaled+reflect")
    assert run_folder(tmp_path, run) == tmp_path / "runs" / "sharp_unet+scaled+reflect" / "repeat1-fold12"
    assert run_of(run_folder(tmp_path, run)) == (tmp_path, run)
    for other in ("runs/unet/repeat0", "runs/unet/repeat0-fold0/checkpoint", "models/unet/repeat0-fold0"):
        assert run_of(tmp_path / other) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "a.json is missing: call for help"),
        ('{"a": 1', r"a.json is damaged \(Expecting .*\): call for help"),
        ("[1]", r"a.json is damaged \(it is no object\): call for help"),
        ('{"a": 1}', r"a.json is damaged \(it lacks b, c\): call for help"),
        (b"\xff", r"a.json is damaged \(.*utf-8.*\): call for help"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as error:
        read_json(tmp_path / "a.json", "a", "b", "c", remedy="call for help")
    assert "\n" not in str(error.value)


def test_an_object_with_its_keys_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": "±"}', encoding="utf-8")
    assert read_json(tmp_path / "a.json", "a") == {"a": "±"}


def test_layout_atomic_and_lock_need_no_jax():
    """The report reads a sweep's files with them, without JAX."""
    code = "import sys; from sharp_unet_jax.storage import atomic, layout, lock; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
