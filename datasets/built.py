"""Built data sets on disk: sealed with digests, and refused in one line that names the folder to delete."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from datasets.errors import DamagedError, DataError
from sharp_unet_jax.errors import InputError, is_out_of_memory
from sharp_unet_jax.storage.atomic import write_json
from sharp_unet_jax.storage.reading import read_json

DIGESTS = "digests.json"
METADATA = "metadata.json"
DESCRIPTIONS = ("dataset_info.json", "features.json", METADATA)  # TFDS writes them beside the records
LARGEST = 2**26  # bytes of a description, which has some thousand


class Digests(TypedDict):
    """The content of digests.json."""

    sha256: dict[str, str]  # by name of a description
    bytes: dict[str, int]  # by name of a file of records, which holds checksums of its own


class Metadata(TypedDict):
    """The content of metadata.json."""

    classes: list[str]  # background first
    window: list[float] | None  # see `examples.info`
    found: NotRequired[str]  # of the data set `folder`: its description


def seal(folder: Path) -> None:
    """Write the digests of a set that was built."""
    records = [path for path in folder.iterdir() if path.name not in DESCRIPTIONS]
    digests: Digests = {
        "sha256": {name: _sha256(folder / name) for name in DESCRIPTIONS},
        "bytes": {path.name: path.stat().st_size for path in records},
    }
    write_json(folder / DIGESTS, digests)


def check(folder: Path) -> None:
    """Compare a built set with its digests. Raises DamagedError."""
    with whole(folder):
        digests = read_json(folder / DIGESTS, Digests, remedy=_remedy(folder))
        changed = [name for name, size in digests["bytes"].items() if (folder / name).stat().st_size != size]
        changed += [name for name, digest in digests["sha256"].items() if _sha256(folder / name) != digest]
        if changed:
            raise DataError(f"{changed[0]} is not as it was written")
        metadata(folder)


def metadata(folder: Path) -> Metadata:
    """Return the content of metadata.json. Raises DamagedError."""
    with whole(folder):
        return read_json(folder / METADATA, Metadata, remedy=_remedy(folder))


@contextlib.contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Turn any error in reading the built set in `folder` into a DamagedError, but not one that the machine causes."""
    try:
        yield
    except (DamagedError, PermissionError):
        raise
    except InputError as error:
        raise DamagedError(str(error)) from error
    except FileNotFoundError as error:
        raise DamagedError(f"{error.filename} is missing: {_remedy(folder)}") from error
    except Exception as error:  # TFDS, array_record and Pillow raise errors of many kinds
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DamagedError(f"the built data set is damaged ({reason}): {_remedy(folder)}") from error


class Records(Sequence[dict[str, Any]]):
    """The examples of a built set, decoded one by one; one that cannot be raises DamagedError."""

    def __init__(self, source: Sequence[dict[str, Any]], folder: Path):
        self._source, self._folder = source, folder

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        with whole(self._folder):
            example = self._source[index]
            if any(part is None for part in example.values()):  # TFDS's words for an empty record
                raise DataError(f"record {index} is empty")
            return example


def _sha256(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise DataError(f"{path.name} is no file")  # reading a pipe or a device may never end
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path.name} is far larger than it was written")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _remedy(folder: Path) -> str:
    return f"delete the folder {folder} and give the command again"
