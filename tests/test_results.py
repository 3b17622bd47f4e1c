"""results/README.md: its tables are those of the packed records, and its prose states only figures of its tables."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from PIL import Image

from results import scores

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "results/README.md"
DATA = {"size": [192, 256], "fit": "stretch", "score": "trained", "validate": "images", "scale": 1.0, "spacing": 0.0}
CONFIG = {"protocol": "paper", "split": "folds", "grouped": False, "precision": "float32", "weights": ""}
KERNEL = {"name": "laplacian", "padding": "zero"}


def record(skip, fold, jaccard, **fields):
    """A line of runs.jsonl; a finished run has scores for three of its epochs."""
    name = "unet" if skip == "plain" else "sharp_unet"
    kernel = KERNEL if skip == "sharp" else None
    known = {"status": "finished", "dataset": "cvc_clinicdb", "model": name, "network": "unet", "skip": skip}
    known |= {"kernel": kernel, "repeat": 0, "fold": fold, "jaccard": jaccard, "dice": jaccard + 0.1, "epochs": 40}
    best, last = ({"jaccard": jaccard + more} for more in (0.01, -0.01))
    return known | {"best_on_test": best, "last": last} | fields


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """Return a function that packs records into a folder; the page's own folders are out of sight."""
    monkeypatch.setattr(scores, "RESULTS", tmp_path)

    def write(name, records, data=None, **config):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({**CONFIG, "data": DATA | (data or {}), **config}))
        (tmp_path / name / "runs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))

    return write


PAIRED = [record("plain", 0, 0.60), record("sharp", 0, 0.70), record("plain", 1, 0.70), record("sharp", 1, 0.74)]


def test_runs(packed):
    failed = {"status": "failed", "dataset": "cvc_clinicdb", "model": "unet", "reason": "loss became NaN"}
    packed("cvc", [*PAIRED, record("plain", 2, 0.80, epochs=60), failed])
    plain, sharp = scores.runs("cvc").to_dict("records")
    assert plain == {
        "model": "unet",
        "runs": "3",
        "epochs": "40 to 60",
        "Jaccard (%)": "70.00 ± 10.00",
        "Dice (%)": "80.00 ± 10.00",
        "best epoch on the test images": "71.00 ± 10.00",
        "last epoch": "69.00 ± 10.00",
        "paper: Jaccard": "70.02 ± 9.37",
        "paper: Dice": "78.75 ± 8.10",
    }
    assert (sharp["runs"], sharp["epochs"], sharp["Jaccard (%)"]) == ("2", "40", "72.00 ± 2.83")


def test_each_run_has_its_cell(packed):
    packed("cvc", [record("plain", 1, 0.7, best_epoch=30), record("sharp", 0, 0.654321, best_epoch=7, epochs=9)])
    first, second = scores.each("cvc").to_dict("records")
    assert first == {
        "data set": "cvc_clinicdb, 192x256",
        "repeat": "0",
        "fold": "0",
        "sharp_unet": "65.43, epoch 7 of 9",
        "unet": "",
    }
    assert (second["unet"], second["sharp_unet"]) == ("70.00, epoch 30 of 40", "")


@pytest.mark.parametrize("data", [{"score": "native"}, {"fit": "crop", "validate": "crops"}])
def test_other_epochs_that_are_scored_otherwise_are_left_out(packed, data):
    packed("cvc", PAIRED, data=data)
    plain, _ = scores.runs("cvc").to_dict("records")
    assert plain["Jaccard (%)"] == "65.00 ± 7.07"
    assert plain["best epoch on the test images"] == plain["last epoch"] == ""


def test_sweeps_that_are_scored_at_other_resolutions_have_rows_of_their_own(packed):
    packed("a", PAIRED)
    packed("b", PAIRED, data={"score": "native"})
    packed("c", PAIRED, data={"fit": "crop"})
    packed("d", PAIRED, data={"fit": "crop", "scale": 0.5})
    packed("e", PAIRED, data={"fit": "crop", "spacing": 0.25})
    assert list(dict.fromkeys(scores.protocols("jaccard", "*")["data set"])) == [
        "cvc_clinicdb, 192x256",
        "cvc_clinicdb, 192x256, native scores",
        "cvc_clinicdb, crops of 192x256",
        "cvc_clinicdb, crops of 192x256 at 0.5 times the resolution",
        "cvc_clinicdb, crops of 192x256 at 0.25 mm per pixel",
    ]


def test_twins_are_paired_by_fold(packed):
    packed("cvc", [*PAIRED, record("plain", 2, 0.10)])
    (row,) = scores.twins("cvc").to_dict("records")
    assert row["minus plain, points of Jaccard"] == "+7.00 ± 4.24"
    assert (row["higher in"], row["paper"]) == ("2 of 2", "+5.87")


def test_times_are_medians_over_runs(packed):
    def timed(fold, train, first):
        timing = {"device": "cpu", "devices": 1, "train_seconds": train, "eval_seconds": 1.0}
        timing["first_epoch_seconds"] = first
        return record("plain", fold, 0.6, epochs=11, images={"train": 24}, timing=timing)

    packed("cvc", [timed(0, 119.0, 20.0), timed(1, 129.0, 20.0), timed(2, 1119.0, 900.0)])
    (row,) = scores.times("cvc").to_dict("records")
    assert (row["data set"], row["hardware"]) == ("cvc_clinicdb, 192x256, 24 images", "CPU")
    assert (row["one epoch"], row["one run"], row["five runs"]) == ("11.0 s", "2 min", "11 min")


def test_settings_are_named_and_compared_on_the_same_folds(packed):
    config = {"folds": 5, "clip": 0.0, "optimizer": "adam"}
    packed("a", [record("sharp", fold, 0.6 + fold / 10, config=config) for fold in range(4)])
    clipped = [record("sharp", fold, 0.61 + fold * 0.12, config=config | {"clip": 1.0}) for fold in range(3)]
    packed("b", clipped)
    first, row = scores.settings("a", "b").to_dict("records")
    assert list(first.values()) == ["nothing", "4", "40", "75.00 ± 12.91", "", ""]
    points = 1, 3, 5
    half = scipy.stats.t.ppf(0.975, 2) * np.sqrt((1 / 3 + 1 / 4) * np.var(points, ddof=1))
    assert row["changed"] == "`clip=1.0`"
    assert (row["difference"], row["higher in"]) == (f"+3.00 ({3 - half:.2f} to {3 + half:.2f})", "3 of 3")
    packed("c", [record("sharp", 0, 0.5, config=config), record("plain", 0, 0.6, config=config)])
    with pytest.raises(ValueError, match="unet: the first sweep has no such model to compare with"):
        scores.settings("a", "c")
    two = [record(skip, fold, 0.7, config=config | {"clip": 1.0}) for skip in ("plain", "sharp") for fold in range(2)]
    packed("d", two)
    table = scores.settings("c", "d")
    assert table["model"].tolist() == ["sharp_unet", "unet", "unet", "sharp_unet"]
    assert table["difference"].str[:6].tolist() == ["", "", "+10.00", "+20.00"]


def test_protocols_side_by_side(packed):
    packed("cvc-a", PAIRED, split="authors")
    packed("cvc-b", PAIRED[:2])
    packed("cvc-c", PAIRED[:1], protocol="nested", grouped=True)
    packed("cvc-d", PAIRED[:1], precision="bfloat16")
    packed("cvc-e", PAIRED[:1], data={"size": [96, 128]})
    plain, sharp, other, small = scores.protocols("jaccard", "cvc-*").to_dict("records")
    assert list(plain) == ["data set", "model", "printed", "as published", "as written", "nested, grouped"]
    assert list(plain.values())[1:] == ["unet", "70.02 ± 9.37", "65.00 ± 7.07 (2)", "60.00 (1)", "60.00 (1)"]
    assert list(sharp.values())[1:] == ["sharp_unet", "75.89 ± 2.06", "72.00 ± 2.83 (2)", "70.00 (1)", ""]
    assert other["data set"] == "cvc_clinicdb, 192x256, bfloat16"
    assert (small["data set"], small["as written"]) == ("cvc_clinicdb, 96x128", "60.00 (1)")
    assert scores.protocols("dice", "cvc-e")["as written"].item() == "70.00 (1)"
    with pytest.raises(ValueError, match=r"two sweeps have unet on cvc_clinicdb, 192x256, as written"):
        scores.protocols("jaccard", "cvc-*", "cvc-b")


def test_a_table_of_the_paper_with_a_column_a_protocol(packed):
    packed("cvc-a", PAIRED)
    packed("cvc-b", PAIRED[:2], split="authors", data={"size": [96, 128]})
    table = scores.paper("2", "jaccard", "cvc-*")
    assert list(table) == ["data set", "model", "printed", "as published", "as written", "nested, grouped"]
    assert list(table["model"]) == [
        *("unet", "sharp_unet", "ternausnet16", "sharp_ternausnet16", "unet_resnet50", "sharp_unet_resnet50")
    ]
    trained = ["cvc_clinicdb", "unet", "70.02 ± 9.37", "60.00 (1; 96x128)", "65.00 ± 7.07 (2; 192x256)", ""]
    assert table.iloc[0].tolist() == trained
    assert table.iloc[2].tolist() == ["cvc_clinicdb", "ternausnet16", "76.07 ± 3.69", "", "", ""]
    assert scores.paper("1", "dice", "cvc-*")["as written"].iloc[1] == "82.00 ± 2.83 (2; 192x256)"
    packed("cvc-c", PAIRED[:1], data={"size": [48, 64]})
    with pytest.raises(ValueError, match=r"two sweeps have unet on cvc_clinicdb, 48x64, as written"):
        scores.paper("2", "jaccard", "cvc-*")


def test_a_sharp_block_of_another_kernel_is_not_the_papers(packed):
    packed("scaled", [record("sharp", 0, 0.7, kernel=KERNEL | {"name": "scaled"})])
    assert scores.paper("1", "jaccard", "scaled").empty


def test_what_has_no_score_of_the_paper_gets_none(packed):
    other = {"kernel": KERNEL | {"name": "scaled"}, "model": "sharp_unet+scaled"}
    packed("kernel", [record("sharp", 0, 0.7, **other)])
    packed("semiseg", [record("plain", 0, 0.7, dataset="covid19_ct/semiseg")])
    packed("hu512", [record("plain", 0, 0.7, dataset="covid19_ct/hu512")])
    cited = [scores.runs(name)["paper: Jaccard"].item() for name in ("kernel", "semiseg", "hu512")]
    assert cited == ["", "", "85.24 ± 1.96"]
    packed("resnet", [record("sharp", 0, 0.7, network="unet_resnet50", model="sharp_unet_resnet50")])
    table = scores.protocols("jaccard", "resnet")
    assert (table["printed"].item(), table["the authors' outputs"].item()) == ("83.98 ± 0.27", "83.75 ± 0.27")


def test_a_folder_that_is_not_there_is_named(packed):
    with pytest.raises(ValueError, match="no packed sweep is called isbi-\\*"):
        scores.runs("isbi-*")


def sections(page: str) -> dict[str, tuple[str, str]]:
    """Return the tables and the prose of each section that holds tables of scores, by its heading."""
    found = {}
    for section in re.split(r"^(?=##+ )", re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE), flags=re.M):
        tables = re.findall(r"<!-- (?:runs|each|twins|settings|protocols|paper) .*?<!-- end -->", section, re.DOTALL)
        if tables:
            prose = "\n".join(line for line in section.splitlines() if not line.startswith("|"))
            found[section.partition("\n")[0]] = "\n".join(tables), re.sub(r"\]\([^)]*\)|<!--.*?-->", "", prose)
    return found


def strange(page: str) -> list[str]:
    """Return the decimal figures in the prose of such sections that their tables do not hold."""
    return [
        f"{heading}: {figure}"
        for heading, (tables, prose) in sections(page).items()
        for figure in re.findall(r"\d+\.\d+", prose)
        if not re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.])", tables)
    ]


def test_prose_states_figures_of_its_tables():
    page = PAGE.read_text(encoding="utf-8")
    assert len(sections(page)) >= 2
    assert not strange(page)


def test_a_figure_that_no_table_holds_is_found():
    page = "## A\n\n87.72 and 7.72, jax 0.9\n\n<!-- runs a -->\n\n| 87.72 ± 0.79 |\n\n<!-- end -->\n\n## B\n\n99.99\n"
    assert strange(page) == ["## A: 7.72", "## A: 0.9"]


def test_a_mask_of_only_background_scores_what_the_page_says(real_data, capsys):
    section = PAGE.read_text(encoding="utf-8").partition("## COVID-19 CT: what a mask of only background scores")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1].replace("DOWNLOADS", str(real_data / "manual"))
    exec(compile(code, "README.md", "exec"), {})
    jaccard, dice = capsys.readouterr().out.split()
    assert f"| background everywhere, 98 slices | {jaccard} | {dice} |" in section


def test_the_pixels_of_all_classes_together_are_those_of_the_records(real_data):
    folder = ROOT / "results/covid19-128-two-folds"
    table = pd.read_parquet(folder / "per_image.parquet")
    masks = {path.stem: path for path in (real_data / "manual/COVID-SemiSeg").rglob("MultiClass*/GT/*.png")}
    expected, foreground = [], []
    for model in ("unet", "sharp_unet"):
        for fold in (0, 1):
            run = table[table["run"] == f"{model}/repeat0-fold{fold}"]
            by_image = run.pivot(index="image_id", columns="class")
            pixels = by_image["truth"].sum(axis=1)
            right, background = by_image["intersection"].sum(axis=1), by_image["truth"]["background"]
            area = pd.Series({name: np.asarray(Image.open(masks[name])).size / 512**2 for name in by_image.index})
            cells = []
            for share, rest in ((1.0, 0.0), (area, 1 - area)):
                found = (share * part / pixels + rest for part in (right, background))
                cells += [f"{100 * np.mean(part / (2 - part)):.2f}" for part in found]  # 2 - part: two maps' union
            expected.append(f"| {model} | {fold} | {' | '.join(cells)} |")
            foreground.append(100 * by_image["jaccard"].mean()[["ground-glass", "consolidation"]])
    text = PAGE.read_text(encoding="utf-8")
    assert [line for line in expected if line not in text] == []
    lowest, highest = np.min(foreground, axis=0).round(), np.max(foreground, axis=0).round()
    said = [f"{low:.0f} to {high:.0f}" for low, high in zip(lowest, highest, strict=True)]
    assert f"Jaccard index of {said[0]}, consolidations of {said[1]}" in " ".join(text.split())
