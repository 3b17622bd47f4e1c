"""Downloads: whole or not there, fetched once, and one line for each failure."""

import errno
import http.server
import os
import platform
import subprocess
import sys
import threading

import pytest

from datasets import download
from datasets.errors import DataError


@pytest.fixture
def serve(monkeypatch):
    """Return a function that serves `content` as the only file, and its URL and the requests that came."""
    servers = []

    def start(content, length=None, code=200):
        came = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                came.append(self.path)
                self.send_response(code)
                if length is not None:
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}/set.zip", came

    monkeypatch.setenv("NO_PROXY", "*")
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("length", [5, None])
def test_a_file_is_fetched_once(length, serve, tmp_path, capsys):
    url, came = serve(b"12345", length)
    for _ in range(2):
        download.fetch({url: tmp_path / "deep" / "set.zip"})
    assert (tmp_path / "deep" / "set.zip").read_bytes() == b"12345"
    assert came == ["/set.zip"]
    assert capsys.readouterr().err == f"downloading {url}\n"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"content": b"123", "length": 5}, "3 of 5 bytes came|IncompleteRead"),
        ({"content": b"", "length": 5}, "0 of 5 bytes came|IncompleteRead"),
        ({"content": b"no", "code": 404}, "HTTP Error 404"),
        ({"content": b"no", "code": 500}, "HTTP Error 500"),
    ],
)
def test_a_failure_is_one_line_and_leaves_nothing(answer, message, serve, tmp_path):
    url, _ = serve(**answer)
    with pytest.raises(DataError, match=rf"cannot download {url} \(.*({message}).*by hand"):
        download.fetch({url: tmp_path / "set.zip"})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_no_failure_of_the_network(serve, tmp_path, monkeypatch):
    url, _ = serve(b"12345", 5)

    def full(_):
        yield b"1"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download, "_blocks", full)
    with pytest.raises(OSError, match=r"set\.zip") as raised:
        download.fetch({url: tmp_path / "set.zip"})
    assert raised.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_what_a_killed_download_left_is_cleared(serve, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".set.zip.part.{platform.node()}.{ended.pid}").touch()
    url, _ = serve(b"12345", 5)
    download.fetch({url: tmp_path / "set.zip"})
    assert [path.name for path in tmp_path.iterdir()] == ["set.zip"]
