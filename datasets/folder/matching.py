"""Images and masks matched by their names."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from datasets.errors import DataError
from datasets.folder import walk
from datasets.folder.masks import class_of
from datasets.folder.names import ENDING, Named, first_few, plain, stripped
from datasets.folder.settings import Settings
from datasets.formats import channel_files

Key = tuple[str, ...]  # folders, and what is left of a name without its pattern, as `names.plain` has them
Candidates = list[tuple[Named, list[str]]]  # files, and the plain names by which each may find its partner


@dataclass(frozen=True)
class Match:
    """Images and masks by what their names have in common."""

    image_of: dict[Key, Named]
    masks_of: dict[Key, list[Named]]  # one, or one per class, in the order of the classes
    depth: int  # so many of the folders that an image lies in belong to its name: the fewest that make names differ
    faults: list[str]  # names that the pattern does not fit, and names that are there twice

    @property
    def unpaired(self) -> tuple[list[Named], list[Named]]:
        """The images without a mask, and the masks without an image."""
        masks = [mask for key, several in self.masks_of.items() if key not in self.image_of for mask in several]
        return [image for key, image in self.image_of.items() if key not in self.masks_of], masks

    @property
    def whole(self) -> bool:
        """True if every file is in a pair."""
        return not (self.faults or any(self.unpaired))

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return len(self.image_of.keys() & self.masks_of.keys())

    def id_of(self, image: Named) -> str:
        """Return an image's id: its name without suffix, after its folders where names alone are not unique."""
        return "/".join((*image.folders[: self.depth], image.stem))


def match(images: Sequence[Named], masks: Sequence[Named], given: Settings) -> Match:
    """Match images and masks whose names are equal but for the pattern that the settings describe.

    Where they describe none, a mask has its image's name, or that and an ending such as "_mask".
    """
    faults: list[str] = []
    if given.channel_files:
        images, faults = _joined(images, given.channel_files)
    named_images = [(image, _bare(plain(image.stem), given.image_prefix, given.image_suffix)) for image in images]
    named_masks = [_mask(mask, given) for mask in masks]
    faults += _odd(named_images, given, ("image_prefix", "image_suffix"))
    faults += _odd(named_masks, given, ("mask_prefix", "mask_suffix", "class_files"))
    deepest = max((len(one.folders) for one in (*images, *masks)), default=0)
    found = [_at(depth, named_images, named_masks) for depth in range(deepest + 1)]
    # Images must differ; then the fewer files are without partner or place, the better.
    best = min(found, key=lambda one: (len(images) - len(one.image_of), len(one.faults) + sum(map(len, one.unpaired))))
    return replace(best, faults=faults + best.faults)


def split(both: Sequence[Named], given: Settings) -> tuple[list[Named], list[Named]]:
    """Return the images and the masks of one folder: one of the two have a pattern, and the others do not."""
    masks = bool(given.mask_prefix or given.mask_suffix)
    pattern = (given.mask_prefix, given.mask_suffix) if masks else (given.image_prefix, given.image_suffix)
    fitting = [one for one in both if _bare(plain(one.stem), *pattern)]
    are_fitting = set(fitting)
    others = [one for one in both if one not in are_fitting]
    return (others, fitting) if masks else (fitting, others)


def _odd(named: Candidates, given: Settings, fields: Sequence[str]) -> list[str]:
    """Return a fault for files whose names do not have what the `fields` of the settings say, if there are any."""
    odd = [one.files[0] for one, names in named if not names]
    values = {name: value if isinstance(value := getattr(given, name), str) else ",".join(value) for name in fields}
    say = " ".join(f"data.{name}={value}" for name, value in values.items() if value)
    return [f"{first_few(odd)}: not named as {say} says; rename or remove them"] if odd else []


def _at(depth: int, images: Candidates, masks: Candidates) -> Match:
    """Match names that begin with the first `depth` folders."""
    image_of: dict[Key, Named] = {}
    masks_of: dict[Key, list[Named]] = {}
    faults = []
    for image, names in images:
        for name in names:
            if (other := image_of.setdefault(_key(depth, image, name), image)) is not image:
                faults.append(_twice(other, image, name))
    for mask, names in masks:
        keys = [_key(depth, mask, name) for name in names]
        if keys:
            key = next((key for key in keys if key in image_of), keys[-1])
            there = masks_of.setdefault(key, [])
            if others := [other for other in there if other.place == mask.place]:
                faults.append(_twice(others[0], mask, key[-1]))
            else:
                there.append(mask)
    for several in masks_of.values():
        several.sort(key=lambda mask: mask.place)
    return Match(image_of, masks_of, depth, faults)


def _key(depth: int, one: Named, name: str) -> Key:
    return (*map(plain, one.folders[:depth]), name)


def _twice(one: Named, other: Named, name: str) -> str:
    return f"{one.files[0]} and {other.name} have the same name, {name}; remove one of them"


def _bare(name: str, prefix: str, suffix: str) -> list[str]:
    """Return a plain name without its pattern; [] where it does not have it."""
    bare = stripped(name, prefix, suffix)
    return [] if bare is None else [bare]


def _mask(mask: Named, given: Settings) -> tuple[Named, list[str]]:
    """Return a mask with the place of its class, and the names by which it may find its image, the best first."""

    def bare(name: str) -> list[str]:
        if given.mask_prefix or given.mask_suffix:
            return _bare(name, given.mask_prefix, given.mask_suffix)
        return [name, ENDING.sub("", name)]

    name, classes = plain(mask.stem), given.class_files
    if not classes:
        return mask, bare(name)
    try:
        place = class_of(mask.files[0], classes, walk.top(given.masks) if given.masks else None)
    except DataError:
        return mask, []
    called, folders = plain(classes[place]), list(map(plain, mask.folders))
    ended = [each.removesuffix(called) for each in (name, *bare(name)) if each.endswith(called)]
    ended = [short for each in ended for rest in (each, each.rstrip(" _.-")) for short in (rest, *bare(rest))]
    if called in folders:
        inside = len(folders) - 1 - folders[::-1].index(called)
        outer = mask.folders[:inside] + mask.folders[inside + 1 :]
        return mask._replace(folders=outer, place=place), bare(name) + ended
    return mask._replace(place=place), ended[::-1]


def _joined(images: Sequence[Named], endings: Sequence[str]) -> tuple[list[Named], list[str]]:
    """Return images with the files of all their channels, in the order of `endings`, and faults: files without one."""
    faults = []
    channels_of: dict[tuple[Key, str], dict[int, Named]] = {}
    for image in images:
        if (found := channel_files.stripped(image.stem, endings)) is None:
            faults.append(f"{image.files[0]}: ends in none of data.channel_files={','.join(endings)}")
            continue
        stem, channel = found
        there = channels_of.setdefault((image.folders, plain(stem)), {})
        if (other := there.setdefault(channel, image._replace(stem=stem))).files != image.files:
            faults.append(_twice(other, image, plain(image.stem)))
    joined = []
    for there in channels_of.values():
        channels = [there[channel] for channel in sorted(there)]
        joined.append(channels[0]._replace(files=tuple(file for each in channels for file in each.files)))
        if missing := [end for channel, end in enumerate(endings) if channel not in there]:
            faults.append(
                f"{channels[0].files[0].parent}: {channels[0].stem} has no file of {first_few(missing)}; add it"
            )
    return joined, faults
