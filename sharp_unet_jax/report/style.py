"""How a model is drawn in every figure: colours that the colour-blind tell apart (Okabe & Ito), and dashes for grey."""

from collections.abc import Iterable, Iterator
from typing import Any

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def by_model(models: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each model, and what draws its line: sharp networks solid, plain ones dashed."""
    for number, model in enumerate(models):
        dashes = "-" if "sharp_" in model else (0, (4, 2))
        yield model, {"color": COLOURS[number % len(COLOURS)], "linestyle": dashes}
