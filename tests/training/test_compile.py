"""What is asked of XLA, and how many images a network is given at once."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import pytest

from sharp_unet_jax.training import compile
from tests.training.fits import CONFIG


@pytest.mark.parametrize(
    ("platform", "devices", "batch", "size", "images"),
    [
        ("cpu", 1, 16, (192, 256), 8),
        ("cpu", 1, 4, (192, 256), 4),
        ("cpu", 3, 16, (192, 256), 18),
        ("cpu", 2, 1, (2048, 2048), 2),
        ("gpu", 1, 16, (192, 256), 16),
        ("gpu", 3, 16, (2048, 2048), 18),
    ],
)
def test_how_many_images_are_evaluated_at_once(platform, devices, batch, size, images):
    devices = [types.SimpleNamespace(platform=platform)] * devices
    assert compile.eval_batch_size(dataclasses.replace(CONFIG, batch_size=batch), size, devices) == images


def test_a_product_on_the_cpu_is_not_given_to_ynnpack():
    product = jax.jit(jnp.matmul, compiler_options=compile.compiler_options(CONFIG, "cpu"))
    matrix = jnp.ones((256, 256))
    assert "ynn_fusion" not in product.lower(matrix, matrix).compile().as_text()
