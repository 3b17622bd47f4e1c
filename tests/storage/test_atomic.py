from sharp_unet_jax.storage.atomic import replacing_folder


def test_of_two_that_make_one_folder_the_first_may_keep_it(tmp_path, monkeypatch):
    with replacing_folder(tmp_path / "cache") as mine:
        (mine / "a").write_text("mine")
        monkeypatch.setattr("os.getpid", lambda: 1)
        with replacing_folder(tmp_path / "cache") as other:
            (other / "a").write_text("other")
        monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert (tmp_path / "cache" / "a").read_text() == "mine"  # the last to end


def test_overtaken_between_two_steps_the_others_folder_stays(tmp_path, monkeypatch):
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
    assert [each.name for each in tmp_path.iterdir()] == ["cache"]
    assert (tmp_path / "cache" / "a").read_text() == "other"


def test_what_a_killed_process_of_the_same_name_left_is_no_obstacle(tmp_path):
    with replacing_folder(tmp_path / "cache") as mine:
        left = mine.name
    (tmp_path / left).mkdir()
    (tmp_path / left / "half").write_text("written")
    with replacing_folder(tmp_path / "cache") as mine:
        assert list(mine.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
