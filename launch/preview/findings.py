"""The findings of `launch.prepare` as Markdown."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from datasets.folder import labels
from datasets.folder.names import first_few
from launch.preview.source import Source
from sharp_unet_jax.advice.profile import Profile
from sharp_unet_jax.advice.settings import Advice
from sharp_unet_jax.data.duplicates import DUPLICATE

ROWS = 12  # the most rows of a table
ALIKE = 0.9  # neighbours that are more alike than this share of all pairs are probably slices or frames


def text(
    source: Source, profile: Profile, faults: Sequence[str], notes: Sequence[str], advice: Sequence[Advice]
) -> str:
    """Return the whole report but for the command to give."""
    verdict = "launch.cv would refuse this:" if faults else "Nothing would keep launch.cv from training on this."
    parts = [f"# Data check: {_plain(source.name)}", verdict, _list(faults)]
    if source.ids:
        kinds = ", ".join(f"{number} {kind}" for kind, number in source.kinds.items())
        parts += ["## What there is", _plain(source.description), _plain(f"Files: {kinds}."), _sizes(profile)]
        parts += ["## Classes", _classes(profile), "## Copies and relatives", _list(relatives(profile))]
        parts += ["## Worth checking", _list([*notes, *odd(profile)]) or "Nothing."]
        rows = [(f"`{each.field}`", f"`{each.value}`", _plain(each.why)) for each in advice]
        parts += ["## Settings that suit", _table(("setting", "value", "why"), rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def relatives(profile: Profile) -> list[str]:
    """Say which images are not independent of one another: copies, near-duplicates, groups, slices."""
    lines = []
    names = profile.ids
    if profile.copies:
        differ = [group for group in profile.copies if len({profile.images[index].mask_sha256 for index in group}) > 1]
        pairs = first_few(" = ".join(names[index] for index in group[:4]) for group in profile.copies)
        number = sum(len(group) - 1 for group in profile.copies)
        lines.append(f"{number} images are copies of others, pixel by pixel: {pairs}")
        if differ:
            which = first_few(" and ".join(names[index] for index in group[:4]) for group in differ)
            lines.append(f"the masks of {which} differ though the images are the same: one of them is wrong")
    if profile.near:
        pairs = first_few(
            f"{names[i]} ~ {names[j]} ({bits} bits, correlation {r:.3f})" for i, j, bits, r in profile.near
        )
        bound = f"at most {DUPLICATE} of 64 bits of pHash differ"
        lines.append(f"{len(profile.near)} pairs are near-duplicates ({bound}): {pairs}")
    if not lines:
        lines.append("no copies, and no near-duplicates by perceptual hash (it misses turned copies and other views)")
    if profile.grouped:
        largest, number = Counter(profile.groups).most_common(1)[0]
        lines.append(f"{len(set(profile.groups))} groups, the largest {largest} with {number} of {len(names)} images")
        across = [pair for pair in profile.near if profile.groups[pair[0]] != profile.groups[pair[1]]]
        if across:
            lines.append(f"{len(across)} pairs of near-duplicates are of different groups: are the groups right?")
        return lines
    number, alike = profile.neighbours()
    if number and alike > ALIKE:
        lines.append(
            f"{number} images follow another by their number, and are more like it than {alike:.0%} of all pairs are: "
            "if they are slices of a volume or frames of a video, name the volume of each in --config.data.groups"
        )
    lines.append("no groups are known: a patient, slide or video with several images cannot be kept in one fold")
    return lines


def odd(profile: Profile) -> list[str]:
    """Say what is unusual in images and masks."""
    lines = []
    n, share = len(profile.ids), profile.counts.sum(axis=0) / max(profile.counts.sum(), 1)
    holding = np.count_nonzero(profile.counts, axis=0)
    if empty := [profile.ids[index] for index in np.flatnonzero(profile.foreground == 0).tolist()]:
        lines.append(f"{len(empty)} of {n} masks are empty: {first_few(empty)}")
    readable = len(profile.classes) <= labels.MAX_CLASSES  # else every value of the refused masks counts as a class
    if readable and 1 - share[0] > 0.5:
        lines.append(f"{1 - share[0]:.0%} of all pixels are foreground: is the background the first class?")
    for name, part, images in list(zip(profile.classes, share, holding, strict=True))[1 : (ROWS + 1) * readable]:
        if not images:
            lines.append(f"no mask holds {name}")
        elif images < 10 and images < n:
            lines.append(f"{name} is in {images} images only: some folds test few of it, or none")
        if 0 < part < 0.01:
            weights = "{'cross_entropy': 1, 'dice': 1}"
            lines.append(f'{name} covers {part:.2%} of all pixels: if it is never found, try --config.loss="{weights}"')
    if ignored := int(np.count_nonzero(profile.labelled < 1)):
        part = 1 - profile.counts.sum() / profile.sizes.prod(axis=1).sum()
        lines.append(f"{part:.1%} of all pixels, in {ignored} of {n} masks, are ignored: neither trained on nor scored")
    if flat := [profile.ids[index] for index, one in enumerate(profile.images) if one.levels == 1]:
        lines.append(f"{len(flat)} images are of one colour all over: {first_few(flat)}")
    if (levels := int(np.median([one.levels for one in profile.images]))) <= 8:
        lines.append(f"most images hold {levels} different values or fewer: are they masks?")
    return lines


def _sizes(profile: Profile) -> str:
    sizes = Counter(tuple(size) for size in profile.sizes.tolist())
    area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    aspect = profile.sizes[:, 1] / profile.sizes[:, 0]
    rows = [(f"{width}x{height}", number, f"{width / height:.2f}") for (height, width), number in sizes.most_common(5)]
    if len(sizes) == 1:
        return _table(("width x height", "images", "aspect"), rows)
    (h, w), (height, width) = area[0], area[-1]
    middle = "x".join(str(int(side)) for side in np.median(profile.sizes, axis=0)[::-1])
    return _table(("width x height", "images", "aspect"), rows) + (
        f"\n\n{len(sizes)} sizes, from {w}x{h} to {width}x{height}, median {middle}; aspects (width to height) from "
        f"{aspect.min():.2f} to {aspect.max():.2f}"
    )


def _classes(profile: Profile) -> str:
    share = profile.counts / np.maximum(profile.counts.sum(axis=1, keepdims=True), 1)
    total = profile.counts.sum(axis=0) / max(profile.counts.sum(), 1)
    rows = []
    for label, name in enumerate(profile.classes[:ROWS]):
        inside = share[:, label][share[:, label] > 0]
        spread = f"{np.median(inside):.2%} ({inside.min():.2%} to {inside.max():.2%})" if len(inside) else ""
        rows.append((_plain(name), f"{total[label]:.2%}", len(inside), spread))
    more = f"\n\nand {len(profile.classes) - ROWS} more" if len(profile.classes) > ROWS else ""
    heads = "class", "of all pixels", "images with it", "of such an image's pixels: median (range)"
    return _table(heads, rows) + more


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (heads, ["---"] * len(heads), *rows))


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _plain(text: str) -> str:
    """Escape the characters that mean something in Markdown: file names may hold them."""
    return re.sub(r"([\\`*_<>|\[\]#~])", r"\\\1", text)
