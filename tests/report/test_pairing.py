"""Which models stand side by side, and their names, against lists written by hand."""

import pytest

from sharp_unet_jax.report import pairing
from tests.report import sweep_writer
from tests.report.sweep_writer import scores

KERNELS = ("unet", "sharp_unet+scaled", "sharp_unet+laplacian", "sharp_unet+laplacian_of_gaussian+reflect")


@pytest.fixture
def of(tmp_path):
    def write(*models):
        return sweep_writer.write(tmp_path, dict.fromkeys(models, scores(0.7, shape=(1, 2, 3))))

    return write


def test_every_sharp_twin_stands_by_its_plain_model(of):
    sweep = of("sharp_unet", "unet", "wide_unet", "sharp_unet_resnet50", "unet_resnet34")
    assert pairing.families(sweep) == [
        ["unet", "sharp_unet"],
        ["wide_unet"],
        ["sharp_unet_resnet50"],
        ["unet_resnet34"],
    ]
    assert pairing.sides(sweep) == pairing.families(sweep)
    assert not pairing.has_kernels(sweep)
    assert pairing.shown(sweep)["sharp_unet"] == "sharp_unet"


def test_no_kernel_is_left_out(of):
    sweep = of(*KERNELS)
    assert pairing.families(sweep) == [[*KERNELS]]
    assert pairing.sides(sweep) == [["unet", kernel] for kernel in KERNELS[1:]]
    assert pairing.has_kernels(sweep)
    assert [*pairing.shown(sweep).values()] == ["unet", "scaled", "laplacian", "laplacian of gaussian, reflect"]
    assert pairing.reference(sweep) == "sharp_unet+laplacian"


def test_kernels_without_the_papers_and_without_a_plain_network(of):
    sweep = of("sharp_unet+scaled", "sharp_unet+random")
    assert pairing.reference(sweep) == "sharp_unet+scaled"
    assert pairing.families(sweep) == pairing.sides(sweep) == [["sharp_unet+scaled"], ["sharp_unet+random"]]


def test_one_kernel_is_no_comparison_and_keeps_its_name(of):
    sweep = of("unet", "sharp_unet+scaled")
    assert not pairing.has_kernels(sweep)
    assert pairing.shown(sweep)["sharp_unet+scaled"] == "sharp_unet+scaled"


def test_the_papers_network_under_its_other_name():
    assert pairing.published("sharp_unet+laplacian") == "sharp_unet"
    assert pairing.published("sharp_unet+laplacian+reflect") == "sharp_unet+laplacian+reflect"
    assert pairing.published("unet") == "unet"
