"""The report as one HTML file that opens from a disk: styles, script, data and pictures are inside."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from PIL import Image

from sharp_unet_jax import metrics, palette
from sharp_unet_jax.data import pillow
from sharp_unet_jax.report import (
    false_positives,
    figures,
    gallery,
    headline,
    next_commands,
    notes,
    overlays,
    pairing,
    provenance,
    published,
    statistics,
    style,
    thumbnails,
)
from sharp_unet_jax.report.figures import Captioned, Predicted
from sharp_unet_jax.report.leakage import Pair
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table, percent

PERCENT = {  # the curves in per cent; titles as in "validation Jaccard", "test sensitivity"
    f"{part}_{name}": f"{part} {name.capitalize() if name in published.OVERLAPS else name}"
    for part in ("validation", "test")
    for name in metrics.OVERLAPS
}
OTHER = {
    "validation_loss": "validation loss",
    "train_loss": "training loss",
    "test_loss": "test loss",
    "learning_rate": "learning rate",
}


class Chapter(NamedTuple):
    """One sweep on the page."""

    label: str
    sweep: Sweep
    predicted: Predicted  # from overlays.predictions
    tables: Sequence[Table]
    figures: Sequence[Captioned]
    examples: Sequence[Captioned]  # from examples.draw, only for files: the page draws the examples itself
    pairs: Sequence[Pair]  # from leakage.most_alike


def render(
    title: str,
    summary: str,
    tables: Sequence[Table],
    drawn: Sequence[Captioned],
    chapters: Sequence[Chapter],
    note: str = "",
) -> str:
    """Return the page as HTML.

    Args:
        title: the heading.
        summary: a paragraph.
        tables: those of all sweeps together.
        drawn: the figures of all sweeps together.
        chapters: the sweeps, each with tables and figures of its own.
        note: a paragraph below the heading.
    """
    classes = max((len(chapter.sweep.classes) for chapter in chapters), default=0)
    budget = thumbnails.BUDGET // max(1, len(chapters))
    return (
        environment()
        .get_template("report.html")
        .render(
            title=title,
            note=note,
            summary=summary,
            tables=[cells(table) for table in tables],
            figures=drawn,
            null=false_positives.figure(),
            reading=notes.parts([*tables, *(table for chapter in chapters for table in chapter.tables)]),
            chapters=[_chapter(number, chapter, budget) for number, chapter in enumerate(chapters)],
            colours=overlays.MEANING,
            label_colours=[f"#{bytes(colour).hex()}" for colour in palette.CLASSES[:classes]],
            ignore=metrics.IGNORE,
            ignored=palette.IGNORED,
            fewest=statistics.FEWEST,
        )
    )


def environment() -> jinja2.Environment:
    """Return what fills the templates of pages."""
    loader = jinja2.PackageLoader("sharp_unet_jax.report", "template")
    found = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # Jinja's default sorts the keys
    found.filters |= {
        "inline": inline,
        "svg": _svg,
        "picture": _picture,
        "key": sort_key,
        "percent": percent,
        "breakable": breakable,
    }
    found.globals["include_raw"] = lambda name: Markup(loader.get_source(found, name)[0])
    return found


def _chapter(number: int, chapter: Chapter, budget: int) -> dict[str, Any]:
    sweep = chapter.sweep
    models = list(sweep.models)
    scores = figures.by_image(sweep) if sweep.has_images else None
    top = gallery.draw(sweep, chapter.predicted)
    names, twins = pairing.short_names(sweep), [panel for panel in pairing.panels(sweep) if len(panel) == 2]
    pictures: dict[str, thumbnails.Picture] = {}
    if scores is not None:
        wanted = dict.fromkeys([*(case.id for case in top.cases), *scores.index])
        drawn = thumbnails.pictures(sweep, chapter.predicted, list(wanted), budget)
        pictures = {
            image: each._replace(models=[names[model] for model in each.models]) for image, each in drawn.items()
        }
    data = {
        "curves": _curves(sweep) if models else None,
        "classes": sweep.classes,
        "pictures": {image: picture.json() for image, picture in pictures.items()},
    }
    return {
        **chapter._asdict(),
        "tables": [cells(table) for table in chapter.tables],
        "id": f"sweep{number}",
        "models": list(names.values()),
        "rows": _rows(sweep, scores, models, twins) if scores is not None else [],
        "pairs_of_models": [[names[model] for model in pair] for pair in twins],
        "tiles": headline.tiles(sweep) if models else [],
        "gallery": top,
        "pictures": pictures,
        "missing": _missing(sweep, chapter.predicted, len(pictures), 0 if scores is None else len(scores)),
        "metrics": _curve_names(sweep),
        "epochs_scored": provenance.epochs_scored(sweep),
        "shown_at": provenance.resolution(sweep) if provenance.scored_natively(sweep) else "",
        "environment": sweep.environment,
        "steps": next_commands.steps(sweep),
        "config": json.dumps(sweep.config, indent=2),
        "data": data,
    }


def cells(table: Table) -> dict[str, Any]:
    """Return a table for the template: its cells by row, and which of its columns hold text."""
    rows = table.frame.to_numpy().tolist()
    numeric = [all(sort_key(cell) or cell == "-" for cell in column) for column in zip(*rows, strict=True)]
    kinds = [Markup("") if is_number else Markup(' class="text"') for is_number in numeric]
    columns = [{"name": name, "kind": kind} for name, kind in zip(table.frame.columns, kinds, strict=True)]
    return {**table._asdict(), "columns": columns, "rows": rows, "loud": notes.loud(table)}


def _rows(
    sweep: Sweep, scores: pd.DataFrame, models: Sequence[str], twins: Sequence[Sequence[str]]
) -> list[dict[str, Any]]:
    """Return the rows of the table of images: id, group, Jaccard in 0..1 by model, sharp minus plain by pair."""
    rows = []
    for image, row in scores.iterrows():
        group, scored = sweep.groups[str(image)], [row[model] for model in models]
        differences = [100 * (row[sharp] - row[plain]) for plain, sharp in twins]
        rows.append({"id": image, "group": group, "scores": scored, "differences": differences})
    return rows


def _missing(sweep: Sweep, predicted: Predicted, pictures: int, images: int) -> str:
    """Return why there are no pictures, or not of all images; "" where nothing is missing."""
    if sweep.packed and not images:
        return (
            "These packed results have no scores of single images (there is no per_image.parquet), so the tables and "
            "figures that need them are left out."
        )
    if sweep.packed:
        return "There are no pictures: packed results hold neither images nor predictions."
    if sweep.prepared is None:
        return (
            "There are no pictures: the prepared images are not where they were for the sweep, or have changed. "
            "Prepare the data set again in the same place, then make the report again."
        )
    if not predicted:
        return "There are no predictions to show: the sweep kept none (predictions=false)."
    if pictures < images:
        return f"This page holds pictures of {pictures} of {images} images, to bound its size."
    return ""


def _curves(sweep: Sweep) -> dict[str, Any]:
    """Return what the script draws: for every run, its model and the values of each metric by epoch."""
    names = pairing.short_names(sweep)
    looks = {
        names[model]: {"colour": _page_colour(look["color"]), "dashes": _dashes(look["linestyle"])}
        for model, look in style.lines(sweep.models).items()
    }
    runs, curves = [], _curve_names(sweep)
    for _, table in sweep.epochs.groupby("run", sort=False):
        values = {name: [_short(value) for value in table[name]] for name in curves}
        runs.append({"model": names[table["model"].iloc[0]], "values": values})
    return {"looks": looks, "runs": runs, "names": curves, "percent": list(PERCENT)}


def _curve_names(sweep: Sweep) -> dict[str, str]:
    """Return the curves that the epochs have, each with its title."""
    if not sweep.finished:
        return {}
    return {name: title for name, title in (PERCENT | OTHER).items() if name in sweep.epochs}


def _page_colour(colour: str) -> str:
    """Return a colour for the page, where black is the colour of text: the page may be dark."""
    return "currentColor" if colour == palette.BLACK else colour


def _dashes(linestyle: Any) -> str:
    """Return Matplotlib's dashes as SVG's, for a line twice as thick."""
    return "" if linestyle == style.SOLID else " ".join(f"{2 * part:g}" for part in linestyle[1])


def _short(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def inline(text: object) -> Markup:
    """Return text with **bold** and `code` as HTML."""
    html = str(escape(str(text)))
    html = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html)
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", html).replace("\n", "<br>"))


def breakable(name: str) -> Markup:
    """Return a name such as "sharp_unet_resnet50" as HTML whose lines may break behind a low line."""
    return Markup(str(escape(name)).replace("_", "_<wbr>"))


def sort_key(cell: object) -> str:
    """Return the sort key of a cell: the number it begins with, or "" for text."""
    found = re.match(r"\*{0,2}([<+-]?\d+(?:\.\d+)?)", str(cell))
    return found[1].lstrip("<+") if found else ""


def _svg(drawn: Captioned, prefix: str) -> Markup:
    """Return a figure for the page: `prefix` makes its ids unique, and its ink is the page's colour of text."""
    text = figures.svg(drawn.figure)
    text = text[text.index("<svg") :].replace(palette.INK, "currentColor")
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    return Markup(
        re.sub(r'<svg (.*?)width="([^"]*)"', r'<svg \1style="--width:\2" width="\2"', text, count=1, flags=re.S)
    )


def _picture(pixels: np.ndarray) -> str:
    """Return an image (h, w, 3) uint8 as a `data:` address."""
    return pillow.address(Image.fromarray(pixels), "webp", quality=75)
