"""Masks read as labels 0..C-1, by one rule for the whole set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from datasets.folder import blends, greys, masks
from datasets.folder.class_names import show
from datasets.folder.masks import BLACK, COLOUR, TRANSPARENT, Summary
from datasets.folder.names import first_few
from datasets.formats.stack import PLAIN, How
from sharp_unet_jax.metrics import IGNORE

Kind = Literal["labels", "binary", "values", "any"]


@dataclass(frozen=True)
class Reading:
    """The rule by which all masks of a set are read."""

    kind: Kind
    values: tuple[int, ...]  # the codes found, ascending; if kind is "any", those of the background
    classes: tuple[str, ...]  # names, background first
    indices: bool  # whether the indices of palettes are read, not their colours
    labels_of: tuple[int, ...] = ()  # the label of each value; if kind is "binary", of black and of white
    ignore: int | None = None  # the code of pixels that are not annotated; they become IGNORE
    class_files: tuple[str, ...] = ()  # the files of an image are masks of these classes; the first wins
    top: Path | None = None  # folders below it may name the class of a file
    notes: tuple[str, ...] = ()  # what the user should know

    def labels(self, paths: Sequence[Path], how: How = PLAIN) -> np.ndarray:
        """Return the labels of one mask, uint8 (n, H, W)."""
        if not self.class_files:
            return self.decode(masks.read(paths, how, indices=self.indices))
        class_of = {path: masks.class_of(path, self.class_files, self.top) for path in paths}
        parts = {path: self.decode(masks.read([path], how, indices=self.indices)) for path in paths}
        labels = np.zeros_like(parts[paths[0]])
        for part in parts.values():
            labels[part == IGNORE] = IGNORE
        for path in sorted(paths, key=class_of.__getitem__, reverse=True):
            labels[parts[path] == 1] = class_of[path] + 1
        return labels

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the labels of codes, uint8 of their shape; of the file of one class, 1 where it is."""
        in_colour = self.values[-1] >= COLOUR
        codes = masks.as_colours(codes) if in_colour else codes
        unnamed = TRANSPARENT not in self.values and self.ignore != TRANSPARENT
        hidden = (codes == TRANSPARENT) & unnamed  # background, whatever its colour is
        codes = np.where(hidden, BLACK if in_colour else 0, codes)
        if self.kind == "labels":
            labels = codes.astype(np.uint8)
        elif self.kind == "any":
            labels = (~np.isin(codes, self.values)).astype(np.uint8)
        elif self.kind == "binary":
            labels = np.array(self.labels_of, np.uint8)[(codes > greys.white(self.values) // 2).astype(int)]
        else:
            labels = self._of_values(codes)
        labels[codes == self.ignore] = IGNORE
        labels[hidden] = 0
        return labels

    def _of_values(self, codes: np.ndarray) -> np.ndarray:
        values = np.array(self.values)
        at = np.minimum(np.searchsorted(values, codes), len(values) - 1)
        if values[-1] >= COLOUR and (blend := values[at] != codes).any():
            at[blend] = blends.nearest(codes[blend], self.values)
        return np.array(self.labels_of, np.uint8)[at]

    def found(self, mask: Summary) -> np.ndarray:
        """Return the label of each of the mask's `values`."""
        return self.decode(mask.values)

    def describe(self) -> str:
        """Describe the values found and how they are read, in one clause."""
        found = first_few(map(show, self.values)) if len(self.values) < 6 else f"{self.values[0]} to {self.values[-1]}"
        ignored = f", {show(self.ignore)} is not annotated" if self.ignore is not None else ""
        names = ("background", "its class") if self.class_files else self.classes
        if self.kind == "labels":
            named = f"mask values {found} are labels: " + ", ".join(f"{n} is {name}" for n, name in enumerate(names))
        elif self.kind == "any":
            named = f"mask values: {found} is {names[0]}, any other is {names[1]}"
        elif self.kind == "binary" and len(self.values) > 2:
            above = f"above {greys.white(self.values) // 2} is {names[self.labels_of[1]]}"
            named = f"mask values {found} ({len(self.values)} greys) are black and white, blurred: {above}"
        else:
            labels = self.decode(np.array(self.values))
            shown = [(value, n) for value, n in zip(self.values, labels.tolist(), strict=True) if n != IGNORE]
            named = "mask values: " + ", ".join(f"{show(value)} is {names[n]}" for value, n in shown)
        order = ", ".join(f"{n} is {name}" for n, name in enumerate(self.classes[1:], 1))
        files = f"; a file per class, the first wins where they overlap: {order}" if self.class_files else ""
        return named + ignored + files
