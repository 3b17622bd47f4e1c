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

from datasets import built, examples
from datasets.folder import groups, layout, sheet
from datasets.folder.scan import Scan, scan
from datasets.folder.settings import NAMES, PATHS, Settings, settings
from sharp_unet_jax.data import digest, pixels


@dataclasses.dataclass(eq=False)
class Config(tfds.core.BuilderConfig):
    """The user's settings. The name holds a fingerprint of the files and of the code: what changed is built again."""

    settings: Settings = Settings()  # noqa: RUF009  (frozen)


def configure(**values: Any) -> Config:
    """Return the config for the fields of `Settings`; a folder may hold `images/` and `masks/`.

    Raises DataError where there is no such folder or file.
    """
    given = settings(**values)
    given = dataclasses.replace(
        given,
        **{name: path.resolve() for name in PATHS if (path := getattr(given, name)) not in (None, groups.FOLDERS)},
    )
    called, given = re.sub(r"\W+", "_", layout.called(given)) or "data", layout.complete(given)
    fingerprint = hashlib.sha256(repr(given).encode() + _code().encode())
    for path, names in ((given.table, "image,mask"), (given.groups, "id,group")):
        if path is not None and path != groups.FOLDERS:
            fingerprint.update(sheet.content(path, names))
    for path in layout.paths(given):
        fingerprint.update(repr((str(path), path.stat().st_size, path.stat().st_mtime_ns)).encode())
    return Config(
        name=f"{called}-{fingerprint.hexdigest()[:12]}",
        description=f"{given.table or given.images} and {given.masks}",
        settings=given,
    )


@functools.cache
def _code() -> str:
    """Return the digest of the code that reads a folder: changed code reads files anew."""
    top = Path(__file__).parents[1]
    sources = [path for folder in ("", "folder", "formats", "annotations") for path in (top / folder).glob("*.py")]
    return digest.of_code([*sorted(sources), Path(pixels.__file__)])


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
        return {"train": self._generate_examples(groups.groups(self.builder_config.settings.groups, ids))}

    def _generate_examples(self, group_of: dict[str, str]) -> examples.Examples:
        return examples.generate(self._pairs(group_of), len(self.found.reading.classes), ignoring=True)

    def _pairs(self, group_of: dict[str, str]) -> Iterator[examples.Pair]:
        for number, named in itertools.groupby(self.found.names, key=lambda name: name[0]):
            pair, (images, labels) = self.found.pairs[number], self.found.read(number)
            for (_, index, name), image, mask in zip(named, images, labels, strict=True):
                group = group_of.get(pair.id) or pair.group or pair.id
                where = str(pair.image[0]) + (f", slice {index}" if len(images) > 1 else "")
                volume = pair.id if len(images) > 1 else ""
                spacing = self.found.spacings[number]
                yield examples.Pair(
                    id=name, group=group, image=image, mask=mask, where=where, volume=volume, spacing=spacing
                )
