"""`datasets.build`: names, reuse, one line for each error, and the command."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from datasets.build import BUILDERS, build, summary
from datasets.errors import DataError
from datasets.phantom import phantom_dataset_builder as builder_module
from tests.datasets import writers


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "datasets.build", *arguments],
        cwd=Path(__file__).parents[2],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", BUILDERS)
def test_every_data_set_has_its_papers(name):
    folder = Path(__file__).parents[2] / "datasets" / name
    assert "terms" in (folder / "README.md").read_text().lower()
    assert (folder / "CITATIONS.bib").read_text()[:1] == ("" if name == "folder" else "@")
    valid, tags = (
        {line.partition(" ")[0] for line in path.read_text().splitlines() if line}
        for path in (Path(tfds.core.__file__).parent / "valid_tags.txt", folder / "TAGS.txt")
    )
    assert tags
    assert tags <= valid


@pytest.mark.parametrize(("name", "nearest"), [("cvc", "cvc_clinicdb"), ("isbi", "isbi2012"), ("Phantom", "phantom")])
def test_unknown_name(name, nearest):
    with pytest.raises(DataError, match=f"did you mean '{nearest}'"):
        build(name)


@pytest.mark.parametrize(("name", "hint"), [("phantom/smal", "phantom/small"), ("isbi2012/x", "it has none")])
def test_unknown_config(name, hint):
    with pytest.raises(DataError, match=hint):
        build(name)


def test_manual_dir_must_exist(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        build("cvc_clinicdb", data_dir=tmp_path, manual_dir=tmp_path / "absent")


def test_built_once_then_reused_until_told_otherwise(tmp_path, build_and_read, capfd):
    folder = writers.cvc_clinicdb(frames=(1, 2)).write(tmp_path / "manual")
    assert build_and_read("cvc_clinicdb", manual_dir=folder).ids == ["001", "002"]
    writers.cvc_clinicdb(frames=(3,)).write(folder)
    assert build_and_read("cvc_clinicdb", manual_dir=folder).ids == ["001", "002"]
    assert build_and_read("cvc_clinicdb", manual_dir=folder, rebuild=True).ids == ["001", "002", "003"]
    assert build_and_read("cvc_clinicdb").ids == ["001", "002", "003"]  # a built set needs no files
    assert capfd.readouterr().out == ""


def test_two_processes_build_the_same_set(tmp_path, monkeypatch):
    """Tasks of a cluster job do so at their first use of a data set."""
    in_time = builder_module._pairs

    def overtaken(config):
        assert command("--dataset=phantom", f"--data_dir={tmp_path}").returncode == 0
        (tmp_path / "phantom/small/1.0.0/theirs").touch()
        return in_time(config)

    monkeypatch.setattr(builder_module, "_pairs", overtaken)
    assert len(build("phantom", data_dir=tmp_path).as_data_source()) == 60
    assert [path.name for path in (tmp_path / "phantom" / "small").iterdir()] == ["1.0.0"]
    assert (tmp_path / "phantom/small/1.0.0/theirs").exists()  # a process may be reading it


def test_what_a_killed_build_left_is_cleared_and_what_another_writes_is_not(tmp_path):
    folder = tmp_path / "phantom" / "small"
    script = (
        "import os, signal\n"
        "from datasets import build\n"
        "from datasets.phantom import phantom_dataset_builder as module\n"
        "module.tissue = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"build.build('phantom', data_dir={str(tmp_path)!r})\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = folder.iterdir()
    assert [path.name for path in left.iterdir()] == ["tfds"]
    living = left.with_name(f"{left.name.rpartition('.')[0]}.{os.getppid()}")
    living.mkdir()
    assert len(build("phantom", data_dir=tmp_path).as_data_source()) == 60
    assert {path.name for path in folder.iterdir()} == {"1.0.0", living.name}


def test_a_build_leaves_nothing_in_the_temporary_folder(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    build("phantom", data_dir=tmp_path)
    assert not list((tmp_path / "temporary").iterdir())


def test_any_other_failure_is_not_hidden(tmp_path, monkeypatch):
    def broken(config):
        raise ZeroDivisionError(config.name)

    monkeypatch.setattr(builder_module, "_pairs", broken)
    with pytest.raises(ZeroDivisionError):
        build("phantom", data_dir=tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("write() failed: No space left on device"),  # array_record's words
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    ],
)
def test_a_full_disk_is_one_line(tmp_path, monkeypatch, error):
    def full(config):
        raise error

    monkeypatch.setattr(builder_module, "_pairs", full)
    with pytest.raises(DataError, match=r"phantom/small/1.0.0: .*; name another data_dir"):
        build("phantom", data_dir=tmp_path)


@pytest.mark.parametrize("address", ["gs://bucket/x", "s3://bucket", "https://host/x", Path("gs://bucket")])
@pytest.mark.parametrize("where", ["data_dir", "manual_dir"])
def test_an_address_is_no_folder(where, address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="is an address"):
        build("phantom", **{where: address})
    assert not list(tmp_path.iterdir())


def test_any_path_will_do(tmp_path, monkeypatch):
    writers.isbi2012().write(tmp_path / "manual")
    monkeypatch.setenv("HOME", str(tmp_path))
    builder = build("isbi2012", data_dir="~/built", manual_dir="~/manual")
    assert Path(builder.data_dir) == tmp_path / "built" / "isbi2012" / "1.0.0"
    assert summary(builder).startswith("isbi2012/1.0.0: 8 images, 24x32, classes membrane, cell; 2 groups; ")


def test_summary_of_several_sizes(tmp_path):
    builder = build("isic2018", data_dir=tmp_path / "a", manual_dir=writers.isic2018().write(tmp_path / "manual"))
    assert "4 images, 24x32 to 27x32, classes background, lesion; 4 groups; " in summary(builder)


def test_command(tmp_path):
    writers.cvc_clinicdb().write(tmp_path / "manual")
    result = command("--dataset=cvc_clinicdb", f"--manual_dir={tmp_path / 'manual'}", TFDS_DATA_DIR=str(tmp_path / "d"))
    assert (result.returncode, result.stderr) == (0, "")
    place = tmp_path / "d" / "cvc_clinicdb" / "1.0.0"
    assert result.stdout == (f"cvc_clinicdb/1.0.0: 5 images, 24x32, classes background, polyp; 2 groups; {place}\n")
    assert (place / "dataset_info.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=cvc"], "there is no data set 'cvc'; did you mean 'cvc_clinicdb'?"),
        (["--dataset=cvc_clinicdb", "--manual_dir=absent"], "manual_dir absent is not a folder"),
        (["--dataset=cvc_clinicdb", "--manual_dir=tests"], "CVC-ClinicDB is not in tests: put"),
    ],
)
def test_command_refuses_in_one_line(arguments, message, tmp_path):
    result = command(*arguments, f"--data_dir={tmp_path}")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


def test_command_names_a_library_that_is_missing(tmp_path):
    (tmp_path / "stand_in").mkdir()
    (tmp_path / "stand_in/highdicom.py").write_text("raise ImportError")
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.dcm").write_bytes(bytes(128) + b"DICM")
    arguments = ["--dataset=folder", f"--images={tmp_path / 'images'}", f"--masks={tmp_path / 'masks'}"]
    result = command(*arguments, f"--data_dir={tmp_path}", PYTHONPATH=str(tmp_path / "stand_in"))
    assert result.returncode == 1
    assert result.stderr.startswith("DICOM needs pydicom and highdicom: ")
    assert result.stderr.count("\n") == 1
