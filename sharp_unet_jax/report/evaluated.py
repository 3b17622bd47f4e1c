"""Scores of predicted masks beside true ones at the files' own resolution: by image, by group and of the whole set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from sharp_unet_jax import metrics
from sharp_unet_jax.metrics import IGNORE, Empty
from sharp_unet_jax.report import boundaries, statistics
from sharp_unet_jax.report.boundaries import Distances
from sharp_unet_jax.report.table import Table, rounded

DISTANCES = {"hd95": "HD95", "assd": "ASSD"}
PIXEL = (1.0, 1.0)
FEWEST = 10  # images of a correlation: fewer say little


class Case(NamedTuple):
    """An image of a test set, scored."""

    id: str
    group: str
    counts: NDArray[np.int64]  # (classes, 3): intersection, truth, predicted
    distances: tuple[Distances, ...]  # one per foreground class
    disagreement: tuple[float, ...] = ()  # between the runs that predicted, one per foreground class; () of one run


class Estimate(NamedTuple):
    """A mean over images or groups; nan where there is nothing to average."""

    mean: float
    low: float  # 95 % interval, by `statistics.cluster_interval`
    high: float
    n: int  # images or groups that have a value


def case(
    name: str,
    group: str,
    truth: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    classes: int,
    spacing: tuple[float, float] = PIXEL,
    disagreement: tuple[float, ...] = (),
) -> Case:
    """Score an image.

    Args:
        name: its id.
        group: the images of one group are no independent draws, such as the slices of a patient.
        truth: labels (H, W); pixels labelled IGNORE are not scored.
        predicted: labels (H, W).
        classes: background included.
        spacing: see `boundaries.distances`.
        disagreement: see `Case`.
    """
    found = [
        boundaries.distances(truth == label, predicted == label, truth == IGNORE, spacing)
        for label in range(1, classes)
    ]
    return Case(name, group, metrics.count(predicted, truth, classes), tuple(found), disagreement)


@dataclass(frozen=True)
class Scored:
    """All images of a test set, scored."""

    cases: Sequence[Case]
    classes: tuple[str, ...]  # names, background first
    empty: Empty
    unit: str = "px"  # of distances; or "mm"

    @property
    def groups(self) -> list[str]:
        """The group of each image."""
        return [one.group for one in self.cases]

    @property
    def grouped(self) -> bool:
        """Return True if an image shares its group with another one."""
        return len(set(self.groups)) < len(self.cases)

    @property
    def scopes(self) -> dict[str, list[int]]:
        """The labels that are averaged, by what they are called; the first is what a sweep reports."""
        labels = list(range(len(self.classes)))
        if len(labels) == 2:
            return {self.classes[1]: [1]}
        every = {f"mean of all {len(labels)} classes": labels, f"mean without {self.classes[0]}": labels[1:]}
        return every | {name: [label] for label, name in enumerate(self.classes) if name not in every}

    def by_image(self, labels: Sequence[int]) -> pd.DataFrame:
        """Return a row per image: the mean over `labels` of each overlap and, of those above 0, of each distance."""
        counts = np.stack([one.counts for one in self.cases])
        overlaps = metrics.overlaps(counts, empty=self.empty)
        found = {name: metrics.mean(values[:, labels], axis=1) for name, values in overlaps.items()}
        above = [label - 1 for label in labels if label]
        for name in DISTANCES:
            values = [[getattr(one.distances[at], name) for at in above] for one in self.cases]
            found[name] = metrics.mean(np.array(values, np.float64).reshape(len(self.cases), -1), axis=1)
        return pd.DataFrame(found)

    def estimates(self, labels: Sequence[int]) -> dict[str, Estimate]:
        """Return the mean over images of each column of `by_image`. Its interval allows for groups."""
        return {str(name): _estimate(values, self.groups) for name, values in self.by_image(labels).items()}

    def pooled(self, labels: Sequence[int], cases: Iterable[Case] | None = None) -> dict[str, float]:
        """Return the overlaps of all images' pixels, or of those of some `cases`, counted as one image."""
        counts = np.sum([one.counts for one in cases or self.cases], axis=0)
        return {
            name: float(metrics.mean(values[labels]))
            for name, values in metrics.overlaps(counts, empty=self.empty).items()
        }

    def by_group(self, labels: Sequence[int]) -> pd.DataFrame:
        """Return a row per group, by its name: images, means as in `by_image`, and "pooled_" columns as in `pooled`."""
        cases: dict[str, list[Case]] = {}
        for one in self.cases:
            cases.setdefault(one.group, []).append(one)
        means = self.by_image(labels).groupby(np.array(self.groups, object), sort=False).mean()
        whole = pd.DataFrame({group: self.pooled(labels, own) for group, own in cases.items()}).T.add_prefix("pooled_")
        return pd.DataFrame({"images": {group: len(own) for group, own in cases.items()}}).join(means).join(whole)

    def outcomes(self, labels: Sequence[int]) -> dict[str, int]:
        """Return how many images, counted once a class, have distances, and why others have none."""
        found = [one.distances[label - 1].outcome for one in self.cases for label in labels if label]
        return {name: found.count(name) for name in (*boundaries.OUTCOMES, boundaries.UNKNOWN)}


def _estimate(values: pd.Series, groups: Sequence[str]) -> Estimate:
    known = values.notna().to_numpy()
    kept = values.to_numpy(np.float64)[known]
    if not len(kept):
        return Estimate(np.nan, np.nan, np.nan, 0)
    low, high = statistics.cluster_interval(kept, [group for group, there in zip(groups, known, strict=True) if there])
    most = 1.0 if values.name not in DISTANCES else np.inf
    return Estimate(float(kept.mean()), max(low, 0.0), min(high, most), len(kept))


def per_image(test: Scored) -> pd.DataFrame:
    """Return a row per image and class: id, group, pixel counts, overlaps, distances in `unit`, and disagreement."""
    overlaps = metrics.overlaps(np.stack([one.counts for one in test.cases]), empty=test.empty)
    nothing = Distances("", np.nan, np.nan)  # of the background
    rows = []
    for number, one in enumerate(test.cases):
        for label, name in enumerate(test.classes):
            row: dict[str, Any] = {"id": one.id, "group": one.group, "class": name}
            row |= dict(zip(("intersection", "truth", "predicted"), map(int, one.counts[label]), strict=True))
            row["pixels"] = int(one.counts[:, 1].sum())
            row |= {overlap: values[number, label] for overlap, values in overlaps.items()}
            row |= (one.distances[label - 1] if label else nothing)._asdict() | {"unit": test.unit}
            row["disagreement"] = one.disagreement[label - 1] if label and one.disagreement else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def scores(test: Scored) -> dict[str, Any]:
    """Return everything but single images, for scores.json: fractions in 0..1, and distances in `unit`."""
    found: dict[str, Any] = {"images": len(test.cases), "groups": len(set(test.groups)), "classes": list(test.classes)}
    found["headline"] = next(iter(test.scopes))
    found["distance_unit"] = test.unit
    found["scores"] = {
        scope: {name: each._asdict() for name, each in test.estimates(labels).items()}
        | {"outcomes": test.outcomes(labels), "pooled": test.pooled(labels)}
        for scope, labels in test.scopes.items()
    }
    if foretold := foretelling(test):
        found["disagreement"] = foretold._asdict()
    if test.grouped:
        groups = test.by_group(test.scopes[found["headline"]])
        found["by_group"] = {str(group): row.to_dict() for group, row in groups.iterrows()}
        found["over_groups"] = {name: each._asdict() for name, each in over_groups(groups).items()}
    return found


class Foretelling(NamedTuple):
    """Relation between the disagreement of runs and the Jaccard: does it tell which images have bad masks?"""

    spearman: float  # correlation of its rank with that of the headline's Jaccard, from -1 to 1
    images: int


def foretelling(test: Scored) -> Foretelling | None:
    """Return how disagreement and Jaccard are related.

    An image's disagreement is the mean over its foreground classes. None for fewer images than `FEWEST`, and where all
    have the same value.
    """
    jaccard = test.by_image(next(iter(test.scopes.values())))["jaccard"].to_numpy()
    pairs = [
        (float(np.mean(one.disagreement)), value)
        for one, value in zip(test.cases, jaccard, strict=True)
        if one.disagreement and not np.isnan(value)
    ]
    if len(pairs) < FEWEST or any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
        return None
    return Foretelling(float(stats.spearmanr(*zip(*pairs, strict=True)).statistic), len(pairs))


def over_groups(groups: pd.DataFrame) -> dict[str, Estimate]:
    """Return the mean over groups of each column of `Scored.by_group`: each group counts the same."""
    names = list(map(str, groups.index))
    return {str(name): _estimate(values, names) for name, values in groups.drop(columns="images").items()}


def tables(test: Scored) -> list[Table]:
    """Return the tables of the page: by class, by what counts the same, and by group where there are groups."""
    headline, labels = next(iter(test.scopes.items()))
    rows = []
    for scope, own in test.scopes.items():
        estimates, outcomes = test.estimates(own), test.outcomes(own)
        row: dict[str, object] = {"class": scope, "images": estimates["jaccard"].n}
        row |= _cells(estimates)
        row |= {f"{heading} ({test.unit})": _two_lines(plain(estimates[name])) for name, heading in DISTANCES.items()}
        one_sided = ("missed", "false positive")
        rows.append(row | {outcome: outcomes[outcome] if own != [0] else "-" for outcome in one_sided})
    note = (
        "A cell is the mean over images, and its 95 % interval. HD95 and ASSD are of the foreground classes, and leave "
        "out an image whose truth or prediction lacks the class. “Missed” counts those with the class only in the "
        "truth, “false positive” those with it only in the prediction."
    )
    if test.empty == "nan":
        note += " “Images” counts those with a Jaccard index; the other overlaps may leave out fewer."
    found = [Table("classes", "By class", "", pd.DataFrame(rows), note)]
    counted: list[dict[str, object]] = [{"what counts the same": "each image", **_cells(test.estimates(labels))}]
    if test.grouped:
        over = over_groups(test.by_group(labels))
        counted.append({"what counts the same": "each group, the mean of its images", **_cells(over)})
        pooled = {name: over[f"pooled_{name}"] for name in metrics.OVERLAPS}
        counted.append({"what counts the same": "each group, all its pixels as one image", **_cells(pooled)})
    whole = {name: Estimate(value, np.nan, np.nan, 1) for name, value in test.pooled(labels).items()}
    counted.append({"what counts the same": "each pixel of the set", **_cells(whole)})
    note = "The first row is the headline. Papers differ in what they average over, and often do not say it."
    note += " A volume whose slices are one group has its 3-D score in the third row." if test.grouped else ""
    found.append(Table("counting", f"By what counts the same: {headline}", "", pd.DataFrame(counted), note))
    if test.grouped:
        groups = test.by_group(labels)
        shown = pd.DataFrame({"group": groups.index, "images": groups["images"].to_numpy()})
        for name in metrics.OVERLAPS:
            shown[f"{name.capitalize()} (%)"] = [rounded(100 * value) for value in groups[name]]
        for name, heading in DISTANCES.items():
            shown[f"{heading} ({test.unit})"] = ["-" if np.isnan(value) else text(value) for value in groups[name]]
        shown["Dice of all pixels (%)"] = [rounded(100 * value) for value in groups["pooled_dice"]]
        note = "The mean over a group's images; the last column counts all pixels of a group as one image."
        found.append(Table("groups", f"By group: {headline}", "", shown, note))
    return found


def percent(one: Estimate) -> str:
    """Return an estimate in per cent, as `plain`."""
    return plain(Estimate(100 * one.mean, 100 * one.low, 100 * one.high, one.n))


def plain(one: Estimate) -> str:
    """Return "3.12 (2.20 to 4.01)"; only the mean without an interval, "-" for nan."""
    if np.isnan(one.mean):
        return "-"
    return text(one.mean) if np.isnan(one.low) else f"{text(one.mean)} ({text(one.low)} to {text(one.high)})"


def text(value: float) -> str:
    """Return "3.12", or two significant digits of less than 0.1: of cells, distances are parts of a micrometre."""
    if abs(value) >= 0.1 or not value:
        return f"{value:.2f}"
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")


def _cells(estimates: dict[str, Estimate]) -> dict[str, object]:
    return {f"{name.capitalize()} (%)": _two_lines(percent(estimates[name])) for name in metrics.OVERLAPS}


def _two_lines(cell: str) -> str:
    """Return a mean with its interval below it: side by side they would be too wide for a page."""
    return cell.replace(" (", "\n").removesuffix(")")


def chosen(test: Scored) -> dict[str, int]:
    """Return the index of the best, the median and the worst image by Jaccard, among those with a foreground.

    No image comes twice. Images without a foreground would be the best, with nothing to see.
    """
    values = test.by_image(next(iter(test.scopes.values())))["jaccard"]
    seen = [index for index, one in enumerate(test.cases) if one.counts[1:, 1].any() and not np.isnan(values[index])]
    order = sorted(seen, key=lambda index: -values[index])
    places = {"best": 0, "worst": len(order) - 1, "median": len(order) // 2}
    found: dict[int, str] = {}
    for why, place in places.items() if order else ():
        found.setdefault(order[place], why)
    named = {why: index for index, why in found.items()}
    return {why: named[why] for why in ("best", "median", "worst") if why in named}
