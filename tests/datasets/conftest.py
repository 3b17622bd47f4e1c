"""A data set built from the files of a test, read back, and checked for everything that all data sets share."""

import functools
import http.server
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from datasets import files
from datasets.build import build


@dataclass(frozen=True)
class Built:
    """A builder and all its examples, ids and groups as str."""

    builder: tfds.core.DatasetBuilder
    images: list[np.ndarray]
    masks: list[np.ndarray]
    ids: list[str]
    groups: list[str]
    volumes: list[str]

    @property
    def classes(self) -> list[str]:
        return self.builder.info.metadata["classes"]


def read(builder: tfds.core.DatasetBuilder) -> Built:
    """Read all examples and check the schema that all data sets share."""
    examples = list(builder.as_data_source(split="train"))
    built = Built(
        builder,
        [example["image"] for example in examples],
        [example["mask"] for example in examples],
        [example["id"].decode() for example in examples],
        [example["group"].decode() for example in examples],
        [example["volume"].decode() for example in examples],
    )
    assert set(builder.info.splits) == {"train"}
    assert len(examples) == builder.info.splits["train"].num_examples > 0
    for image, mask in zip(built.images, built.masks, strict=True):
        assert image.dtype == mask.dtype == np.uint8
        assert image.ndim == mask.ndim == 3
        assert image.shape[-1] == built.images[0].shape[-1]
        assert mask.shape == (*image.shape[:2], 1)
        assert mask.max() < len(built.classes)
    assert any(mask.any() for mask in built.masks)
    assert built.ids == sorted(set(built.ids), key=files.natural)
    assert all(built.groups)
    assert "tensorflow" not in sys.modules
    return built


@pytest.fixture
def build_and_read(tmp_path: Path) -> Callable[..., Built]:
    """Return a function like `build` that reads the set back with a new builder; its data_dir is the test's own."""

    def run(name: str, **options: Any) -> Built:
        options = {"data_dir": tmp_path / "data_dir"} | options
        written = build(name, **options)
        reread = build(name, **{key: value for key, value in options.items() if key != "rebuild"})
        assert reread is not written
        assert reread.info.metadata["classes"] == written.info.metadata["classes"]
        return read(reread)

    return run


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, Path], str]]:
    """Return a function that serves a folder on localhost as the source of a data set's download, and its URL."""
    servers = []

    def start(name: str, folder: Path) -> str:
        handler = functools.partial(_Handler, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setattr(f"datasets.{name}.{name}_dataset_builder.URL", url)
        return url

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass
