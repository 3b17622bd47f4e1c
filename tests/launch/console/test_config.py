"""Configs: found by name or path, overridden by field, and misspellings answered with the nearest name."""

import dataclasses
from pathlib import Path

import pytest

from launch.console import config as configs
from sharp_unet_jax.config import Augment, Config
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.models import MODELS
from sharp_unet_jax.sweeps import check

FOLDER = Path(__file__).parents[3] / "launch/configs"
SETS = ("cvc", "isbi", "covid", "isic", "dsb", "lung")
NAMES = sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_every_config_is_found_by_its_bare_name(name):
    assert configs.load(f"{name}.py") == configs.load(name)
    assert isinstance(configs.load(name), Config)


@pytest.mark.parametrize("name", NAMES)
def test_every_config_passes_the_checks_before_training(name):
    check.config(configs.load(name), 1)


def test_the_zoo_holds_whole_pairs_that_differ_in_their_skips_alone():
    zoo = configs.load("zoo").models
    for plain, sharp in zip(zoo[::2], zoo[1::2], strict=True):
        assert MODELS[sharp] == MODELS[plain]._replace(skip="sharp")
        assert (MODELS[plain].network, MODELS[plain].skip) == (plain, "plain")


@pytest.mark.parametrize("name", SETS)
def test_published_configs_differ_in_the_data_and_in_what_decides(name):
    """The paper's code decides by the loss, and sooner, on two sets."""
    config, isbi = (configs.load(f"published/{each}") for each in (name, "isbi"))
    decided = ("loss", 10) if name in ("isic", "covid") else ("soft_jaccard", 20)
    assert (config.monitor, config.patience) == decided
    assert dataclasses.replace(config, data=isbi.data, monitor=isbi.monitor, patience=isbi.patience) == isbi
    usual = configs.load(name)
    assert config.data.builder.partition("/")[0] == usual.data.builder
    assert config.models == usual.models


def test_a_config_is_found_by_its_path(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from sharp_unet_jax.config import Config\nconfig = Config(seed=5)\n")
    assert configs.load(str(path)).seed == 5
    path.write_text("config = {}\n")
    with pytest.raises(InputError, match=r"does not define `config = Config\(...\)`"):
        configs.load(str(path))


@pytest.mark.parametrize("name", ["elsewhere/demo.py", "cvc.yaml", ""])
def test_a_path_that_is_not_there_is_no_shipped_config(name):
    with pytest.raises(InputError, match="no file"):
        configs.load(name)


def test_a_config_with_an_error_is_one_line(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from sharp_unet_jax.config import Config\nconfig = Config(fold=5)\n")
    with pytest.raises(InputError, match=r"mine.py: .*unexpected keyword argument 'fold'") as raised:
        configs.load(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import sys\nsys.exit()", "SystemExit"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise ValueError", "ValueError"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("print('hello')\nconfig = 1 / 0", "ZeroDivisionError: division by zero"),
        ("def again(): again()\nagain()", "RecursionError"),
        ("config = (", "SyntaxError"),
        ("\0", "source code"),
        ("x = " + "(" * 10_000, "SyntaxError: too many nested parentheses"),
        ("print('hello')", "does not define"),
    ],
)
def test_a_config_that_does_anything_else_is_one_line(tmp_path, content, message):
    path = tmp_path / "mine.py"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as raised:
        configs.load(str(path))
    assert str(raised.value).startswith(f"--config: {path}")
    path.write_text("raise KeyboardInterrupt")  # Ctrl-C at a config that takes long
    with pytest.raises(KeyboardInterrupt):
        configs.load(str(path))


def test_a_misspelt_config_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"no file 'cvv.py'; did you mean 'cvc.py'"):
        configs.load("cvv.py")
    with pytest.raises(InputError, match=r"did you mean 'published/isbi.py'"):
        configs.load("published/isbj.py")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("folds", "2", 2),
        ("learning_rate", "3e-4", 3e-4),
        ("grouped", "true", True),
        ("grouped", "False", False),
        ("models", "unet", ("unet",)),
        ("models", "unet,sharp_unet", ("unet", "sharp_unet")),
        ("models", "('unet', 'sharp_unet')", ("unet", "sharp_unet")),
        ("protocol", "nested", "nested"),
        ("loss", "dice", "dice"),
        ("loss", "{'cross_entropy': 1, 'dice': 0.5}", {"cross_entropy": 1.0, "dice": 0.5}),
        ("class_weights", "inverse", "inverse"),
        ("class_weights", "1,2.5", (1.0, 2.5)),
        ("max_runs", "3", 3),
        ("max_runs", "none", None),
    ],
)
def test_override_reads_the_fields_type(field, text, value):
    assert getattr(configs.override(Config(), field, text), field) == value


def test_override_reaches_inner_fields():
    config = configs.override(Config(), "data.size", "96,128")
    assert config.data.size == (96, 128)
    assert configs.override(config, "data.manual_dir", "a b/c=d").data.manual_dir == "a b/c=d"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ground,tumour (left)", ("ground", "tumour (left)")),
        ("(a) one, 5' end", ("(a) one", "5' end")),
        ("('ground', \"it's\",)", ("ground", "it's")),
        ("[ ground ]", ("ground",)),
    ],
)
def test_signs_in_names_stay(text, names):
    assert configs.override(Config(), "data.classes", text).data.classes == names


def test_augment_none_sets_all_of_it_to_its_defaults():
    shipped = configs.load("folder.py")
    assert shipped.augment != Augment()
    assert configs.override(shipped, "augment", "none") == dataclasses.replace(shipped, augment=Augment())


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("augment", "0", "--config.augment: name one of its fields: flip, turn"),
        ("modles", "unet", r"--config.modles: no such field; did you mean --config.models\?"),
        ("data.sise", "1,2", r"--config.data.sise: no such field; did you mean --config.data.size\?"),
        ("data", "x", "name one of its fields"),
        ("folds.k", "2", "folds has no fields"),
        ("folds", "two", "--config.folds=two: expected a whole number"),
        ("folds", "2.5", "expected a whole number"),
        ("learning_rate", "fast", "expected a number"),
        ("grouped", "yes", "expected true or false"),
        ("protocol", "papre", "expected one of paper, nested"),
        ("data.size", "96", "expected 2 values"),
        ("loss", "{'dice': 'x'}", "expected a mapping"),
        ("loss", "{[1]: 1}", "expected a mapping"),
        ("loss", "{" * 100_000, "expected a mapping"),
        ("loss", "{'dice': " + "-" * 100_000 + "1}", "expected a mapping"),
        ("loss", f"{{'dice': 1{400 * '0'}}}", "int too large to convert to float"),
        ("folds", 5000 * "9", "expected a whole number"),
    ],
)
def test_override_refuses_in_one_line(field, text, message):
    with pytest.raises(InputError, match=message) as raised:
        configs.override(Config(), field, text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "field", ["augment.blur", "batch_size", "data.size", "loss", "models", "monitor", "skip_kernel"]
)
def test_a_value_of_thousands_of_letters_is_cut_in_the_message(field):
    with pytest.raises(InputError, match=field.partition(".")[0]) as error:
        check.config(configs.override(configs.load("demo.py"), field, 5000 * "x"), 1)
    assert len(str(error.value)) < 1000
