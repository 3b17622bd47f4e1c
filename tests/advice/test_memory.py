"""The estimated memory of a training step: its parts, and XLA's own analysis of a small network's step."""

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest
from flax import nnx

from sharp_unet_jax import models
from sharp_unet_jax.advice import memory
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.training import epochs
from tests.conftest import squares

SIZE = (64, 64)


def needed(size=SIZE, model="unet", **options):
    return memory.need(Config(data=Data(size=size), **options), model, channels=3, num_classes=1)


@pytest.mark.usefixtures("tiny_models")
def test_parts():
    one, wide, half = needed(), needed((64, 128)), needed(precision="bfloat16")
    network = models.build("unet", num_classes=1, in_channels=3, rngs=nnx.Rngs(0))
    assert one.state == wide.state == 16 * sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))
    assert wide.image == pytest.approx(2 * one.image, rel=0.01)
    assert half.image < 0.75 * one.image
    assert one.multiple == 2


@pytest.mark.usefixtures("tiny_models")
def test_what_an_optimizer_and_averaged_weights_add_to_the_state():
    adam, sgd, both = needed(), needed(optimizer="sgd"), needed(optimizer="sgd", ema=0.9)
    assert 4 * sgd.state == 3 * adam.state
    assert both.state == adam.state
    assert both.image == adam.image


@pytest.mark.parametrize("model", ["unet", pytest.param("ternausnet16", marks=pytest.mark.slow)])
def test_a_network_with_more_parameters_than_activations(model):
    """Residuals hold the parameters in bfloat16, half their size: they must cancel, or the estimate gets negative."""
    whole, half = needed(model=model), needed(model=model, precision="bfloat16")
    assert 0.4 * whole.image < half.image < 0.8 * whole.image


@pytest.mark.usefixtures("tiny_models")
def test_the_estimate_is_close_to_what_xla_needs():
    config = Config(data=Data(size=SIZE), batch_size=8)
    dataset = squares(8, SIZE)
    devices = jax.devices()[:1]
    program = epochs.build(config, "unet", dataset, epochs.put(dataset, devices), devices)
    state = jax.eval_shape(lambda: program.init(0))
    batch = jnp.zeros(8, jnp.int32), jnp.ones(8), np.float32(1e-3)
    found = program.train_step.lower(False, state, program.pairs, *batch).compile().memory_analysis()
    need = needed()
    estimate = need.state + 8 * need.image
    actual = found.argument_size_in_bytes + found.temp_size_in_bytes
    assert 0.6 * actual < estimate < 2 * actual


def test_memory_at_hand(monkeypatch):
    (device,) = jax.devices()[:1]
    assert 2**20 < memory.at_hand(device) < 2**50
    taken = psutil.Process().memory_info().vms
    monkeypatch.setattr("resource.getrlimit", lambda _: (taken + 2**22, -1))
    assert 0 <= memory.at_hand(device) <= 2**22, "what `ulimit -v` leaves"


def test_memory_that_a_container_uses_is_not_free(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    assert memory.free() > 2**22
    (tmp_path / "memory.max").write_text(f"{10 * 2**20}\n")
    (tmp_path / "memory.current").write_text(f"{9 * 2**20}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {3 * 2**20}\nactive_file 7\n")
    assert memory.free() == 4 * 2**20
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free() > 2**22
