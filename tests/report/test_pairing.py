"""The pairing of models and their short names, against lists written by hand."""

import pytest

from sharp_unet_jax.report import pairing
from tests.report import sweep_writer
from tests.report.sweep_writer import facts, scores

KERNELS = ("unet", "sharp_unet+scaled", "sharp_unet+laplacian", "sharp_unet+laplacian_of_gaussian+reflect")


@pytest.fixture
def of(tmp_path):
    def write(*models, **options):
        return sweep_writer.write(tmp_path, dict.fromkeys(models, scores(0.7, shape=(1, 2, 3))), **options)

    return write


def test_every_sharp_twin_stands_by_its_plain_model(of):
    sweep = of("sharp_unet", "unet", "wide_unet", "sharp_unet_resnet50", "unet_resnet34")
    assert pairing.families(sweep) == [
        ["unet", "sharp_unet"],
        ["wide_unet"],
        ["sharp_unet_resnet50"],
        ["unet_resnet34"],
    ]
    assert pairing.panels(sweep) == pairing.families(sweep)
    assert pairing.twins(sweep) == [("sharp_unet", "unet")]
    assert pairing.one_a_network(sweep) == []
    assert pairing.kernel_variants(sweep) == []
    assert pairing.short_names(sweep)["sharp_unet"] == "sharp_unet"


def test_models_of_any_name_are_paired_by_what_their_records_say(of):
    known = {
        "sharp_a": facts("one", "unet"),
        "b": facts("one", "unet", "laplacian"),
        "c+d": facts("two", "resnet50"),
        "unet": facts("two", "resnet50", "scaled", "reflect"),
        "e": facts("two", "resnet50", "sharpen"),
    }
    sweep = of(*known, models=known)
    assert pairing.families(sweep) == [["sharp_a", "b"], ["c+d", "unet", "e"]]
    assert pairing.twins(sweep) == [("b", "sharp_a"), ("unet", "c+d"), ("e", "c+d")]
    assert pairing.kernel_variants(sweep) == ["unet", "e"]
    assert pairing.reference_kernel(sweep) == "unet"
    assert pairing.short_names(sweep) == {
        "sharp_a": "sharp_a",
        "b": "b",
        "c+d": "c+d",
        "unet": "scaled, reflect",
        "e": "sharpen",
    }


def test_a_sharp_model_comes_before_its_twin(of):
    names = ["unet", "sharp_unet", "unet_resnet50", "wide_sharp_unet", "wide_unet"]
    pairs = pairing.pairs(of(*names), names)
    assert len(pairs) == 10
    assert {("sharp_unet", "unet"), ("wide_sharp_unet", "wide_unet"), ("sharp_unet", "unet_resnet50")} <= {*pairs}


def test_several_networks_with_a_single_sharp_twin_each(of):
    pairs = [("sharp_unet", "unet"), ("wide_sharp_unet", "wide_unet")]
    sweep = of("unet", "unet_resnet34", "sharp_unet", "wide_unet", "wide_sharp_unet", "sharp_unet_resnet50")
    assert pairing.one_a_network(sweep) == pairing.twins(sweep) == pairs


def test_models_without_a_finished_run_are_left_out(of):
    sweep = of("unet", "sharp_unet", failed=("unet/repeat0-fold0", "unet/repeat0-fold1"))
    assert list(sweep.models) == ["sharp_unet"]
    assert pairing.plain_twin(sweep, "sharp_unet") is None


def test_no_kernel_is_left_out(of):
    sweep = of(*KERNELS)
    assert pairing.families(sweep) == [[*KERNELS]]
    assert pairing.panels(sweep) == [["unet", kernel] for kernel in KERNELS[1:]]
    assert pairing.kernel_variants(sweep) == [*KERNELS[1:]]
    assert [*pairing.short_names(sweep).values()] == ["unet", "scaled", "laplacian", "laplacian of gaussian, reflect"]
    assert pairing.reference_kernel(sweep) == "sharp_unet+laplacian"


def test_kernels_without_the_papers_and_without_a_plain_network(of):
    sweep = of("sharp_unet+scaled", "sharp_unet+random")
    assert pairing.reference_kernel(sweep) == "sharp_unet+scaled"
    assert pairing.families(sweep) == pairing.panels(sweep) == [["sharp_unet+scaled"], ["sharp_unet+random"]]
    assert pairing.twins(sweep) == []


def test_one_kernel_is_no_comparison_and_keeps_its_name(of):
    sweep = of("unet", "sharp_unet+scaled")
    assert pairing.kernel_variants(sweep) == []
    assert pairing.short_names(sweep)["sharp_unet+scaled"] == "sharp_unet+scaled"


def test_two_models_of_one_kernel_keep_their_names(of):
    sweep = of("sharp_unet", "sharp_unet+laplacian", "sharp_unet+scaled")
    assert [*pairing.short_names(sweep).values()] == ["sharp_unet", "sharp_unet+laplacian", "scaled"]
    assert pairing.reference_kernel(sweep) == "sharp_unet"


def test_the_papers_kernel_is_the_laplacian_with_zero_padding(of):
    sweep = of("unet", "sharp_unet", "sharp_unet+laplacian+reflect", "sharp_unet+scaled")
    assert [model for model in sweep.models if pairing.has_paper_kernel(sweep, model)] == ["unet", "sharp_unet"]
