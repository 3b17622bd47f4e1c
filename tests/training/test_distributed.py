"""Devices of one process, and the store of several. tests/launch/test_distributed.py starts real processes."""

import threading
import time
import types

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils
from jax.sharding import PartitionSpec

from sharp_unet_jax.training import coordinator, distributed


def test_an_array_is_shared_among_devices_or_whole_on_each():
    devices, array = jax.devices()[:3], np.arange(12).reshape(6, 2)
    shared, whole = (
        distributed.put({"a": array}, distributed.sharding(devices, spec))["a"]
        for spec in (PartitionSpec("batch"), PartitionSpec())
    )
    for result, shape in ((shared, (2, 2)), (whole, (6, 2))):
        np.testing.assert_array_equal(result, array)
        assert [shard.device for shard in result.addressable_shards] == devices
        assert {shard.data.shape for shard in result.addressable_shards} == {shape}


def test_a_copy_survives_the_donation_of_its_original():
    original = jax.numpy.arange(5)
    copy = distributed.copied([original])
    jax.jit(lambda x: x + 1, donate_argnums=0)(original)
    assert original.is_deleted()
    np.testing.assert_array_equal(copy[0], np.arange(5))


def test_processes_come_in_the_order_of_their_first_device():
    devices = [types.SimpleNamespace(process_index=process) for process in (2, 2, 0, 2, 1)]
    assert distributed.processes(devices) == [2, 0, 1]


def test_one_process_gets_its_own_values():
    devices = jax.devices()[:2]
    np.testing.assert_array_equal(distributed.gather(np.arange(3), devices), [[0, 1, 2]])
    assert distributed.broadcast(b"a\0", devices) == b"a\0"
    assert [distributed.any_process(flag, devices) for flag in (False, True)] == [False, True]


class Store(dict):
    """A store in memory with the methods of JAX's client that are used."""

    def key_value_set(self, key, value, allow_overwrite=False):
        assert allow_overwrite or key not in self
        self[key] = value

    def key_value_dir_get(self, prefix):
        return [(key, value) for key, value in self.items() if key.startswith(f"{prefix}/")]


@pytest.fixture
def store(monkeypatch):
    store = Store()
    monkeypatch.setattr(coordinator, "client", lambda: store)
    return store


def test_a_stop_of_one_process_is_a_stop_of_all(store):
    stops = [threading.Event() for _ in range(3)]
    for stop in stops:
        distributed.share(stop)
    time.sleep(0.1)
    assert not any(stop.is_set() for stop in stops)
    stops[1].set()
    assert all(stop.wait(5) for stop in stops)


def test_a_process_waits_for_the_last_one(store, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    waiting = threading.Thread(target=distributed.wait, daemon=True)
    waiting.start()
    waiting.join(0.7)
    assert waiting.is_alive()
    store.key_value_set("here/1", "yes")
    waiting.join(5)
    assert not waiting.is_alive()


def test_jax_has_no_public_store():
    """If this fails, JAX exposes more: see whether it replaces training/coordinator.py."""
    assert {name for name in dir(jax.distributed) if name[0] != "_"} == {"initialize", "is_initialized", "shutdown"}
    assert not [name for name in dir(multihost_utils) if "key_value" in name or "store" in name]
