"""Paths of the command line: on this machine, whatever command takes them."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from datasets.errors import DataError
from launch import prepare
from launch.console import cv_arguments, dataset, paths
from launch.preview import source
from sharp_unet_jax.config import Data


def test_a_path_is_expanded():
    assert paths.path("~/work") == Path.home() / "work"


@pytest.mark.parametrize("address", ["gs://bucket/x", "s3://bucket", "https://host/x"])
def test_an_address_is_refused_by_every_command(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="is an address"):
        cv_arguments.parse(["--config=demo.py", f"--workdir={address}"])
    with pytest.raises(OSError, match="is an address"):
        prepare.run(["--config=demo.py", f"--output={address}"], Console(file=io.StringIO()))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("field", ["data_dir", "manual_dir", "images", "masks", "groups"])
@pytest.mark.parametrize("command", [dataset.load, source.inspect])
def test_a_data_set_is_on_this_machine(command, field, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in ("images", "masks"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
        (tmp_path / "mine" / kind / "1.png").touch()
    builder = "folder" if field in ("images", "masks", "groups") else "isbi2012"
    fields = {"images": "mine", "data_dir": str(tmp_path / "data"), field: "gs://bucket/x"}
    if field == "masks":
        fields["images"] = "mine/images"
    with pytest.raises(DataError, match=r"gs://bucket/x: is an address"):
        command(Data(builder=builder, **fields), Console(file=io.StringIO()))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
