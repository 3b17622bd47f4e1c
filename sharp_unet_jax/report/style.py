"""How a model is drawn in every figure: colours that the colour-blind tell apart (Okabe & Ito), told apart in grey too."""

from collections.abc import Iterable, Iterator
from typing import Any

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def by_model(models: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each model, and what draws its line: a sharp network solid, its plain twin dashed in the same colour."""
    names = list(models)
    families = list(dict.fromkeys(_plain(name) for name in names))
    for name in names:
        dashes = "-" if name != _plain(name) else (0, (4, 2))
        yield name, {"color": COLOURS[families.index(_plain(name)) % len(COLOURS)], "linestyle": dashes}


def _plain(model: str) -> str:
    return model.replace("sharp_", "")
