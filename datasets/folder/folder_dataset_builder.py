"""The user's own data: a folder of images and a folder of masks."""

import dataclasses
import functools
import hashlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from datasets import annotations, built, examples, files
from datasets.folder import pairs
from datasets.folder.scan import Scan, scan
from datasets.folder.settings import NAMES, PATHS, Settings, settings

LARGEST_TABLE = 2**30  # bytes of a CSV file of groups


@dataclasses.dataclass(eq=False)
class Config(tfds.core.BuilderConfig):
    """The user's settings. The name holds a fingerprint of the files, so that changed folders are built again."""

    settings: Settings = Settings()  # noqa: RUF009  (frozen)


def configure(**values: Any) -> Config:
    """Return the config for the fields of `Settings`; a folder may hold `images/` and `masks/`.

    Raises DataError where there is no such folder or file.
    """
    given = settings(**values)
    given = dataclasses.replace(given, **{name: p.resolve() for name in PATHS if (p := getattr(given, name))})
    top, given = given.images or Path(), pairs.folders(given)
    table = given.groups
    if table is not None and not table.is_file():
        raise files.DataError(f"{table}: no such file; it should be a CSV file of 'id,group' lines")
    if table is not None and table.stat().st_size > LARGEST_TABLE:
        raise files.DataError(f"{table}: is too large for a CSV file of 'id,group' lines")
    fingerprint = hashlib.sha256(repr((given, table and table.read_bytes())).encode())
    assert given.images is not None and given.masks is not None  # noqa: PT018  (`folders` sees to it)
    masks = annotations.listing(given.images, given.masks) or pairs.listing(given.masks)
    for path in (*pairs.listing(given.images), *masks):
        fingerprint.update(repr((path.name, path.stat().st_size, path.stat().st_mtime_ns)).encode())
    called = re.sub(r"\W+", "_", top.parent.name if top.name == "images" else top.name) or "data"
    return Config(
        name=f"{called}-{fingerprint.hexdigest()[:12]}",
        description=f"{given.images} and {given.masks}",
        settings=given,
    )


class Builder(examples.Builder):
    """The user's own images and masks, of any common format."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012

    def __init__(self, *, config: Config | None = None, **options: Any):
        """Take the fields of `Settings`, such as `images` and `masks`, folders; see README.md."""
        values = {name: options.pop(name) for name in NAMES if name in options}
        super().__init__(config=config or configure(**values), **options)

    @functools.cached_property
    def found(self) -> Scan:
        """The content of the folders; reads every file."""
        return scan(self.builder_config.settings)

    def _info(self) -> tfds.core.DatasetInfo:
        metadata: built.Metadata
        if Path(self.data_dir).exists():  # the set is built: its files are not read again
            metadata = built.metadata(Path(self.data_dir))
            channels = tfds.features.FeaturesDict.from_config(self.data_dir)["image"].shape[-1]
        else:
            channels = self.found.channels
            metadata = {
                "classes": list(self.found.reading.classes),
                "found": self.found.describe(),
                "window": list(self.found.window) if self.found.window else None,
            }
        info = examples.info(self, metadata["classes"], channels=channels)
        info.metadata.update(metadata)
        return info

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, examples.Examples]:
        del dl_manager  # nothing to download
        ids = [pair.id for pair in self.found.pairs]
        table = self.builder_config.settings.groups
        group_of = pairs.groups(table, ids) if table is not None else {}
        return {"train": self._generate_examples(group_of)}

    def _generate_examples(self, group_of: dict[str, str]) -> examples.Examples:
        return examples.generate(self._pairs(group_of), len(self.found.reading.classes), ignoring=True)

    def _pairs(self, group_of: dict[str, str]) -> Iterator[examples.Pair]:
        for number, named in itertools.groupby(self.found.names, key=lambda name: name[0]):
            pair, (images, labels) = self.found.pairs[number], self.found.read(number)
            for (_, index, name), image, mask in zip(named, images, labels, strict=True):
                group = group_of.get(pair.id) or pair.group or pair.id
                where = str(pair.image[0]) + (f", slice {index}" if len(images) > 1 else "")
                volume = pair.id if len(images) > 1 else ""
                yield examples.Pair(id=name, group=group, image=image, mask=mask, where=where, volume=volume)
