"""Everything a report is made of, into one folder."""

import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import (
    boundaries,
    calibration,
    classes,
    conventions,
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
from sharp_unet_jax.storage.atomic import write_text


def write(workdirs: Sequence[Path], output: Path | None = None) -> Path:
    """Writes report.html, tables/*.md, *.tex, *.csv and figures/*.svg, *.png of sweeps to `output`; that folder.

    `output` is by default "report" in the first workdir. InputError where there is no sweep, or no finished run at all.
    """
    loaded = [records.load(workdir) for workdir in dict.fromkeys(workdirs)]
    if not any(sweep.finished for sweep in loaded):
        raise InputError(f"{', '.join(map(str, workdirs))}: no run is finished, there is nothing to report")
    output = output or workdirs[0] / "report"
    with matplotlib.rc_context(style.RC):
        _write(dict(zip(labels(loaded), loaded, strict=True)), output)
    return output


def _write(sweeps: dict[str, Sweep], output: Path) -> None:
    loaded = list(sweeps.values())
    general = [*paper_tables.every(loaded), leakage.table(loaded)]
    plates = [*forest.plates(sweeps), *figures.every(sweeps)]
    chapters = [_chapter(label, sweep) for label, sweep in sweeps.items()]
    for made in general:
        table.write(made, output / "tables")
    for plate in plates:
        figures.save(plate, output / "figures")
    for chapter in chapters:
        # What is of one sweep has its label in its name, where there are several.
        suffix = "-" + re.sub(r"\W+", "_", chapter.label) if len(chapters) > 1 else ""
        for made in chapter.tables:
            table.write(made._replace(name=made.name + suffix), output / "tables")
        for plate in (*chapter.examples, *chapter.plates):
            figures.save(plate._replace(name=plate.name + suffix), output / "figures")
    title = f"Sweep{'s' if len(sweeps) > 1 else ''} on {', '.join(dict.fromkeys(s.dataset for s in loaded))}"
    # The page draws curves and examples itself.
    static = [plate for plate in plates if plate.name != "curves"]
    html = page.render(title, summary.paragraph(sweeps), general, static, chapters)
    write_text(output / "report.html", html)


def _chapter(label: str, sweep: Sweep) -> Chapter:
    if not sweep.finished:
        return Chapter(label, sweep, {}, [], [], [], [])
    predicted = overlays.predictions(sweep)
    made = [classes.table(sweep), *conventions.tables(sweep), boundaries.table(sweep), calibration.table(sweep)]
    return Chapter(
        label,
        sweep,
        predicted,
        [each for each in made if each is not None],
        [*conventions.plates(sweep), *calibration.plates(sweep)],
        examples.plates(sweep, predicted),
        leakage.worst(sweep),
    )
