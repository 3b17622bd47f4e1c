"""Weights from the hub, against a local server that answers as the hub does: files with another sha256 are refused."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.weights import hub

REPO = "timm/resnet0.tv_in1k"
URL = f"https://huggingface.co/{REPO}/resolve/main/model.safetensors"
WEIGHTS = b"the weights " * 1000


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Serve one file, `content`, under the announced hash `sha256`; the hub's cache is empty."""
    state = SimpleNamespace(content=WEIGHTS, sha256=hashlib.sha256(WEIGHTS).hexdigest(), failing={}, requests=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.requests.append(self.command)
            found = self.path == f"/{REPO}/resolve/main/model.safetensors"
            self.send_response(state.failing.get(self.command, 200 if found else 404))
            self.send_header("X-Repo-Commit", "c" * 40)
            self.send_header("ETag", '"of the pointer in git"')
            self.send_header("X-Linked-Etag", f'"{state.sha256}"')
            self.send_header("X-Linked-Size", str(len(state.content)))
            self.send_header("Content-Length", str(len(state.content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(state.content)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments):
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url, state.cache = f"http://127.0.0.1:{listener.server_port}", tmp_path / "cache"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def stop():
        listener.shutdown()
        thread.join()
        listener.server_close()

    state.stop = stop
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", state.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", state.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(state.cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield state
    if thread.is_alive():
        stop()


def refusal() -> str:
    """Return the error's message; it comes within 10 s, while the hub's own retries take more than 30 s."""
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        hub.fetch(REPO)
    assert time.monotonic() - start < 10
    message = str(caught.value)
    assert message.startswith("weights: ")
    assert "\n" not in message
    assert REPO in message
    assert URL in message
    return message


def kept(server) -> list[str]:
    """Return the weight files in the cache, under any name: the cache's other files are shorter."""
    return [str(path) for path in server.cache.rglob("*") if path.is_file() and path.stat().st_size > 1000]


def test_a_file_is_fetched_once(server, capfd):
    path = hub.fetch(REPO)
    assert path.name == "model.safetensors"
    assert path.read_bytes() == WEIGHTS
    assert server.requests.count("GET") == 1
    server.requests.clear()
    assert hub.fetch(REPO) == path
    assert server.requests == []
    assert capfd.readouterr() == ("", "")


def test_a_file_with_another_hash_is_refused_and_not_kept(server):
    server.content = b"something else " * 1000
    message = refusal()
    assert hashlib.sha256(server.content).hexdigest() in message
    assert server.sha256 in message
    assert kept(server) == []
    server.content = WEIGHTS
    assert hub.fetch(REPO).read_bytes() == WEIGHTS


def test_without_links_a_file_with_another_hash_is_not_kept_either(server, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda *arguments: False)
    server.sha256 = "0" * 64
    refusal()
    assert kept(server) == []
    server.sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    assert not hub.fetch(REPO).is_symlink()
    assert hub.fetch(REPO).read_bytes() == WEIGHTS


def test_a_damaged_file_in_the_cache_is_fetched_again(server):
    path = hub.fetch(REPO)
    path.write_bytes(WEIGHTS[:100])
    assert hub.fetch(REPO) == path
    assert path.read_bytes() == WEIGHTS
    path.write_bytes(WEIGHTS[:100])
    server.stop()
    assert "no intact model.safetensors" in refusal()


def test_a_file_in_the_hubs_store_is_not_taken_for_damaged(server):
    path = hub.fetch(REPO)
    blob = path.resolve()
    store = blob.rename(server.cache / ("f" * 64))  # a store of several repositories, with names that are no sha256
    blob.symlink_to(store)
    server.requests.clear()
    assert hub.fetch(REPO) == path
    assert server.requests == []


@pytest.mark.parametrize(("failing", "reason"), [({"HEAD": 404}, "404"), ({"HEAD": 503}, "503"), ({"GET": 403}, "403")])
def test_a_hub_that_refuses(server, failing, reason):
    server.failing = failing
    assert reason in refusal()
    assert kept(server) == []


def test_no_connection(server):
    server.stop()
    assert "refused" in refusal()


@pytest.mark.parametrize("address", ["hf://name", "hf://", "hf://a/b/c", "hf://owner/name@", "hf://owner/na me"])
def test_an_address_that_names_no_model_is_refused(address):
    with pytest.raises(InputError, match=r"is no model: name one as hf://OWNER/NAME or hf://OWNER/NAME@REVISION"):
        hub.snapshot(address, ["config.json"])


@pytest.mark.parametrize("reachable", [True, False])
def test_a_model_that_cannot_be_fetched_is_one_line(server, reachable):
    if not reachable:
        server.stop()
    start = time.monotonic()
    with pytest.raises(
        InputError, match=r"hf://owner/name@v1 is not in the hub's cache and can't be fetched"
    ) as caught:
        hub.snapshot("hf://owner/name@v1", ["config.json"])
    assert "\n" not in str(caught.value)
    assert ("404" if reachable else "refused") in str(caught.value)
    assert time.monotonic() - start < 10


def offline(server) -> subprocess.CompletedProcess[str]:
    """Fetch in a new process: huggingface_hub reads HF_HUB_OFFLINE when it is imported."""
    program = f"import runpy; print(runpy.run_path({hub.__file__!r})['fetch']({REPO!r}))"
    settings = {"HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(server.cache), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)


def test_offline_the_cache_serves(server):
    refused = offline(server)
    assert refused.stderr.splitlines()[-1].startswith("sharp_unet_jax.errors.InputError: weights: no intact model")
    assert "HF_HUB_OFFLINE" in refused.stderr.splitlines()[-1]
    assert server.requests == []
    path = hub.fetch(REPO)
    server.requests.clear()
    assert offline(server).stdout == f"{path}\n"
    assert server.requests == []
