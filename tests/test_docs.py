"""What the manual and the READMEs tell people to type: commands are understood, additions apply and work."""

import argparse
import importlib
import inspect
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from launch.console import config as configs
from sharp_unet_jax.config import Augment, Config, Data

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "results/README.md",
    *(ROOT / "docs").rglob("*.md"),
    *ROOT.glob("datasets/*/README.md"),
]
EXTENDING = ROOT / "docs/extending.md"


def commands() -> list[tuple[str, str]]:
    """(module, arguments) of every command of ours, on a line of its own or within a sentence."""
    found = set()
    for page in PAGES:
        blocks, prose = [], []
        for i, part in enumerate(re.split(r"^```", page.read_text(), flags=re.MULTILINE)):
            (blocks if i % 2 else prose).append(part)
        lines = [line.partition(" #")[0] for line in "".join(blocks).splitlines()]
        lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", "".join(prose))]
        for line in lines:
            found |= set(re.findall(r"python -m ((?:launch|datasets)\.\w+) (.+)", line))
            found |= {("launch.cv", each) for each in re.findall(r"(?:\.sbatch|slice\.sh) (--.+)", line)}
    return sorted(each for each in found if "scans" not in each[1])  # a data set that docs/extending.md invents


class Understood(Exception):  # noqa: N818
    """Raised where a command would begin to work."""


def stop(parser, arguments=None, namespace=None, _parse=argparse.ArgumentParser.parse_known_args):
    """As argparse's own, but for what follows."""
    known, rest = _parse(parser, arguments, namespace)
    configs.overridden(configs.load(known.config) if "config" in known else Config(), rest)
    raise Understood


@pytest.mark.parametrize(("module", "arguments"), commands())
def test_commands_are_understood(module, arguments, monkeypatch):
    arguments = [each for each in shlex.split(arguments) if each != "..."]
    if module == "datasets.build":  # defines its flags where it is run
        defined = re.findall(r'flags\.DEFINE_\w+\("(\w+)"', (ROOT / "datasets/build.py").read_text())
        assert all(re.match(r"--(\w+)", each)[1] in defined for each in arguments)
        return
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", stop)
    run = importlib.import_module(module).run
    console = [Console(file=io.StringIO())] if "console" in inspect.signature(run).parameters else []
    with pytest.raises(Understood):
        run(arguments, *console)


def test_there_are_commands():
    assert len(commands()) > 30


@pytest.mark.parametrize("cls", [Config, Data, Augment])
def test_every_setting_is_read_with_its_comment(cls, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import fields

    found = {each.name: each for each in fields.of(cls)}
    assert list(found) == list(get_type_hints(cls))
    silent = {name for name, each in found.items() if not each.comment and "default_factory" not in each.default}
    assert silent <= {"folds", "skip_padding", "seed"}  # their names say it
    if cls is Config:
        assert found["precision"].comment.startswith("The network's arithmetic")
        assert found["learning_rate"] == ("learning_rate", "float", "0.001", "Adam")


@pytest.fixture
def extended(tmp_path):
    """A copy of the packages with all that docs/extending.md adds."""
    page = EXTENDING.read_text()
    for name in ("sharp_unet_jax", "datasets", "launch"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in re.findall(r':caption: "`(\S+)` \(a new file\)"\n\n(.*?)```', page, re.DOTALL):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    patch = "".join(re.findall(r"```diff\n(.*?)```", page, re.DOTALL))
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=patch, text=True, check=True)
    return tmp_path


def command(folder: Path, *arguments: str) -> str:
    """What `python -m ...` prints in the copy."""
    environment = os.environ | {"PYTHONPATH": str(folder), "TFDS_DATA_DIR": str(folder / "built")}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_additions_apply(extended):
    text = (extended / "sharp_unet_jax/models/__init__.py").read_text()
    assert '_twins("unet_strided", "sharp_unet_strided", _strided)' in text
    for path in extended.rglob("*.py"):
        compile(path.read_text(), path, "exec")


@pytest.mark.slow
def test_added_loss_and_network_train(extended):
    demo = ("launch.cv", "--config=demo.py", "--config.data.size=32,32", "--config.epochs=1", "--config.max_runs=1")
    said = command(extended, *demo, "--config.loss=log_cosh_dice", "--config.models=sharp_unet_strided")
    assert "sharp_unet_strided/repeat0-fold0: Jaccard" in said


@pytest.mark.slow
def test_added_data_set_is_built(extended):
    rng = np.random.default_rng(0)
    for patient in range(6):
        for number in range(2):
            image = rng.integers(0, 256, (40, 48), np.uint8)
            for kind, pixels in (("images", image), ("outlines", np.uint8(255) * (image > 200))):
                path = extended / f"downloads/scans/{kind}/P{patient:03d}_{number:02d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    said = command(extended, "datasets.build", "--dataset=scans", f"--manual_dir={extended / 'downloads'}")
    assert "12 images, 40x48, classes background, outlined; 6 groups" in said
    assert configs.load(str(extended / "launch/configs/scans.py")).data.builder == "scans"
