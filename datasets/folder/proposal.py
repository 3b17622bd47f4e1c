"""Settings by which files would pair that do not pair by their names."""

import glob
import itertools
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets.errors import DataError
from datasets.folder.matching import Match, match, split
from datasets.folder.names import ENDING, Named, plain
from datasets.folder.settings import Settings

AFFIXES = ("image_prefix", "image_suffix", "mask_prefix", "mask_suffix")


class UnpairedError(DataError):
    """Files that do not pair, but would by other settings."""

    def __init__(self, message: str, settings: dict[str, Any], matched: Match):
        """Add to the message the `settings` by which the files pair as `matched`."""
        fields = shlex.join(f"--config.data.{name}={text_of(value)}" for name, value in settings.items())
        number = f"all {matched.pairs}" if matched.whole else f"{matched.pairs} of {len(matched.image_of)} images"
        super().__init__(f"{message}; or give {fields}, which pairs {number}")
        self.settings = settings


def text_of(value: str | Path | Sequence[str]) -> str:
    """Return a setting as the command line has it."""
    return str(value) if isinstance(value, str | Path) else ",".join(value)


def of_two(message: str, images: Sequence[Named], masks: Sequence[Named], given: Settings) -> DataError:
    """Return the error that images and masks do not pair, with the settings by which they would, if any are found."""
    if min(len(images), len(masks)) < 2:  # any two names differ by some beginning and ending
        return DataError(message)
    before = match(images, masks, given).pairs
    for found in (_pattern(images, masks, given), *_endings(images, masks)):
        if not found or any(getattr(given, name) for name in found):
            continue
        matched = match(images, masks, replace(given, **found))
        if matched.whole or (not before and matched.pairs * 2 >= len(matched.image_of)):
            return UnpairedError(message, found, matched)
    return DataError(message)


def of_one(message: str, both: Sequence[Named], given: Settings) -> DataError:
    """Return the error that one folder holds all files, with the endings that tell masks from images, if there are."""
    stems = {plain(one.stem) for one in both}
    endings = Counter(stem[at:] for stem in stems for at in range(1, len(stem)) if stem[:at] in stems)
    for end, number in endings.most_common(3):
        setting = replace(given, mask_suffix=end)
        matched = match(*split(both, setting), setting)
        if number > 1 and matched.pairs * 2 > len(matched.image_of) and not (matched.faults or matched.unpaired[1]):
            narrower = {} if matched.whole else _patterns(both, matched)
            if narrower:  # the other files are no images
                images, masks = (_fitting(both, narrower[name]) for name in ("images", "masks"))
                matched = match(images, masks, setting)
            return UnpairedError(message, {**narrower, "mask_suffix": end}, matched)
    images = [one for one in both if not ENDING.search(plain(one.stem))]
    masks = [one for one in both if ENDING.search(plain(one.stem))]
    if min(len(images), len(masks)) > 1 and (found := _pattern(images, masks, given)):
        setting = replace(given, **found)
        if (matched := match(*split(both, setting), setting)).whole:
            return UnpairedError(message, found, matched)
    return DataError(message)


def _fitting(several: Sequence[Named], pattern: Path) -> list[Named]:
    """Return the files whose paths fit a pattern, level by level."""
    depth = len(pattern.parts)
    return [one for one in several if len(one.files[0].parts) == depth and one.files[0].match(str(pattern))]


def _patterns(both: Sequence[Named], matched: Match) -> dict[str, Path]:
    """Return patterns of images and of masks that hold the pairs of a match and nothing else; {} if there are none.

    They tell files by the folders that they lie in, as in PH2, where other masks lie beside those of the lesions.
    """
    keys = matched.image_of.keys() & matched.masks_of.keys()
    paired = {
        "images": [matched.image_of[key] for key in keys],
        "masks": [mask for key in keys for mask in matched.masks_of[key]],
    }
    found = {}
    for name, own in paired.items():
        paths = [one.files[0].parts for one in own]
        if len({len(parts) for parts in paths}) > 1:
            return {}
        found[name] = Path(*map(_level, zip(*paths, strict=True)))
        if len(_fitting(both, found[name])) != len(own):
            return {}
    return found


def _level(names: Sequence[str]) -> str:
    """Return a pattern of all names: the one that they are, or what they end with but for digits."""
    if len(set(names)) == 1:
        return glob.escape(names[0])
    return "*" + glob.escape(re.sub(r"^\d+", "", _beginning([name[::-1] for name in names])[::-1]))


def _pattern(images: Sequence[Named], masks: Sequence[Named], given: Settings) -> dict[str, Any]:
    """Return the beginnings and endings that all images, or all masks, have, but for what they share: the fewest."""
    if any(getattr(given, name) for name in AFFIXES):
        return {}
    (image_prefix, image_suffix), (mask_prefix, mask_suffix) = map(_affixes, (images, masks))
    while image_prefix and mask_prefix and image_prefix[-1] == mask_prefix[-1]:
        image_prefix, mask_prefix = image_prefix[:-1], mask_prefix[:-1]
    while image_suffix and mask_suffix and image_suffix[0] == mask_suffix[0]:
        image_suffix, mask_suffix = image_suffix[1:], mask_suffix[1:]
    found: dict[str, Any] = dict(zip(AFFIXES, (image_prefix, image_suffix, mask_prefix, mask_suffix), strict=True))
    pairs = match(images, masks, replace(given, **found)).pairs
    for name in AFFIXES:
        if match(images, masks, replace(given, **{**found, name: ""})).pairs == pairs:
            found[name] = ""
    return {name: value for name, value in found.items() if value}


def _affixes(several: Sequence[Named]) -> tuple[str, str]:
    """Return the beginning and the ending, without digits, that all names have."""
    stems = [plain(one.stem) for one in several]
    prefix = re.sub(r"\d+$", "", _beginning(stems))
    suffix = _beginning([stem[len(prefix) :][::-1] for stem in stems])[::-1]
    return prefix, re.sub(r"^\d+", "", suffix)


def _beginning(names: Sequence[str]) -> str:
    """Return the letters that all names begin with."""
    ends = zip(min(names), max(names), strict=False)
    return "".join(letter for letter, _ in itertools.takewhile(lambda two: two[0] == two[1], ends))


def _endings(images: Sequence[Named], masks: Sequence[Named]) -> Iterator[dict[str, Any]]:
    """Yield the folders or endings of masks that may be classes, and the endings of images that may be channels."""
    folders = tuple(sorted({one.folders[-1] for one in masks if one.folders}))
    stems_of_images, stems_of_masks = ({plain(one.stem) for one in several} for several in (images, masks))
    for name, ends in (
        ("class_files", folders),
        ("class_files", _longer(stems_of_masks, stems_of_images)),
        ("channel_files", _longer(stems_of_images, stems_of_masks)),
    ):
        if len(ends) > 1:
            yield {name: ends}


def _longer(names: set[str], beginnings: set[str]) -> tuple[str, ...]:
    """Return what names have after the longest of `beginnings`; () where one has none of them."""
    ends = set()
    for name in names:
        at = next((at for at in range(len(name) - 1, 0, -1) if name[:at] in beginnings), None)
        if at is None:
            return ()
        ends.add(name[at:])
    return tuple(sorted(ends))
