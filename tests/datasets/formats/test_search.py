"""Inputs found on disk, and the names of their outputs."""

import gzip
import os

import numpy as np
import pytest
from PIL import Image

from datasets.formats import search
from sharp_unet_jax.errors import InputError


def test_inputs_are_found_and_named(tmp_path):
    users = ("2.png", "10.JPG", "deep/er/3.tif", "v.nii.gz", "notes.txt", ".hidden.png")
    written = [f"{out}/{name}" for out in ("out", "deep/out") for name in ("masks/er/2.tif", "prediction.json")]
    for name in (*users, *written):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(b""))
    assert [one.name for one in search.find([str(tmp_path)])] == ["2", "10", "deep/er/3", "v"]
    assert [one.name for one in search.find([str(tmp_path / "**" / "*.tif")])] == ["3"]
    assert [one.name for one in search.find([str(tmp_path / "2.png"), str(tmp_path / "deep/er/3.tif")])] == [
        "2",
        "deep/er/3",
    ]


def test_names_do_not_depend_on_how_paths_are_given(tmp_path, monkeypatch):
    for name in ("in/a.png", "x/b.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x")
    monkeypatch.chdir(tmp_path / "in")
    for given in (["a.png", "../x/b.png"], ["a.png", str(tmp_path / "x/b.png"), "./a.png"]):
        assert [(one.name, *one.paths) for one in search.find(given)] == [
            ("in/a", tmp_path / "in/a.png"),
            ("x/b", tmp_path / "x/b.png"),
        ]


def test_what_is_named_and_no_image_is_noted(tmp_path):
    for name in ("a.png", "notes.txt"):
        (tmp_path / name).write_text("x")
    given, faults = [str(tmp_path / name) for name in ("a.png", "notes.txt", "notes.txt")], []
    assert [one.name for one in search.find(given, faults)] == ["a"]
    assert [fault.split(" (")[0] for fault in faults] == [f"{tmp_path}/notes.txt: is of no format known here"]
    with pytest.raises(InputError, match=r"notes.txt: is of no format known here"):
        search.find(given)
    with pytest.raises(InputError, match=r"notes.txt: is of no format known here"):
        search.find(given[1:], [])


def test_a_pipe_is_not_read_and_a_folder_may_have_the_name_of_a_picture(tmp_path):
    """Reading a pipe may never end."""
    for name in ("pipe.png", "pipe.dcm", "pipe"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="holds no images"):
        search.find([str(tmp_path)])
    (tmp_path / "x.png").mkdir()
    (tmp_path / "x.png/a.png").touch()
    assert [one.name for one in search.find([str(tmp_path)])] == ["x.png/a"]
    faults: list[str] = []
    assert [one.name for one in search.find([str(tmp_path / "*")], faults)] == ["a"]
    pipes = [
        f"{tmp_path}/pipe{suffix}: is no file but a pipe or a device; remove it" for suffix in ("", ".dcm", ".png")
    ]
    assert faults == pipes
    with pytest.raises(InputError, match=r"pipe\.png: is no file but a pipe"):
        search.find([str(tmp_path / "pipe.png")], faults)


def test_folders_behind_links_are_read_as_in_training(tmp_path):
    (tmp_path / "archive/patient7").mkdir(parents=True)
    (tmp_path / "archive/patient7/b.png").touch()
    (tmp_path / "in/__MACOSX").mkdir(parents=True)
    for name in ("a.png", ".a.png", "__MACOSX/a.png"):
        (tmp_path / "in" / name).touch()
    (tmp_path / "in/patient7").symlink_to(tmp_path / "archive/patient7")
    (tmp_path / "in/around").symlink_to(tmp_path / "in")
    assert [one.name for one in search.find([str(tmp_path / "in")])] == ["a", "patient7/b"]


def test_a_link_to_nothing_is_no_picture_that_may_be_missed(tmp_path):
    (tmp_path / "a.png").touch()
    for name in ("b.png", "c.dcm", "notes.txt"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere" / name)
    faults: list[str] = []
    assert [one.name for one in search.find([str(tmp_path)], faults)] == ["a"]
    why = "is a link to a file that is not there; bring the file back, or remove the link"
    links = [f"{tmp_path}/{name}: {why}" for name in ("b.png", "c.dcm")]
    assert sorted(faults) == links
    faults.clear()
    search.find([str(tmp_path / "*.png")], faults)
    assert faults == links[:1]


def test_inputs_that_are_none(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="there is no such file or folder"):
        search.find([str(tmp_path / "*.png")])
    with pytest.raises(InputError, match="holds no images"):
        search.find([str(tmp_path)])
    with pytest.raises(InputError, match="of no format known here"):
        search.find([str(tmp_path / "notes.txt")])
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=r"a\.(png|jpg) and .*a\.(png|jpg) would both become a:"):
        search.find([str(tmp_path)])


@pytest.fixture
def channels(tmp_path):
    """Return a folder of two images of two files each, one of them in a subfolder."""
    for name in ("in/a", "in/deep/b"):
        for channel in range(2):
            path = tmp_path / f"{name}_000{channel}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((4, 5), np.uint8)).save(path)
    return tmp_path / "in"


def test_files_of_channels_are_one_input_an_image(channels):
    expected = [(name, tuple(channels / f"{name}_000{c}.png" for c in range(2))) for name in ("a", "deep/b")]
    nnu_nets = search.find([str(channels)], channels=2)
    assert [(one.name, one.paths) for one in nnu_nets] == expected
    assert [one.where for one in nnu_nets] == [str(paths[0]) for _, paths in expected]
    as_set = search.find([str(channels)], endings=("_0001", "_0000"))
    assert [(one.name, one.paths) for one in as_set] == [(name, paths[::-1]) for name, paths in expected]


def test_channels_whose_names_differ_in_case_are_of_one_image(tmp_path):
    for name in ("A_DAPI", "a_GFP"):
        (tmp_path / f"{name}.png").touch()
    (one,) = search.find([str(tmp_path)], endings=("_DAPI", "_GFP"))
    assert (one.name, [path.name for path in one.paths]) == ("A", ["A_DAPI.png", "a_GFP.png"])


def test_numbered_files_are_no_channels_of_a_run_with_other_numbers_nor_of_grey_or_rgb(channels):
    assert len(search.find([str(channels)], channels=4)) == 4
    for name in ("a_0002", "deep/b_0002"):
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(channels / f"{name}.png")
    assert [len(search.find([str(channels)], channels=count)) for count in (1, 2, 3, 4)] == [6] * 4


def test_an_image_without_one_of_its_channels_is_named(channels):
    (channels / "a_0001.png").unlink()
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(channels / "other.png")
    faults: list[str] = []
    endings = ("_0000", "_0001")
    assert [one.name for one in search.find([str(channels)], faults, endings=endings)] == ["deep/b"]
    assert faults == [
        f"{channels}/other.png: its name ends in none of _0000, _0001, the endings of channels "
        "(data.channel_files); rename or remove it",
        f"{channels}/a_0000.png: the image has no file of _0001; add it",
    ]
    with pytest.raises(InputError, match=r"a_0000\.png: the image has no file of _0001; add it"):
        search.find([str(channels / "a_*.png")], [], endings=endings)


def test_a_folder_that_cannot_be_read_is_a_fault_beside_others_and_the_answer_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    (tmp_path / "b").symlink_to("/not/mounted/b")
    faults = []
    assert [one.name for one in search.find([str(tmp_path)], faults)] == ["a/1"]
    (fault,) = faults
    assert fault.startswith(f"{tmp_path / 'b'}: is a link to /not/mounted/b, which is not there")
    (tmp_path / "a" / "1.png").unlink()
    with pytest.raises(InputError, match="b: is a link to /not/mounted/b, which is not there"):
        search.find([str(tmp_path)], [])
