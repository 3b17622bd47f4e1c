"""Settings by which files would pair that do not pair by their names alone."""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from datasets.folder.matching import match, split
from datasets.folder.names import Named, plain
from datasets.folder.settings import Settings

AFFIXES = ("image_prefix", "image_suffix", "mask_prefix", "mask_suffix")


def of_two(images: Sequence[Named], masks: Sequence[Named], given: Settings) -> str:
    """Return the settings by which every image and mask has its partner, in words; "" where none are found."""
    if min(len(images), len(masks)) < 2:  # any two names differ by some beginning and ending
        return ""
    for found in (*_patterns(images, masks, given), *_endings(images, masks)):
        if (matched := match(images, masks, replace(given, **found))).whole:
            return _words(found, matched.pairs)
    return ""


def of_one(both: Sequence[Named], given: Settings) -> str:
    """Return the ending that tells masks from images in one folder, in words; "" where none is found."""
    stems = {plain(one.stem) for one in both}
    endings = Counter(stem[at:] for stem in stems for at in range(1, len(stem)) if stem[:at] in stems)
    for end, _ in endings.most_common(3):
        setting = replace(given, mask_suffix=end)
        if (matched := match(*split(both, setting), setting)).whole:
            return _words({"mask_suffix": end}, matched.pairs)
    return ""


def _words(found: dict[str, Any], pairs: int) -> str:
    values = {name: value if isinstance(value, str) else ",".join(value) for name, value in found.items()}
    fields = " ".join(f"--config.data.{name}={value}" for name, value in values.items())
    return f"{fields}, which pairs all {pairs}"


def _patterns(images: Sequence[Named], masks: Sequence[Named], given: Settings) -> Iterator[dict[str, Any]]:
    """Yield the beginnings and endings that all images, or all masks, have, but for what they share: the fewest."""
    (image_prefix, image_suffix), (mask_prefix, mask_suffix) = map(_affixes, (images, masks))
    while image_prefix and mask_prefix and image_prefix[-1] == mask_prefix[-1]:
        image_prefix, mask_prefix = image_prefix[:-1], mask_prefix[:-1]
    while image_suffix and mask_suffix and image_suffix[0] == mask_suffix[0]:
        image_suffix, mask_suffix = image_suffix[1:], mask_suffix[1:]
    found: dict[str, Any] = dict(zip(AFFIXES, (image_prefix, image_suffix, mask_prefix, mask_suffix), strict=True))
    if match(images, masks, replace(given, **found)).whole:
        for name in AFFIXES:
            if match(images, masks, replace(given, **{**found, name: ""})).whole:
                found[name] = ""
        yield {name: value for name, value in found.items() if value}


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
