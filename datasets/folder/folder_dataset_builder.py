"""The user's own data: a folder of images and a folder of masks."""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from datasets import built, examples, files
from datasets.folder import images as image_files
from datasets.folder import pairs
from datasets.folder.scan import Scan, scan

LARGEST_TABLE = 2**30  # bytes of a CSV file of groups


@dataclasses.dataclass(eq=False)
class Config(tfds.core.BuilderConfig):
    """The paths of the files. The name holds a fingerprint of the files, so that changed folders are built again."""

    images: Path = Path()
    masks: Path = Path()
    groups: Path | None = None
    classes: tuple[str, ...] | None = None


def configure(
    images: str | Path | None = None,
    masks: str | Path | None = None,
    groups: str | Path | None = None,
    classes: Sequence[str] | None = None,
) -> Config:
    """Return the config for two folders, or for one that holds `images/` and `masks/`; "" and () mean None.

    Raises DataError where there is no such folder or file.
    """
    if not images:
        raise files.MissingError("the data set 'folder' needs images, the folder of your images")
    top = files.local(images).resolve()
    image_dir, mask_dir = pairs.folders(top, files.local(masks).resolve() if masks else None)
    table = files.local(groups).resolve() if groups else None
    if table is not None and not table.is_file():
        raise files.DataError(f"{table}: no such file; it should be a CSV file of 'id,group' lines")
    if table is not None and table.stat().st_size > LARGEST_TABLE:
        raise files.DataError(f"{table}: is too large for a CSV file of 'id,group' lines")
    fingerprint = hashlib.sha256(repr((table and table.read_bytes(), tuple(classes or ()))).encode())
    for folder in (image_dir, mask_dir):
        fingerprint.update(repr(str(folder)).encode())  # two raters' masks may agree in names, sizes and times
        for path in pairs.listing(folder):
            fingerprint.update(repr((path.name, path.stat().st_size, path.stat().st_mtime_ns)).encode())
    called = re.sub(r"\W+", "_", top.parent.name if top.name == "images" else top.name) or "data"
    return Config(
        name=f"{called}-{fingerprint.hexdigest()[:12]}",
        description=f"{image_dir} and {mask_dir}",
        images=image_dir,
        masks=mask_dir,
        groups=table,
        classes=tuple(classes) if classes else None,
    )


class Builder(examples.Builder):
    """The user's own images and masks, of any common format."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012

    def __init__(
        self,
        *,
        images: str | Path | None = None,
        masks: str | Path | None = None,
        groups: str | Path | None = None,
        classes: Sequence[str] | None = None,
        config: Config | None = None,
        **options: Any,
    ):
        """Take `images` and `masks`, folders, `groups`, a CSV file `id,group`, and `classes`, names; see README.md."""
        super().__init__(config=config or configure(images, masks, groups, classes), **options)

    @functools.cached_property
    def found(self) -> Scan:
        """The content of the folders; reads every file."""
        return scan(self.builder_config.images, self.builder_config.masks, self.builder_config.classes)

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
        table = self.builder_config.groups
        group_of = pairs.groups(table, ids) if table is not None else {name: name for name in ids}
        return {"train": self._generate_examples(group_of)}

    def _generate_examples(self, group_of: dict[str, str]) -> examples.Examples:
        return examples.generate(self._pairs(group_of), len(self.found.reading.classes))

    def _pairs(self, group_of: dict[str, str]) -> Iterator[examples.Pair]:
        for pair in self.found.pairs:
            yield examples.Pair(
                id=pair.id,
                group=group_of[pair.id],
                image=image_files.read(pair.image, self.found.channels, self.found.window),
                mask=self.found.reading.labels(pair.mask),
                where=str(pair.image),
            )
