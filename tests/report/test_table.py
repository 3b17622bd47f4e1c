"""A table in three formats."""

import io
import re
import shutil
import subprocess

import pandas as pd
import pytest

from sharp_unet_jax.report import table
from sharp_unet_jax.report.table import Table

FRAME = pd.DataFrame(
    {
        "model": ["sharp_unet", "a & b | c"],
        "Jaccard (%)": ["**75.00 ± 7.07**", "60.00"],
        "95 % interval": ["-1.50 to 78.02", "-"],
        "p": ["<0.001", "-"],
        "runs": [25, 1],
    }
)
TABLE = Table("table1", "Title", "Protocol: paper.\nmine: 100 % of $.", FRAME, "Bold: **really**.\nAnd more.")


def test_markdown_is_a_github_table_between_provenance_and_note():
    assert table.markdown(TABLE) == (
        "## Title\n\nProtocol: paper.\n\nmine: 100 % of $.\n\n"
        "| model | Jaccard (%) | 95 % interval | p | runs |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| sharp_unet | **75.00 ± 7.07** | -1.50 to 78.02 | <0.001 | 25 |\n"
        "| a & b &#124; c | 60.00 | - | - | 1 |\n\n"
        "Bold: **really**.\n\nAnd more.\n"
    )


def test_csv_holds_numbers_below_comment_lines():
    text = table.csv(TABLE)
    assert text.startswith("# Title\n# Protocol: paper.\n# mine: 100 % of $.\n# Bold: really.\n# And more.\nmodel,")
    read = pd.read_csv(io.StringIO(text), comment="#")
    assert [*read] == [
        "model", "Jaccard (%)", "Jaccard (%) ±", "95 % interval from", "95 % interval to", "p", "runs"
    ]  # fmt: skip
    assert read.loc[0, "Jaccard (%)":"95 % interval to"].tolist() == [75.0, 7.07, -1.5, 78.02]
    assert read.loc[1, "Jaccard (%)"] == 60
    assert read.loc[1, ["Jaccard (%) ±", "95 % interval from", "95 % interval to", "p"]].isna().all()
    assert read["model"].tolist() == FRAME["model"].tolist()


def test_a_label_that_looks_like_a_formula_is_text_in_csv():
    frame = pd.DataFrame({"model": ["=cmd|' /C calc'!A0", "unet"], "difference": ["+1.20", "-"]})
    lines = table.csv(table.Table("t", "Title", "", frame)).splitlines()
    assert lines == ["# Title", "model,difference", "'=cmd|' /C calc'!A0,+1.20", "unet,"]


def test_latex_is_a_booktabs_table_with_every_special_character_escaped():
    packages, _, text = table.latex(TABLE).partition("\n")
    assert packages == r"% \usepackage{booktabs,graphicx}"
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:]
    assert body == [
        r"sharp\_unet & \textbf{75.00 $\pm$ 7.07} & $-$1.50 to 78.02 & $<$0.001 & 25 \\",
        r"a \& b | c & 60.00 & - & - & 1 \\",
    ]
    assert r"\caption{Title. Protocol: paper. mine: 100 \% of \$.}" in text
    assert r"\begin{tabular}{lrrrr}" in text
    assert r"Bold: \textbf{really}. And more." in text
    assert table.latex(TABLE._replace(title=r"\~^#{}")).count(r"\textbackslash{}\textasciitilde{}") == 1
    assert not re.search(r"(?<!\\)(%(?!\n)|[#_])", text)
    assert [text.count(f"{side}{{") for side in (r"\begin", r"\end")] == [2, 2]


def test_braces_close_and_long_headings_are_stacked():
    text = table.latex(TABLE._replace(frame=FRAME.rename(columns={"p": "best epoch on the test fold", "runs": "a_b"})))
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert r"& 95 \% interval & \shortstack[r]{best epoch on \\ the test fold} & a\_b \\" in text


@pytest.mark.skipif(
    not shutil.which("pdflatex"), reason="there is no pdflatex here: apt-get install texlive-latex-recommended"
)
def test_wide_and_narrow_tables_are_typeset_within_the_line(tmp_path):
    wide = TABLE._replace(name="wide", frame=pd.concat([FRAME, FRAME.add_suffix(" again " + "and again" * 8)], axis=1))
    for each in (TABLE, wide):
        table.write(each, tmp_path)
    inputs = "".join(rf"\input{{{each.name}}}" for each in (TABLE, wide))
    packages = r"\usepackage{booktabs,graphicx}"
    (tmp_path / "all.tex").write_text(rf"\documentclass{{article}}{packages}\begin{{document}}{inputs}\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    log = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert "Output written on all.pdf" in log
    assert "Overfull" not in log


def test_write_leaves_three_files(tmp_path):
    table.write(TABLE, tmp_path / "tables")
    written = {path.name: path.read_text() for path in (tmp_path / "tables").iterdir()}
    assert written == {
        "table1.md": table.markdown(TABLE), "table1.tex": table.latex(TABLE), "table1.csv": table.csv(TABLE)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (table.plus_minus(75.891, 2.06), "75.89 ± 2.06"),
        (table.plus_minus(75.891, float("nan")), "75.89"),
        (table.plus_minus(float("nan"), float("nan")), "-"),
        (table.mean_std(pd.Series([74.0, 76.0, float("nan")])), "75.00 ± 1.41"),
        (table.mean_std(pd.Series([75.0])), "75.00"),
        (table.rounded(75.891), "75.89"),
        (table.rounded(float("nan")), "-"),
        (table.interval(-1, 2), "-1.00 to 2.00"),
        (table.interval(float("nan"), float("nan")), "-"),
        (table.signed(0.5), "+0.50"),
        (table.signed(float("nan")), "-"),
        (table.p_value(0.0004), "<0.001"),
        (table.p_value(0.0444), "0.044"),
        (table.p_value(float("nan")), "-"),
    ],
)
def test_cells(cell, text):
    assert cell == text


def test_a_column_with_one_value_is_left_out():
    frame = pd.DataFrame({"data set": ["a", "a"], "model": ["x", "y"]})
    assert [*table.narrow(frame)] == ["model"]
    assert [*table.narrow(frame.assign(**{"data set": ["a", "b"]}))] == ["data set", "model"]
