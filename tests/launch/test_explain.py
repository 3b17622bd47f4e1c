"""The command: which pictures it leaves, and what it refuses in a line."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from launch import explain
from sharp_unet_jax.errors import InputError
from tests.conftest import squares

pytestmark = pytest.mark.usefixtures("tiny_models")

PLAIN, SHARP = "runs/unet/repeat0-fold0", "runs/sharp_unet/repeat0-fold0"


@pytest.fixture
def prepared(done, tmp_path):
    """The finished sweep, with its images where it would have left them."""
    dataset = squares()
    (tmp_path / "prepared").mkdir()
    for part in ("images", "masks"):
        np.save(tmp_path / "prepared" / f"{part}.npy", getattr(dataset, part))
    names = {"ids": dataset.ids, "sha256": dataset.sha256}
    (tmp_path / "prepared" / "names.json").write_text(json.dumps(names))
    (done / "data.json").write_text(json.dumps({"prepared": str(tmp_path / "prepared")}))
    return done


def test_plain_beside_sharp(prepared, tmp_path, capsys):
    runs = [f"--run={prepared / name}" for name in (PLAIN, SHARP)]
    explain.run([*runs, "--image=003", "--region=2,4,8,10", f"--output={tmp_path / 'out'}"])
    names = {"gradcam-003", "sharp-sharp_unet-repeat0-fold0-003"}
    files = {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == files
    text = (tmp_path / "out" / "gradcam-003.svg").read_text()
    for word in ("unet", "sharp_unet", "square", "first"):
        assert re.search(rf"<!-- .*\b{word}\b.* -->", text)
    assert np.asarray(Image.open(tmp_path / "out" / "gradcam-003.png")).std() > 10
    assert "gradcam-003" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image=003", "--class=cat"], "no such class; the runs know background, square"),
        (["--image=999"], r"nor id in squares; test images are \d{3}, "),
        (["--image=003", "--region=2,4"], "give prediction, image, or TOP"),
        (["--image=003", "--region=9,4,8,8"], "within 16x24 pixels"),
    ],
)
def test_wrong_input_is_answered_in_a_line_and_leaves_nothing(prepared, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        explain.run([f"--run={prepared / SHARP}", f"--output={tmp_path / 'out'}", *arguments])
    assert not (tmp_path / "out").exists()


def test_an_image_file_is_brought_to_the_size_of_training(finished, tmp_path):
    Image.fromarray(squares(n=1, size=(32, 48)).images[0]).save(tmp_path / "mine.png")
    run = explain.trained.load(finished / SHARP)
    image, mask = explain._image(finished / SHARP, run, str(tmp_path / "mine.png"))
    assert (image.shape, mask) == ((16, 24, 3), None)
    with pytest.raises(InputError, match="the images of squares are not at hand"):
        explain._image(finished / SHARP, run, "003")
