"""Folders that several processes write at once, and folders that killed processes left."""

import errno

import pytest

from sharp_unet_jax.storage.atomic import replacing, replacing_folder


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
    (tmp_path / left).mkdir()
    (tmp_path / left / "half").write_text("written")
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
