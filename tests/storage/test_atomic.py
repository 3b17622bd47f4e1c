"""Folders that several processes write at once, and folders that killed processes left."""

import errno
import os
import platform
import subprocess
import sys
import time

import pytest

from sharp_unet_jax.storage.atomic import clear_dead, replacing, replacing_folder


def dead_process():
    """Return the number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_what_killed_processes_left_is_cleared_and_what_others_write_is_not(tmp_path, monkeypatch):
    here, pid, old = platform.node(), dead_process(), time.time() - 25 * 3600
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: pid)
        with replacing(tmp_path / "a.png") as killed_file, replacing_folder(tmp_path / "set") as killed_folder:
            killed_file.touch()
    (tmp_path / "a.png").unlink()
    (tmp_path / "set").rmdir()
    killed_folder.mkdir()
    (killed_folder / "images.npy").touch()
    mine = f".b.png.part.{here}.{os.getpid()}"
    users = [".bashrc.1", ".notes.txt.2023", "a.other.12", f".history.{here}.{pid}"]
    for name in (
        killed_file.name,
        f".x.part.{here}.{pid}",
        f".x.part.{here}.{10**20}",
        mine,
        ".c.png.part.elsewhere.com.7",
        ".d.png.part.elsewhere.com.7",
        *users,
    ):
        (tmp_path / name).touch()
    for name in (".d.png.part.elsewhere.com.7", *users):
        os.utime(tmp_path / name, (old, old))
    clear_dead(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {mine, ".c.png.part.elsewhere.com.7", *users}


def test_a_file_older_than_the_process_of_its_number_is_of_a_dead_one(tmp_path):
    (path := tmp_path / f".a.part.{platform.node()}.{os.getpid()}").touch()
    os.utime(path, (1e9, 1e9))
    clear_dead(tmp_path)
    clear_dead(tmp_path / "no folder")
    assert not path.exists()


def test_of_two_processes_that_write_one_folder_either_may_win(tmp_path, monkeypatch):
    with replacing_folder(tmp_path / "cache") as mine:
        (mine / "a").write_text("mine")
        monkeypatch.setattr("os.getpid", lambda: 1)
        with replacing_folder(tmp_path / "cache") as other:
            (other / "a").write_text("other")
        monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert (tmp_path / "cache" / "a").read_text() == "mine"  # the last to end


def test_a_process_that_is_overtaken_between_two_renames_leaves_the_other_folder(tmp_path, monkeypatch):
    path = type(tmp_path)
    rename = path.rename

    def slow(self, target):
        if target == tmp_path / "cache":  # another process is faster
            (tmp_path / "cache").mkdir()
            (tmp_path / "cache" / "a").write_text("other")
        return rename(self, target)

    with monkeypatch.context() as patch, replacing_folder(tmp_path / "cache") as mine:
        (mine / "a").write_text("mine")
        patch.setattr(path, "rename", slow)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert (tmp_path / "cache" / "a").read_text() == "other"


def test_a_folder_that_a_killed_process_of_the_same_number_left_is_emptied(tmp_path):
    with replacing_folder(tmp_path / "cache") as mine:
        left = mine.name
    before = left.replace(".cache.", ".cache.before.")
    for name in (left, before):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("written")
    with replacing_folder(tmp_path / "cache") as mine:
        assert list(mine.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_full_disk_leaves_the_old_file_and_names_it(tmp_path):
    (tmp_path / "a").write_text("old")

    def write_half():
        with replacing(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: '.*/a'"):
        write_half()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "disk" / "real").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    with replacing_folder(tmp_path / "link") as temporary:
        (temporary / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "disk",
        "disk/real",
        "disk/real/new",
        "link",
    ]
