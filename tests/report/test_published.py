"""The paper's own scores, against its tables."""

import numpy as np
import pytest

from sharp_unet_jax.report import published
from tests.report import sweep_writer
from tests.report.sweep_writer import scores


@pytest.fixture
def sweep(tmp_path):
    models = ("unet", "sharp_unet", "sharp_unet+scaled", "unet_resnet50", "sharp_unet_resnet50", "unet_resnet34")
    made = dict.fromkeys(models, scores(0.7, shape=(1, 2, 2)))
    return sweep_writer.write(tmp_path, made, dataset="isbi2012")


@pytest.mark.parametrize(
    ("model", "table", "jaccard", "dice"),
    [
        ("unet", 1, 83.95, 91.23),
        ("unet", 3, 83.95, 91.13),  # the paper's tables differ
        ("sharp_unet", 1, 87.00, 92.96),
        ("unet_resnet50", 1, 89.36, 92.96),  # only Table 3 has it
        ("sharp_unet_resnet50", 3, 91.21, 93.52),
    ],
)
def test_scores_are_those_of_the_table(sweep, model, table, jaccard, dice):
    found = published.scores(sweep, model, table)
    assert (found["jaccard_mean"], found["dice_mean"]) == (jaccard, dice)


def test_outputs_of_the_authors_are_there_where_they_differ_from_the_table(tmp_path):
    models = ("unet", "unet_resnet50", "sharp_unet_resnet50", "wide_sharp_unet")
    made = dict.fromkeys(models, scores(0.7, shape=(1, 2, 2)))
    cvc, isbi = (sweep_writer.write(tmp_path / name, made, dataset=name) for name in ("cvc_clinicdb", "isbi2012"))
    plain, sharp, wide = (published.scores(cvc, model, 3, "outputs")["jaccard_mean"] for model in models[1:])
    assert np.isnan(plain)
    assert (sharp, wide) == (83.7544, 75.9263)
    assert published.scores(cvc, "sharp_unet_resnet50", 3)["jaccard_mean"] == 83.98
    assert published.scores(cvc, "wide_sharp_unet", 3).isna().all()
    assert published.scores(isbi, "unet", 3, "outputs")["dice_mean"] == 91.2311
    assert published.scores(isbi, "unet", 1, "outputs").isna().all()  # Table 1 prints it


@pytest.mark.parametrize(
    ("dataset", "jaccard"), [("lung_ct/minmax", 94.75), ("covid19_ct/hu512", 85.24), ("covid19_ct/semiseg", np.nan)]
)
def test_a_data_set_prepared_as_in_the_authors_code_has_its_scores(tmp_path, dataset, jaccard):
    prepared = sweep_writer.write(tmp_path, {"unet": scores(0.7, shape=(1, 2, 2))}, dataset=dataset)
    assert published.knows(prepared) == np.isfinite(jaccard)
    np.testing.assert_equal(published.scores(prepared, "unet")["jaccard_mean"], jaccard)


@pytest.mark.parametrize("model", ["sharp_unet+scaled", "unet_resnet34"])
def test_other_kernels_and_other_networks_have_none(sweep, model):
    assert published.scores(sweep, model).isna().all()


def test_other_data_sets_are_not_known(sweep, tmp_path):
    other = sweep_writer.write(tmp_path / "other", {"unet": scores(0.7, shape=(1, 2, 2))})
    assert published.knows(sweep)
    assert not published.knows(other)
    assert published.scores(other, "unet").isna().all()
