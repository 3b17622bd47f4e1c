"""Archives of the data sets' owners, downloaded whole or not at all.

No owner publishes a checksum of an archive that is downloaded here (see each data set's README.md). The length that the
server promises is checked here, and the checksums in a zip where its members are read.
"""

import http.client
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from datasets.errors import DataError
from sharp_unet_jax.storage.atomic import clear_dead, replacing

BLOCK = 1 << 20  # bytes
TIMEOUT = 60.0  # seconds without an answer


def fetch(paths: Mapping[str, Path]) -> None:
    """Download each URL to its path, unless there is such a file. Raises DataError where a download fails."""
    missing = {url: path for url, path in paths.items() if not path.is_file()}
    if missing:
        print(f"downloading {' and '.join(missing)}", file=sys.stderr)
    for url, path in missing.items():
        clear_dead(path.parent)
        with replacing(path) as temporary, temporary.open("wb") as file:
            for block in _blocks(url):
                file.write(block)


def _blocks(url: str) -> Iterator[bytes]:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "sharp_unet_jax"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            promised, received = response.headers["Content-Length"], 0
            while block := response.read(BLOCK):
                received += len(block)
                yield block
        if promised is not None and received != int(promised):
            raise OSError(f"{received} of {promised} bytes came")
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"cannot download {url} ({error}); download by hand, see the data set's README.md") from error
