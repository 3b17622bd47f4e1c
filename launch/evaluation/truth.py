"""The test set of `launch.evaluate`: images and true masks, paired and read as those of the builder "folder" are."""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from datasets.errors import DataError
from datasets.folder import groups, layout, scan
from datasets.folder.settings import NAMES, Settings, settings
from datasets.formats.stack import Spacing
from launch.console import config as configs
from sharp_unet_jax.config import Data
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference.trained import Trained

FIELDS = {  # options of the command: fields of config.Data, which say more of each
    "images": "a folder of images, or one that holds images/ and masks/, or a pattern",
    "masks": "a folder of true masks or of LabelMe files, a COCO file, or a pattern",
    "table": "a CSV with the columns image,mask and perhaps id,group, instead of the two folders",
    "groups": 'a CSV with the columns id,group; or "folders", the outermost one of each image',
    "image_prefix": "start of image names that mask names lack",
    "image_suffix": "end of image names that mask names lack, before .png",
    "mask_prefix": "start of mask names that image names lack",
    "mask_suffix": "end of mask names that image names lack, such as _mask",
    "channel_files": "endings of names, if each channel of an image is a file of its own (default: the run's)",
    "class_files": "folders or endings of masks, if each class is a file of its own (default: the run's)",
    "classes": "names, background first, or name=#rrggbb, name=128 (default: the run's)",
    "labels": "any makes every label above 0 one foreground class (default: the run's)",
    "ignore": "value, colour or name of what is not scored (default: the run's)",
    "pages": "what the pages of a TIF or the fourth axis of a NIfTI are, channels or slices (default: the run's)",
    "axis": "with --predictions: axial, coronal or sagittal slices of NIfTI volumes",
}
OF_THE_RUN = ("classes", "labels", "ignore", "class_files", "channel_files")  # taken from it if not given
READ_BY_THE_RUN = ("pages", "axis")


@dataclass(frozen=True)
class Truth:
    """A test set."""

    name: str
    scan: scan.Scan
    group_of: tuple[str, ...]  # the group of each pair

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, background first."""
        return self.scan.reading.classes

    @property
    def in_mm(self) -> bool:
        """Return True if the files say the size of all pixels."""
        return all(all(spacing) for spacing in self.scan.spacings)

    def spacing(self, number: int) -> Spacing:
        """Return the sides of a pair's pixels in mm; those of a pixel in pixels where a file of the set has none."""
        return self.scan.spacings[number] if self.in_mm else (1.0, 1.0)

    def ids(self, number: int) -> list[str]:
        """Return the ids of a pair's slices: a pair of one slice has its own id."""
        return self._ids[number]

    @functools.cached_property
    def _ids(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for number, _, name in self.scan.names:
            found.setdefault(number, []).append(name)
        return found

    def labels(self, number: int) -> np.ndarray:
        """Return the true labels (n, H, W) uint8 of a pair."""
        return self.scan.labels(number)


def settings_of(given: Mapping[str, str], run: Trained | None) -> Settings:
    """Return how the test set is read: as `given` by options of FIELDS and, of a run, as its training masks were.

    Raises InputError for a wrong value, and for a field that only the run decides on.
    """
    if run and (wrong := [name for name in READ_BY_THE_RUN if name in given and getattr(run.config.data, name)]):
        raise InputError(f"--{wrong[0]}: images are read as the run was trained on them; leave it out")
    if not ("images" in given or "table" in given):
        raise InputError("--images: name the folder of the images, and that of their true masks with --masks")
    data = Data()
    if run:
        kept = (*OF_THE_RUN, *READ_BY_THE_RUN) if run.config.data.builder == "folder" else READ_BY_THE_RUN
        data = dataclasses.replace(data, **{name: getattr(run.config.data, name) for name in kept})
        if run.config.data.builder != "folder":
            data = dataclasses.replace(data, classes=run.classes)
    for name, text in given.items():
        data = configs.override(data, name, text, prefix="--")
    with saying_options():
        return settings(**{name: getattr(data, name) for name in NAMES})


def read(given: Settings, run: Trained | None) -> Truth:
    """Pair and check all files of the test set. Raises DataError, also where its classes are not those of the run."""
    with saying_options():
        found = scan.scan(given)
        by_table = groups.groups(found.settings.groups, [pair.id for pair in found.pairs])
    if run and (classes := found.reading.classes) != run.classes:
        raise DataError(
            f"{given.masks or given.table or given.images}: the classes of the test set are {', '.join(classes)}, and "
            f"those of the run {', '.join(run.classes)}: name the run's, in its order, with "
            f"--classes={','.join(run.classes)}"
        )
    of_pairs = tuple(by_table.get(pair.id) or pair.group or pair.id for pair in found.pairs)
    return Truth(name_of(given), found, of_pairs)


def reading_as(given: Settings, run: Trained) -> Trained:
    """Return a run that reads the pages of files as the test set is read, which counts where its own files had none."""
    data = configs.override(run.config.data, "pages", given.pages, prefix="--")
    return dataclasses.replace(run, config=dataclasses.replace(run.config, data=data))


def name_of(given: Settings) -> str:
    """Return the name of a test set, after its folder, for folders and pages. Raises DataError for one that is none."""
    with saying_options():
        return re.sub(r"\W+", "_", layout.called(given)) or "data"


@contextlib.contextmanager
def saying_options() -> Iterator[None]:
    """Let errors name this command's options, --masks, where the builder's name fields of a config, data.masks."""
    try:
        yield
    except DataError as error:
        names = "|".join(NAMES)
        text = re.sub(rf"(?<![\w/])(?:--config\.)?data\.(?=(?:{names})\b)", "--", str(error))
        raise DataError(text) from error
