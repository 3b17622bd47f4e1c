"""A whole report: tables, figures and the page, in one folder."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import (
    baselines,
    boundaries,
    calibration,
    chosen,
    classes,
    conventions,
    cost,
    examples,
    figures,
    forest,
    leakage,
    overlays,
    page,
    paper_tables,
    records,
    style,
    summary,
    table,
)
from sharp_unet_jax.report.page import Chapter
from sharp_unet_jax.report.provenance import labels
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.storage.atomic import clear_dead, replacing_folder, write_text


def write(workdirs: Sequence[Path], output: Path | None = None, title: str = "", note: str = "") -> Path:
    """Write report.html, tables/*.md, *.tex, *.csv and figures/*.svg, *.png; return the folder.

    Args:
        workdirs: workdirs or folders of packed results.
        output: the folder; by default "report" in the first of `workdirs`.
        title: the page's heading; by default it names the data sets.
        note: a paragraph below the heading, such as who made the report and why.

    Raises:
        InputError: where one holds no sweep, or no run of any is finished.
    """
    loaded = [records.load(workdir) for workdir in dict.fromkeys(workdirs)]
    if not any(sweep.finished for sweep in loaded):
        raise InputError(f"{', '.join(map(str, workdirs))}: no run is finished, there is nothing to report")
    output = output or workdirs[0] / "report"
    with matplotlib.rc_context(style.RC):
        _write(dict(zip(labels(loaded), loaded, strict=True)), output, title, note)
    return output


def _write(sweeps: dict[str, Sweep], output: Path, title: str, note: str) -> None:
    clear_dead(output)
    loaded = list(sweeps.values())
    general = [*paper_tables.tables(loaded), leakage.table(loaded)]
    drawn = [*forest.draw(sweeps), *figures.draw(sweeps)]
    chapters = [_chapter(label, sweep) for label, sweep in sweeps.items()]
    # As a whole: a report of other sweeps, or of before a choice, may have more of both.
    with replacing_folder(output / "tables") as tables, replacing_folder(output / "figures") as pictures:
        for each in general:
            table.write(each, tables)
        for figure in drawn:
            figures.save(figure, pictures)
        for chapter, suffix in zip(chapters, _suffixes(list(sweeps)), strict=True):
            for each in chapter.tables:
                table.write(each._replace(name=each.name + suffix), tables)
            for figure in (*chapter.examples, *chapter.figures):
                figures.save(figure._replace(name=figure.name + suffix), pictures)
    title = title or f"Segmentation of {', '.join(dict.fromkeys(sweep.dataset for sweep in loaded))}"
    # The page draws curves and examples itself.
    static = [each for each in drawn if each.name != "curves"]
    html = page.render(title, summary.paragraph(sweeps), general, static, chapters, note)
    write_text(output / "report.html", html)


def _suffixes(labels: Sequence[str]) -> list[str]:
    """Return the end of each sweep's file names: its label, "" for a single sweep.

    Labels that are alike but for signs and capitals are numbered: one sweep's files would replace the other's.
    """
    if len(labels) == 1:
        return [""]
    names = [re.sub(r"\W+", "_", label) for label in labels]
    times = Counter(name.casefold() for name in names)
    return [f"-{name}" + f"-{number}" * (times[name.casefold()] > 1) for number, name in enumerate(names, 1)]


def _chapter(label: str, sweep: Sweep) -> Chapter:
    if not sweep.finished:
        return Chapter(label, sweep, {}, [], [], [], [])
    predicted = overlays.predictions(sweep)
    tables = [
        classes.table(sweep),
        baselines.table(sweep),
        chosen.table(sweep),
        conventions.table(sweep),
        boundaries.table(sweep),
        calibration.table(sweep),
        cost.table(sweep),
    ]
    return Chapter(
        label,
        sweep,
        predicted,
        [each for each in tables if each is not None],
        [*conventions.draw(sweep), *calibration.draw(sweep)],
        examples.draw(sweep, predicted),
        leakage.most_alike(sweep),
    )
