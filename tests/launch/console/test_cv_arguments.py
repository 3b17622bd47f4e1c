"""The command line of launch.cv."""

import pytest

from launch.console import cv_arguments
from launch.console.config import CONFIGS
from sharp_unet_jax.errors import InputError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--coordinator=localhost:1"], "give --coordinator=HOST:PORT, --processes=N and --process=I together"),
        (["--distributed", "--processes=2"], "together"),
        (["--coordinator=nonsense", "--processes=1", "--process=0"], "--coordinator=nonsense: give it as HOST:PORT"),
        (["--coordinator=localhost:1x", "--processes=1", "--process=0"], "give it as HOST:PORT"),
        (["--distributed", "--shard=0/2"], "on their own"),
        (["--distributed", "--verify=unet/repeat0-fold0"], "on their own"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        cv_arguments.parse(["--config=demo.py", *arguments])


@pytest.mark.parametrize("shard", ["2/2", "-1/2", "1", "a/b", "0/0"])
def test_a_wrong_shard_is_refused(shard):
    with pytest.raises(InputError, match="give it as I/N"):
        cv_arguments.parse(["--config=demo.py", f"--shard={shard}"])


def test_flags_are_read():
    command = cv_arguments.parse(["--config=demo.py", "--shard=1/4", "--track=tensorboard", "--config.folds=2"])
    assert (command.shard, command.track, command.config.folds) == ((1, 4), "tensorboard", 2)
    assert (str(command.workdir), command.cluster, command.verify) == ("work/demo", None, "")
    several = cv_arguments.parse(["--config=demo.py", "--coordinator=here:99", "--processes=4", "--process=2"])
    assert several.cluster == ("here:99", 4, 2)
    assert cv_arguments.parse(["--config=demo.py", "--distributed"]).cluster == (None, None, None)


def test_configs_of_one_name_have_workdirs_of_their_own(tmp_path):
    (tmp_path / "isbi.py").write_text((CONFIGS / "isbi.py").read_text())
    for name, folder in {
        "isbi.py": "work/isbi",
        "published/isbi": "work/published/isbi",
        "published/isbi.py": "work/published/isbi",
        str(tmp_path / "isbi.py"): "work/isbi",
    }.items():
        assert str(cv_arguments.parse([f"--config={name}"]).workdir) == folder


def test_a_home_is_found_behind_an_equals_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.py").write_text((CONFIGS / "demo.py").read_text())
    assert cv_arguments.parse(["--config=~/own.py", "--workdir=~/w"]).workdir == tmp_path / "w"
