"""Arguments of commands: what is meant by one that is not known, and what shells are answered."""

import argparse
import os
import subprocess
import sys

import pytest

from launch.console import arguments as command_line
from launch.console import config as configs
from launch.console import settings_help
from sharp_unet_jax import losses, models, ops
from sharp_unet_jax.config import Config
from sharp_unet_jax.errors import InputError


def parsed(*given):
    parser = command_line.parser_with_config("launch.cv", "")
    parser.add_argument("--workdir")
    parser.add_argument("--shard")
    return command_line.parse_with_config(parser, given)


@pytest.mark.parametrize(
    ("argument", "meant"),
    [
        ("--epochs=3", "--config.epochs=3"),
        ("--images=a/b", "--config.data.images=a/b"),
        ("--share=area", "--config.data.share=area"),  # which is spelt less like it than --shard
        ("--confg.epochs=3", "--config.epochs=3"),
        ("--config-epochs", "--config.epochs"),
        ("--data.fit=crop", "--config.data.fit=crop"),
        ("--rotate=5", "--config.augment.rotate=5"),
        ("--wokrdir=x", "--workdir=x"),
        ("--confg=cvc.py", "--config=cvc.py"),
        ("--qqqqq", None),
    ],
)
def test_an_unknown_argument_is_answered_with_what_was_meant(argument, meant):
    with pytest.raises(InputError) as error:
        parsed("--config=demo.py", argument)
    hint = f"did you mean {meant}?" if meant else "see --help"
    assert str(error.value) == f"{argument}: unknown argument; {hint}"


def test_a_command_without_a_config_answers_with_its_own_options():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--overlays", action="store_true")
    assert command_line.parse(parser, ["--overlays"]).overlays
    with pytest.raises(InputError, match=r"^--overlay: unknown argument; did you mean --overlays\?$"):
        command_line.parse(parser, ["--overlay"])
    with pytest.raises(InputError, match=r"^--qqqqq=3: unknown argument; see --help$"):
        command_line.parse(parser, ["--qqqqq=3"])


def test_settings_stand_in_place_of_those_of_the_config():
    known, config, given = parsed("--config.folds=3", "--config=demo.py", "--workdir", "w", "--config.seed", "7")
    assert (known.workdir, config.folds, config.seed) == ("w", 3, 7)
    assert given == {"folds": "3", "seed": "7"}
    with pytest.raises(InputError, match=r"^--config.seed: give it a value, --config.seed=VALUE$"):
        parsed("--config=demo.py", "--config.seed")
    with pytest.raises(InputError, match="name a config"):
        parsed("--config.seed=7")


def test_help_config_shows_the_values_of_the_config_and_ends(capsys):
    with pytest.raises(SystemExit) as end:
        parsed("--help-config=folds", "--config=crops.py")
    assert not end.value.code
    setting, *said = [line.strip() for line in capsys.readouterr().out.splitlines() if line]
    assert setting == "--config.folds=2  (default: 5)"
    assert said == ["parts that the images are divided into; each is the test set once", "a whole number"]


def test_help_config_says_what_every_setting_is():
    text = settings_help.describe("", Config(), 80)
    assert all(f"  {option}=" in text for option in configs.choices())
    assert max(map(len, text.splitlines())) <= 80
    for heading in settings_help.HEADINGS.values():
        assert f"\n{heading}\n" in f"\n{text}"
    of_data = settings_help.describe("data", Config(), 80)
    assert "--config.data.fit=stretch" in of_data
    assert "--config.folds" not in of_data


@pytest.mark.parametrize(
    ("field", "names"), [("models", models.MODELS), ("skip_kernel", ops.KERNELS), ("loss", losses.LOSSES)]
)
def test_help_for_a_setting_that_takes_names_lists_them(field, names):
    listed = settings_help.describe(field, Config(), 80).replace(",", " ").split()
    assert {name for name in names if "+" not in name} <= set(listed)


@pytest.mark.parametrize(
    ("name", "near"), [("fit", "data.fit"), ("epoch", "epochs"), ("--config.turn", "augment.turn"), ("dat", "data.fit")]
)
def test_help_for_a_setting_that_is_not_there_names_the_nearest(name, near):
    if name == "dat":
        near = r"[a-z_.]+"
    with pytest.raises(InputError, match=rf"no such field; did you mean --help-config={near}\?$"):
        settings_help.describe(name, Config(), 80)


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("--config.data.fi", ["--config.data.fit"]),
        ("--config.data.fit=", ["stretch", "letterbox", "crop"]),
        ("--config.grouped=t", ["true"]),
        ("--config=published/c", ["published/covid.py", "published/cvc.py"]),
        ("--wor", ["--workdir"]),
    ],
)
def test_shells_are_answered(line, answers, tmp_path):
    line = f"python -m launch.cv {line}"
    asked = {"_ARGCOMPLETE": "3", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    asked |= {"_ARGCOMPLETE_COMP_WORDBREAKS": "=", "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "answer")}
    subprocess.run([sys.executable, "-m", "launch.cv"], env=os.environ | asked, timeout=60, check=False)
    assert (tmp_path / "answer").read_text().split() == answers


def test_help_keeps_paragraphs_apart(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    shown = command_line.parser("launch.x", "First line\n\n" + "word " * 20 + "\n\nLast.").format_help()
    assert "\n\nFirst line\n\nword " in shown
    assert "word\n\nLast.\n\n" in shown
    assert max(map(len, shown.splitlines())) <= 60
