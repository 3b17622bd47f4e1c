"""The arguments of a command: its options, and the settings of its config. What it does not know is refused."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

import argcomplete
from argcomplete.completers import ChoicesCompleter

from launch.console import config as configs
from launch.console import settings_help
from sharp_unet_jax.config import Config
from sharp_unet_jax.errors import InputError

CONFIG = "a file of launch/configs by its name there, such as cvc.py or published/cvc.py, or any path"


class Paragraphs(argparse.HelpFormatter):
    """Help that keeps the paragraphs of a description apart; argparse would join them."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled = (super(Paragraphs, self)._fill_text(part, width, indent) for part in text.split("\n\n"))
        return "\n\n".join(filled)


def parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a command, such as "launch.cv"; its options are to be added."""
    return argparse.ArgumentParser(
        prog=f"python -m {command}", description=description, allow_abbrev=False, formatter_class=Paragraphs
    )


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of a command without a config. Raises InputError for one that it does not know."""
    known, rest = parser.parse_known_args(arguments)
    if rest:
        raise configs.unknown(rest[0], _options(parser))
    return known


def parser_with_config(command: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a command that takes a config and settings, for `parse_with_config`."""
    known = parser(command, description)
    settings = known.add_argument_group("settings")
    settings.add_argument("--config", metavar="FILE", type=os.path.expanduser, default="", help=CONFIG)
    settings.add_argument("--config.FIELD", metavar="VALUE", help="a setting in place of the config's")
    text = "list all settings, or say what one is (--help-config=data.fit), with their values in --config"
    settings.add_argument("--help-config", metavar="FIELD", nargs="?", const="", help=text)
    return known


def parse_with_config(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[argparse.Namespace, Config, dict[str, str]]:
    """Parse the arguments of a command with a config; return its options, the config and the settings given, as text.

    --help-config prints what the settings are, and their values in the config, and ends the process. Raises InputError
    for an argument that the command does not know, without a config, and for wrong settings.
    """
    if "_ARGCOMPLETE" in os.environ:  # a shell asks how the line may go on
        _complete(parser)
    known, rest = parser.parse_known_args(arguments)
    given = configs.assignments(rest, _options(parser))
    if not known.config and known.help_config is None:
        raise InputError("name a config, such as --config=demo.py")
    config = configs.load(known.config) if known.config else Config()
    for field, value in given:
        config = configs.override(config, field, value)
    if known.help_config is not None:
        print(settings_help.describe(known.help_config, config, min(shutil.get_terminal_size().columns, 120)))
        sys.exit()
    return known, config, dict(given)


def _complete(parser: argparse.ArgumentParser) -> NoReturn:
    """Answer the shell with options, settings, configs and values, as far as they are known, and end the process."""
    parser._option_string_actions["--config"].completer = ChoicesCompleter(configs.shipped())  # type: ignore[attr-defined, arg-type]
    for option, values in configs.choices().items():
        parser.add_argument(option, choices=values or None)
    argcomplete.autocomplete(parser)
    sys.exit()  # autocomplete has ended the process before


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """Return the options of a parser; argparse has no public list of them."""
    return [option for option in parser._option_string_actions if option.startswith("--")]
