"""A whole report: tables, figures and the page, in one folder."""

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
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
from sharp_unet_jax.storage.atomic import clear_dead, write_text

FILES = ".report-files"  # names its tables and figures
KINDS = (".md", ".tex", ".csv", ".svg", ".png")


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
    for place in (output, output / "tables", output / "figures"):
        clear_dead(place)
    loaded = list(sweeps.values())
    general = [*paper_tables.tables(loaded), leakage.table(loaded)]
    drawn = [*forest.draw(sweeps), *figures.draw(sweeps)]
    chapters = [_chapter(label, sweep) for label, sweep in sweeps.items()]
    tables, pictures = list(general), list(drawn)
    for chapter, suffix in zip(chapters, _suffixes(list(sweeps)), strict=True):
        tables += [each._replace(name=each.name + suffix) for each in chapter.tables]
        pictures += [each._replace(name=each.name + suffix) for each in (*chapter.examples, *chapter.figures)]
    with _listed(output, {f"tables/{each.name}" for each in tables} | {f"figures/{each.name}" for each in pictures}):
        for each in tables:
            table.write(each, output / "tables")
        for figure in pictures:
            figures.save(figure, output / "figures")
    title = title or f"Segmentation of {', '.join(dict.fromkeys(sweep.dataset for sweep in loaded))}"
    # The page draws curves and examples itself.
    static = [each for each in drawn if each.name != "curves"]
    html = page.render(title, summary.paragraph(sweeps), general, static, chapters, note)
    write_text(output / "report.html", html)


@contextlib.contextmanager
def _listed(output: Path, names: Set[str]) -> Iterator[None]:
    """List the tables and figures that the block writes, and then delete those of the report before that are no more.

    The names, such as "tables/chosen", have no suffix. Files that no report has written stay.
    """
    path = output / FILES
    before = set(path.read_text(encoding="utf-8", errors="replace").split("\n")) if path.exists() else set[str]()
    write_text(path, "\n".join(sorted(before | names)))
    yield
    for name in before - names:
        if re.fullmatch(r"(tables|figures)/[^/]+", name):
            for kind in KINDS:
                (output / f"{name}{kind}").unlink(missing_ok=True)
    write_text(path, "\n".join(sorted(names)))


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
