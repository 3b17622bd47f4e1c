"""Options of JAX: a cache of compiled programs where it is safe, and the user's own options unchanged."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from launch.console import runtime


@pytest.fixture
def updates(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    set_options = {}
    monkeypatch.setattr(type(jax.config), "update", lambda self, name, value: set_options.update({name: value}))
    return set_options


def configured(monkeypatch, platform, cache):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # put back afterwards
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(platform=platform)])
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    if cache:
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", cache)
    runtime.configure()


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_compiled_programs_are_kept_on_accelerators(monkeypatch, updates, platform):
    configured(monkeypatch, platform, None)
    assert updates["jax_compilation_cache_dir"].endswith("sharp_unet_jax")


@pytest.mark.parametrize("home", ["a file", "of another", "full", "none"])
def test_without_a_home_that_can_be_written_nothing_is_kept(monkeypatch, updates, tmp_path, home):
    (tmp_path / ".cache").mkdir()
    (folder := tmp_path / ".cache" / "sharp_unet_jax").touch()
    if home == "of another":
        folder.unlink()
        monkeypatch.setattr(type(folder), "mkdir", refuse(PermissionError(13, "Permission denied")))
    if home == "full":
        folder.unlink()
        monkeypatch.setattr(runtime.atomic.tempfile, "TemporaryFile", refuse(OSError(122, "Disk quota exceeded")))
    if home == "none":
        monkeypatch.setattr(type(folder), "home", refuse(RuntimeError("Could not determine home directory.")))
    configured(monkeypatch, "gpu", None)
    assert not updates


def refuse(error):
    def refused(*_, **__):
        raise error

    return refused


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_nothing_is_set_over_the_users_choice(monkeypatch, updates, platform):
    configured(monkeypatch, platform, "/elsewhere")
    assert not updates


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="a CPU is named by Linux")
def test_programs_of_a_cpu_are_kept_by_its_instructions_and_cores(monkeypatch, updates):
    information = "processor : 0\nmodel name : A\nflags : fpu avx2\ncpu MHz : {}\n"

    def folder(text, cores):
        monkeypatch.setattr(runtime.Path, "read_text", lambda path: text)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
        configured(monkeypatch, "cpu", None)
        return Path(updates.pop("jax_compilation_cache_dir"))

    known = folder(information.format(2000), 2)
    assert known.parent.name == "sharp_unet_jax"
    assert known == folder(information.format(3000), 2)  # the clock changes from moment to moment
    assert known != folder(information.format(2000), 4)
    assert known != folder(information.replace("avx2", "avx512f"), 2)


def test_a_cpu_without_a_name_keeps_nothing(monkeypatch, updates):
    monkeypatch.setattr(runtime.Path, "read_text", refuse(FileNotFoundError(2, "No such file or directory")))
    configured(monkeypatch, "cpu", None)
    assert not updates


def test_closed_event_loops_are_silent_and_nothing_else_is(monkeypatch, updates):
    said = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    configured(monkeypatch, "cpu", None)
    others = [SimpleNamespace(exc_value=value) for value in (RuntimeError("another"), None)]
    for noise in (SimpleNamespace(exc_value=RuntimeError("Event loop is closed")), *others):
        sys.unraisablehook(noise)
    assert said == others


def test_simulated_devices_get_enough_threads(monkeypatch, updates):
    monkeypatch.delenv("NPROC")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    configured(monkeypatch, "cpu", None)
    assert os.environ["NPROC"] == "64"
