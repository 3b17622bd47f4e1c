"""The manual and the READMEs: commands are understood, tables are the code's, links lead somewhere, additions work."""

import argparse
import importlib
import inspect
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from launch.console import config as configs
from sharp_unet_jax.config import Augment, Config, Data

ROOT = Path(__file__).parents[1]
READMES = [ROOT / name for name in ("README.md", "bench/README.md", "results/README.md")]
MANUAL = [*READMES, *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [*MANUAL, *sorted(ROOT.glob("datasets/*/README.md"))]
EXTENDING = ROOT / "docs/extending.md"
COLUMNS = 80  # of a code block: a code host cuts longer lines
CHANGE = re.compile(r"<!-- (new|before|after|replace) (\S+) ?(.*?) ?-->\n\n```\w+\n(.*?)```", re.DOTALL)
WHOLE = re.compile(r"(python3 -m venv|\.venv/bin/pip) .*&&")  # lines of README.md that are copied, and run by .ci/run


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the code blocks of a page as (language, text)."""
    return re.findall(r"^```(\S*)[^\n]*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    """Return (module, arguments) of every command of this project, in a code block or within a sentence."""
    found = set()
    for page in PAGES:
        text = "".join(code for language, code in blocks(page) if language == "bash").replace("\\\n", " ")
        lines = [line.partition(" #")[0] for line in text.splitlines()]
        lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]
        for line in lines:
            found |= set(re.findall(r"python -m ((?:launch|datasets)\.\w+) (.+)", line))
            found |= {("launch.cv", each) for each in re.findall(r"(?:\.sbatch|slice\.sh)\s+(--.+)", line)}
    # docs/extending.md invents the data set scans.
    return sorted(each for each in found if "scans" not in each[1] and each[1] != "--help")


class Understood(Exception):  # noqa: N818
    """A command would begin to work here."""


def stop(parser, arguments=None, namespace=None, _parse=argparse.ArgumentParser.parse_known_args):
    """Parse as argparse does, check the config's fields, and stop."""
    known, rest = _parse(parser, arguments, namespace)
    configs.overridden(configs.load(known.config) if getattr(known, "config", "") else Config(), rest)
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


@pytest.fixture
def tables(monkeypatch):
    """Return docs/tables.py."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("tables")


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "results/README.md"], ids=lambda page: page.stem
)
def test_tables_are_those_of_the_code_and_the_records(page, tables):
    # Written by `python docs/tables.py`.
    assert tables.filled(page.read_text()) == page.read_text()


def test_packed_sweeps_have_the_tables_of_todays_report(tables):
    # Written by `python docs/tables.py`.
    assert len(tables.PACKED) > 30
    for folder in tables.PACKED:
        for name, text in tables.packed(folder).items():
            assert (folder / name).read_text() == text, folder.name


def test_the_notebook_for_colab_has_the_address_of_pyproject(tables, monkeypatch):
    text = tables.NOTEBOOK.read_text()
    assert tables.addressed(text) == text  # else give `python docs/tables.py`
    asked = "<!-- notebook examples/your_images.ipynb -->\n<!-- end -->\n"
    assert "colab.research" not in tables.filled(asked)
    monkeypatch.setattr(tables, "repository", lambda: "https://github.com/someone/unets.git")
    address = "https://colab.research.google.com/github/someone/unets/blob/main/examples/your_images.ipynb"
    assert f"]({address})" in tables.filled(asked)
    (cell,) = (each for each in json.loads(tables.addressed(text))["cells"] if "git" in "".join(each["source"]))
    assert 'REPOSITORY = "https://github.com/someone/unets.git"' in "".join(cell["source"])


def test_a_table_follows_the_code(tables):
    empty = "# Page\n\n<!-- fields sharp_unet_jax.config.Data data. -->\n<!-- end -->\nMore.\n"
    filled = tables.filled(empty)
    assert "| `data.size` | (height, width) in pixels | `tuple[int, int]` | `(64, 64)` |" in filled
    assert tables.filled(filled.replace("(64, 64)", "(32, 32)")) == filled
    assert filled.endswith("\nMore.\n")
    said = tables.filled("<!-- options launch.predict -->\n<!-- end -->\n")
    assert "| `--tile=H,W` | cut images into tiles" in said
    assert "`--help`" not in said


def test_every_module_is_in_the_manual():
    api = "".join(page.read_text() for page in (ROOT / "docs/api").glob("*.md"))
    named = set(re.findall(r"\.\. automodule:: (\S+)", api))
    paths = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "sharp_unet_jax").rglob("*.py")]
    assert named == {".".join(path.parts).removesuffix(".__init__") for path in paths} - {"sharp_unet_jax"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_names_and_lead_somewhere(page):
    links = re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", prose(page))
    assert all(name.strip() for name, _ in links)
    missing = {target for _, target in links if "://" not in target and not _leads(page, target)}
    assert not missing


def _leads(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    aimed = (page.parent / path).resolve() if path else page
    if not anchor or aimed.suffix != ".md":
        return aimed.exists()
    headings = re.findall(r"^#+ (.+)", aimed.read_text(), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", MANUAL, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_code_host_shows_whole_lines(page):
    code = [line for _, text in blocks(page) for line in text.splitlines()]
    assert not [line for line in code if len(line) > COLUMNS and not WHOLE.match(line)]
    assert not [line for line in prose(page).splitlines() if len(line) > 120 and not line.startswith("|")]


@pytest.mark.parametrize("cls", [Config, Data, Augment])
def test_every_setting_is_read_with_its_comment(cls, tables):
    found = {each.name: each for each in tables.dataclass_fields.of(cls)}
    assert list(found) == list(get_type_hints(cls))
    silent = {name for name, each in found.items() if not each.comment and "default_factory" not in each.default}
    assert silent <= {"seed"}  # its name says it
    if cls is Config:
        assert found["precision"].comment.startswith("The network's arithmetic")
        assert found["learning_rate"] == (
            "learning_rate",
            "float",
            "0.001",
            "at the start of the schedule, its highest; the paper's, for Adam",
        )


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """Return a copy of the packages with all changes of docs/extending.md."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("sharp_unet_jax", "datasets", "launch"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for kind, path, anchor, code in CHANGE.findall(EXTENDING.read_text()):
        change(folder / path, kind, anchor, code)
    return folder


def change(path: Path, kind: str, anchor: str, code: str) -> None:
    """Write a new file, or write `code` before, after or instead of the line of a file that begins with `anchor`."""
    if kind == "new":
        assert not path.exists()
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
        return
    lines = path.read_text().splitlines(keepends=True)
    (at,) = [number for number, line in enumerate(lines) if line.lstrip().startswith(anchor)]
    code = textwrap.indent(code, " " * (len(lines[at]) - len(lines[at].lstrip())))
    lines[at] = {"before": f"{code}\n\n{lines[at]}", "after": lines[at] + code, "replace": code}[kind]
    path.write_text("".join(lines))


def command(folder: Path, *arguments: str) -> str:
    """Return what `python -m ...` prints in the copy."""
    return python(folder, "-m", *arguments)


def python(folder: Path, *arguments: str) -> str:
    """Return what Python prints in the copy."""
    environment = os.environ | {"PYTHONPATH": str(folder), "TFDS_DATA_DIR": str(folder / "built")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


ASK = """
import json
import jax
from flax import nnx
from datasets import build, formats
from sharp_unet_jax import losses, metrics, models, ops

def size(name):
    network = nnx.eval_shape(lambda: models.build(name, rngs=nnx.Rngs(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))

print(json.dumps({
    "loss": "log_cosh_dice" in losses.LOSSES,
    "metric": float(metrics.of_masks("f2", [[1, 1, 0]], [[0, 1, 1]])),
    "sizes": [size(name) for name in ("unet_strided", "sharp_unet_strided", "unet_3plus", "sharp_unet_3plus")],
    "kernel": float(ops.KERNELS["isotropic"].sum()),
    "format": list(formats.FAMILIES[-1].SUFFIXES),
    "data set": build.BUILDERS[-1],
}))
"""


def test_ten_changes_are_registered(extended):
    found = json.loads(python(extended, "-c", ASK))
    plain, sharp, full_scale, sharp_full_scale = found.pop("sizes")
    assert plain == sharp
    assert full_scale == sharp_full_scale < 7_760_097  # of the U-Net: its authors' point
    assert found == {
        "loss": True,
        "metric": pytest.approx(5 / 10),  # intersection 1, truth 2, predicted 2
        "kernel": pytest.approx(0, abs=1e-6),
        "format": [".npy"],
        "data set": "scans",
    }


@pytest.mark.slow
def test_changes_train_report_and_predict(extended):
    said = command(
        extended,
        "launch.cv",
        "--config=demo.py",
        "--config.data.size=32,32",
        "--config.epochs=1",
        "--config.max_runs=3",
        "--config.loss=log_cosh_dice",
        "--config.models=sharp_unet_strided,sharp_unet_3plus,sharp_unet+isotropic",
        "--workdir=work",
    )
    assert "sharp_unet_3plus/repeat0-fold0: Jaccard" in said
    record = json.loads((extended / "work/runs/sharp_unet+isotropic/repeat0-fold0/record.json").read_text())
    assert 0 <= record["f2"] <= 1
    assert record["kernel"]["name"] == "isotropic"
    assert (extended / "work/scores.csv").read_text().partition("\n")[0].endswith(",f2")
    assert (extended / "work/report/figures/histogram.svg").exists()
    assert "Hardest images" in (extended / "work/report/tables/hardest.md").read_text()
    np.save(extended / "picture.npy", np.zeros((40, 50, 3), np.uint8))
    command(extended, "launch.predict", "--run=work", "--model=sharp_unet_strided", "picture.npy", "predicted")
    assert np.load(extended / "predicted/masks/picture.npy").shape == (40, 50)


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


def test_two_sets_of_masks_are_compared_as_the_manual_says(tmp_path, monkeypatch, capsys):
    [code] = [code for language, code in blocks(ROOT / "docs/predict.md") if "over_images" in code]
    for name, gain in (("a", 0.1), ("b", 0.0)):
        rows = [
            f"{image:03},p{image // 2},{label},{0.5 + image / 100 + gain}"
            for image in range(10)
            for label in ("background", "lesion")
        ]
        (tmp_path / f"evaluation-{name}").mkdir()
        (tmp_path / f"evaluation-{name}/per_image.csv").write_text("\n".join(["id,group,class,jaccard", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    printed = capsys.readouterr().out
    assert re.search(r"mean=(10\.0|9\.9999|10\.0000)\d*, ", printed)
    assert "images=10, groups=5" in printed
