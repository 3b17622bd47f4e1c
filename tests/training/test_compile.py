"""XLA's options, the precision of products, and the size of evaluation batches."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import pytest
from jax import lax

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
def test_eval_batch_size(platform, devices, batch, size, images):
    devices = [types.SimpleNamespace(platform=platform)] * devices
    assert compile.eval_batch_size(dataclasses.replace(CONFIG, batch_size=batch), size, devices) == images


@pytest.mark.parametrize(
    ("precision", "platform", "expected"),
    [
        ("float32", "cpu", None),
        ("float32", "tpu", (lax.Precision.HIGHEST, lax.Precision.HIGHEST)),
        ("tf32", "tpu", (lax.Precision.HIGHEST, lax.Precision.HIGHEST)),
        ("bfloat16", "tpu", None),
    ],
)
def test_the_config_decides_the_precision_of_products(precision, platform, expected):
    """A setting of the caller has no effect."""
    product = compile.jit(jnp.matmul, dataclasses.replace(CONFIG, precision=precision), platform)
    with jax.default_matmul_precision("bfloat16"):
        jaxpr = product.trace(jnp.ones((2, 2)), jnp.ones((2, 2))).jaxpr.jaxpr
    assert [equation.params["precision"] for equation in jaxpr.eqns] == [expected]


def test_a_program_is_named_after_its_function():
    """XLA's dumps and the files of the compilation cache have the name; a partial has none itself."""

    def plus(a, b):
        return a + b

    program = compile.jit(functools.partial(plus, 1), CONFIG, "cpu")
    assert "jit_plus" in program.lower(2).as_text()


def test_a_product_on_the_cpu_is_not_given_to_ynnpack():
    product = jax.jit(jnp.matmul, compiler_options=compile.compiler_options(CONFIG, "cpu"))
    matrix = jnp.ones((256, 256))
    assert "ynn_fusion" not in product.lower(matrix, matrix).compile().as_text()
