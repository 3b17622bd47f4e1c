"""Palettes: whether their indices mean the same in all masks of a set, or only their colours can be trusted."""

from collections.abc import Collection, Iterable

from datasets.folder.masks import BLACK, COLOUR, TRANSPARENT, WHITE, Summary


def by_index(summaries: Iterable[Summary], named: Collection[int]) -> bool:
    """Say whether palette indices mean the same in all masks, so that they can be read as labels.

    Programs that shrink PNG files renumber the palette of each file, and some put black, the background, after another
    colour; then only the colours can be trusted. So they are where all are black and white, as in one bit.

    Args:
        summaries: of all masks, with the indices of palettes.
        named: the codes that the user's settings name; numbers are indices, whatever colour 0 has.
    """
    colour_of: dict[int, int] = {}
    for mask in summaries:
        if mask.values[-1] >= COLOUR:  # a file in colours: those of the palettes are alike
            return False
        for index, colour in mask.palette:
            if colour_of.setdefault(index, colour) != colour:
                return False
    colours = set(colour_of.values())
    if WHITE in colours and colours <= {BLACK, WHITE, TRANSPARENT}:
        return False
    if any(0 <= code < COLOUR for code in named):
        return True
    return colour_of[0] in (BLACK, TRANSPARENT) if 0 in colour_of else BLACK not in colours
