"""The command: a file and its model card, or one line before any work is done."""

import io
import json
import re

import huggingface_hub
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from safetensors import safe_open

import sharp_unet_jax
from launch import export, predict
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from tests import chosen
from tests.conftest import shrink_models
from tests.edits import killed

pytestmark = pytest.mark.usefixtures("tiny_models")

RUN = "runs/unet/repeat0-fold0"


def command(*arguments):
    said = io.StringIO()
    export.run(arguments, Console(file=said))
    return said.getvalue()


def test_a_file_and_its_card(done, tmp_path):
    killed(tmp_path / "out" / "model")
    said = command(f"--run={done / RUN}", "--format=safetensors", f"--output={tmp_path / 'out' / 'model'}")
    assert "out/model: 0.0 MB; see model.md" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model", "model.md"}


def test_the_rule_of_choice_json_is_said_and_plain_leaves_it_out(done, tmp_path):
    chosen.write(done, {"unet": (0.45, True), "sharp_unet": (0.5,)})
    given = [f"--run={done / RUN}", "--format=safetensors", f"--output={tmp_path / 'model'}"]
    for more, said, metadata in (
        ([], "0.0 MB; masks by the rule of launch.choose: above 0.45, holes filled; see", (0.45, True)),
        (["--plain"], "0.0 MB; see", (0.5,)),
    ):
        assert said in " ".join(command(*given, *more).split())
        with safe_open(tmp_path / "model", "numpy") as file:
            assert json.loads(file.metadata()["rule"]) == Rule(*metadata)._asdict()
        assert f"is: {Rule(*metadata).words(True)}." in (tmp_path / "model.md").read_text()


def test_an_output_that_cannot_be_written_is_said_before_anything_is_converted(done, tmp_path, monkeypatch):
    monkeypatch.setattr("sharp_unet_jax.inference.export.to_onnx", lambda runs: pytest.fail("converted"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: is a file, not a folder: nothing can be written there"):
        command(f"--run={done / RUN}", "--format=onnx", f"--output={tmp_path / 'file' / 'model'}")
    with pytest.raises(InputError, match="is a folder"):
        command(f"--run={done / RUN}", "--format=onnx", f"--output={tmp_path}")


def test_what_fails_to_convert_leaves_nothing(done, tmp_path, monkeypatch):
    def fail(runs):
        raise InputError("cannot be converted")

    monkeypatch.setattr("sharp_unet_jax.inference.export.to_onnx", fail)
    with pytest.raises(InputError, match="cannot be converted"):
        command(f"--run={done / RUN}", "--format=onnx", f"--output={tmp_path / 'out' / 'model'}")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_path_with_brackets_is_printed_as_it_is(done, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out[v2]" / "model"
    given = [f"--run={done / RUN}", "--format=safetensors", f"--output={output}"]
    monkeypatch.setattr("sys.argv", ["launch.export", *given])
    export.main()
    assert f"{output}: " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["w", f"w/{RUN}"])
def test_a_home_is_found_behind_an_equals_sign(done, tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sharp_unet_jax.inference.export.to_onnx", lambda runs: b"model")
    command(f"--run=~/{name}", "--model=unet", "--format=onnx", "--output=~/out/model")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model", "model.md"}


@pytest.mark.parametrize("change", [{"images": None}, {"jaccard": "high"}])
def test_a_damaged_record_is_said_before_anything_is_converted(done, tmp_path, monkeypatch, change):
    monkeypatch.setattr("sharp_unet_jax.inference.export.to_onnx", lambda runs: pytest.fail("converted"))
    path = done / RUN / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match="record") as error:
        command(f"--run={done / RUN}", "--format=onnx", f"--output={tmp_path / 'out' / 'model'}")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_model_is_not_left_without_its_card(done, tmp_path):
    (tmp_path / "out" / "model.md").mkdir(parents=True)
    with pytest.raises(OSError, match=r"model\.md"):
        command(f"--run={done / RUN}", "--format=safetensors", f"--output={tmp_path / 'out' / 'model'}")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.md"]


@pytest.fixture(scope="module")
def folder(finished):
    """A folder for the hub with the runs of both networks."""
    path = finished.parent / "lesions"
    with pytest.MonkeyPatch.context() as patch:
        shrink_models(patch)
        said = command(
            f"--run={finished}", "--model=unet,sharp_unet", "--format=hub", f"--output={path}", "--repo=owner/lesions"
        )
    assert "lesions: 0.0 MB, the mean of 2 runs of unet and 2 of sharp_unet; see README.md" in " ".join(said.split())
    assert said.split()[-4:] == ["hf", "upload", "owner/lesions", str(path)]
    return path


def test_a_folder_for_the_hub_has_a_card_that_the_hub_reads(finished, folder):
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    data = huggingface_hub.ModelCard.load(folder / "README.md").data
    assert (data.library_name, data.pipeline_tag, data.license) == ("sharp_unet_jax", "image-segmentation", None)
    assert {"jax", "unet", "sharp_unet"} <= set(data.tags)
    records = [json.loads(path.read_text()) for path in finished.glob("runs/*/*/record.json")]
    for result, name in zip(data.eval_results, ("jaccard", "dice"), strict=True):
        assert result.metric_type == name
        assert result.metric_value == pytest.approx(np.mean([record[name] for record in records]), abs=1e-4)
        assert result.metric_name.endswith("mean of 4 runs")
        assert result.dataset_name == "squares"
        assert result.dataset_split == (
            "test folds of 2-fold cross-validation, repeats: 1; epochs chosen on the scored images, which flatters"
        )
    text = (folder / "README.md").read_text()
    assert "The mean itself was not scored" in text
    assert str(finished) not in text
    assert max(len(line) for line in text.splitlines()) <= 122


def test_the_code_of_the_card_runs_as_it_stands(folder, tmp_path, monkeypatch):
    Image.fromarray(np.full((20, 30, 3), 200, np.uint8)).save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
    code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    exec("\n".join(code), {})
    assert np.asarray(Image.open("mask.png")).shape == (20, 30)


def test_the_command_predicts_from_the_folder_or_the_hub_as_from_the_workdir(finished, folder, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: asked.append(name) or str(folder))
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "image.png")
    masks = []
    for name, given in (
        ("workdir", [f"--run={finished}", "--model=unet,sharp_unet"]),
        ("folder", [f"--run={folder}"]),
        ("hub", ["--run=hf://owner/lesions@main"]),
    ):
        predict.run([*given, str(tmp_path / "image.png"), str(tmp_path / name)], Console(file=io.StringIO()))
        masks.append((tmp_path / name / "masks/image.png").read_bytes())
        runs = json.loads((tmp_path / name / "prediction.json").read_text())["runs"]
        assert len(runs) == 4
    assert masks[0] == masks[1] == masks[2]
    assert asked == ["owner/lesions"]


def test_a_chosen_rule_goes_along(done, tmp_path):
    chosen.write(done, {"unet": (0.45, True), "sharp_unet": (0.5,)})
    said = command(f"--run={done}", "--model=unet", "--format=hub", f"--output={tmp_path / 'model'}")
    assert "mean of 2 runs of unet; masks by the rule of launch.choose: above 0.45, holes filled;" in said
    assert "hf upload OWNER/NAME" in said
    assert 'load(".")' in (tmp_path / "model/README.md").read_text()
    assert sharp_unet_jax.load(tmp_path / "model").rule == Rule(0.45, True)


def test_a_folder_with_other_files_is_left_alone(done, folder, tmp_path):
    given = [f"--run={done / RUN}", "--format=hub"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").touch()
    with pytest.raises(InputError, match=r"holds thesis\.tex, not written by this command: name another folder"):
        command(*given, f"--output={tmp_path / 'out'}")
    with pytest.raises(InputError, match="is a file: name a folder"):
        command(*given, f"--output={tmp_path / 'out/thesis.tex'}")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]
    command(*given, f"--output={tmp_path / 'model'}")
    command(f"--run={folder}", "--format=hub", f"--output={tmp_path / 'model'}")  # takes its place
    assert len(sharp_unet_jax.load(tmp_path / "model").runs) == 4


@pytest.mark.parametrize("more", [["--format=hub", "--repo=lesions"], ["--format=onnx", "--repo=owner/lesions"]])
def test_a_name_on_the_hub_has_an_owner_and_is_for_the_hub(done, tmp_path, more):
    with pytest.raises(InputError, match="give OWNER/NAME, and only with --format=hub"):
        command(f"--run={done / RUN}", f"--output={tmp_path / 'model'}", *more)
