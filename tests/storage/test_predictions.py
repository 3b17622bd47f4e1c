"""The predictions of runs on crops, which have sizes of their own, and the resolution that records say."""

import numpy as np
import pytest

from sharp_unet_jax.config import Data
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.ragged import Ragged
from sharp_unet_jax.report import records
from tests.edits import edit_record, follow
from tests.report import synthetic
from tests.report.synthetic import noisy, of_sizes, with_native

RUN = "unet/repeat0-fold0"
SIZES = [(16, 24), (30, 20), (40, 17), (18, 26)]


@pytest.fixture
def crops(tmp_path):
    return synthetic.sweep(tmp_path, of_sizes(SIZES), noisy, data=Data(builder="squares", size=(16, 16), fit="crop"))


def test_images_have_their_own_sizes(crops):
    found = crops.predictions(RUN)
    assert isinstance(found, Ragged)
    expected = [SIZES[int(image)] for image in crops.test_ids(RUN)]
    assert [image.shape for image in found] == [(*size, 1) for size in expected]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, s: {"probabilities": p}, "it does not hold the heights and widths of 2 images"),
        (lambda p, s: {"probabilities": p, "sizes": s[:1]}, "it does not hold the heights and widths"),
        (lambda p, s: {"probabilities": p, "sizes": s.astype(np.int32)}, "it does not hold the heights and widths"),
        (lambda p, s: {"probabilities": p, "sizes": s.astype(float)}, "it does not hold the heights and widths"),
        (lambda p, s: {"probabilities": p, "sizes": -s}, "it does not hold the heights and widths"),
        (lambda p, s: {"probabilities": p, "sizes": s * 0}, "it does not hold the heights and widths"),
        (lambda p, s: {"probabilities": p, "sizes": s * 2**40}, "it does not hold the heights and widths"),
        (lambda p, s: {"probabilities": p[1:], "sizes": s}, "it holds uint8 .*, the run has uint8 "),
        (lambda p, s: {"probabilities": p / 255, "sizes": s}, "it holds float64 .*, the run has uint8 "),
        (lambda p, s: {"probabilities": p.repeat(2, axis=1), "sizes": s}, "it holds uint8 .*, the run has uint8 "),
        (lambda p, s: {"sizes": s}, "probabilities"),
    ],
)
def test_damage_is_one_line(crops, change, message):
    path = crops.folder(RUN) / "predictions.npz"
    with np.load(path) as file:
        changed = change(file["probabilities"], file["sizes"])
    np.savez_compressed(path, **changed)
    follow(crops.workdir)
    with pytest.raises(InputError, match=rf"predictions.npz is damaged \(.*{message}") as caught:
        crops.predictions(RUN)
    assert "\n" not in str(caught.value)


def test_a_record_that_was_scored_at_another_resolution_is_refused(tmp_path):
    data = Data(builder="squares", size=(16, 24), score="native")
    sweep = synthetic.sweep(tmp_path, with_native(), lambda run, masks: 200 * masks[..., None], data=data)
    edit_record(sweep.folder(RUN) / "record.json", config=sweep.finished[RUN]["config"] | {"data.score": "trained"})
    with pytest.raises(InputError, match=r"config.json is not .* data.score='native', the record 'trained'"):
        assert records.load(tmp_path).finished
