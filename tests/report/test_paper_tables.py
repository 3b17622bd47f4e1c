"""The paper's tables, significance and tables.md, for sweeps with known scores."""

import numpy as np
import pytest
import scipy.stats

from sharp_unet_jax.report import paper_tables, published, records, significance, statistics, summary, table
from tests.edits import edit_config
from tests.report import sweep_writer
from tests.report.sweep_writer import facts, scores


@pytest.fixture
def cvc(tmp_path):
    """Three models, 5 folds and 2 repeats, sharp_unet far better, on a data set of the paper."""
    made = {"unet": scores(0.70, seed=1), "sharp_unet": scores(0.76, seed=2), "wide_unet": scores(0.70, seed=3)}
    return sweep_writer.write(tmp_path / "cvc", made, dataset="cvc_clinicdb")


def by_name(sweeps):
    return {each.name: each for each in paper_tables.tables(sweeps)}


def test_every_table_in_the_order_of_the_report(cvc):
    assert [*by_name([cvc])] == ["table1", "table3", "overlaps", "twins", "pairs", "images", "optimism"]


def test_cells_are_mean_and_deviation_over_runs_beside_the_papers(cvc):
    row = paper_tables.paper([cvc])[0].frame.set_index("model").loc["unet"]
    runs = 100 * scores(0.70, seed=1).mean(axis=2)
    assert row["Jaccard (%)"] == f"{runs.mean():.2f} ± {runs.std(ddof=1):.2f}"
    assert row["paper: Jaccard"] == "70.02 ± 9.37"
    assert row["Jaccard minus paper"] == f"{runs.mean() - 70.02:+.2f}"
    assert row["Dice minus paper"] == f"{float(row['Dice (%)'].split()[0]) - 78.75:+.2f}"
    interval = statistics.corrected_t(runs, 1 / 4)
    assert row["95 % interval"] == f"{interval.low:.2f} to {interval.high:.2f}"
    assert row["runs"] == 10


def test_bold_is_what_beats_every_other_by_the_corrected_test_after_holm(cvc):
    for each, count in zip(paper_tables.paper([cvc]), (1, 3), strict=True):
        cells = each.frame.set_index("model")["Jaccard (%)"]
        assert [model for model, cell in cells.items() if "**" in cell] == ["sharp_unet"]
        assert not each.frame["Dice (%)"].str.contains("**", regex=False).any()
        assert "corrected resampled t-test (Nadeau & Bengio 2003; Bouckaert & Frank 2004) at 5%" in each.note
        assert f"adjusted by Holm for all comparisons of this table ({count})" in each.note


def test_higher_without_the_test_is_not_bold(tmp_path):
    """Two models that beat the third but not each other; a difference that only the uncorrected t-test would find."""
    made = {"unet": scores(0.70, seed=1), "sharp_unet": scores(0.76, seed=2), "wide_unet": scores(0.76, seed=3)}
    sweep = sweep_writer.write(tmp_path / "tie", made)
    (_, table3) = paper_tables.paper([sweep])
    assert not table3.frame["Jaccard (%)"].str.contains("**", regex=False).any()
    rng = np.random.default_rng(0)
    small = {"unet": scores(0.70, seed=1), "sharp_unet": scores(0.70, seed=1) + rng.normal(0.012, 0.02, (2, 5, 1))}
    sweep = sweep_writer.write(tmp_path / "small", small)
    delta = sweep.runs.pivot(index=["repeat", "fold"], columns="model", values="jaccard").diff(axis=1).iloc[:, 1]
    assert statistics.corrected_t(delta, 0).p < 0.05
    assert "**" not in paper_tables.paper([sweep])[0].frame["Jaccard (%)"].sum()
    assert "**" not in significance.tables([sweep])[0].frame["sharp minus plain"].sum()


def test_several_data_sets_share_a_table_and_their_differences_are_named(cvc, tmp_path):
    made = {"unet": scores(0.5, shape=(1, 3, 2)), "sharp_unet": scores(0.5, shape=(1, 3, 2))}
    other = sweep_writer.write(tmp_path / "isbi", made, dataset="isbi2012", classes=3)
    each = paper_tables.paper([cvc, other])[0]
    assert each.frame["data set"].tolist() == ["cvc_clinicdb"] * 2 + ["isbi2012"] * 2
    shared, of_cvc, of_isbi = each.provenance.splitlines()
    for words in ("Protocol: paper (stopping", "192x256 pixels (stretch)", "nor prediction scores 1", "seed 0"):
        assert words in shared
    assert of_cvc.startswith("cvc_clinicdb: 5 random folds x 2 repeats. n = 20 images (20 groups). Scores: per image")
    assert "Threshold 0.5" in of_cvc
    assert "the 3 classes, background included" in of_isbi
    assert "most probable class" in of_isbi


def test_the_papers_own_tables_are_told_apart(tmp_path):
    """The paper's Table 1 has Dice 91.23 for U-Net on ISBI-2012, and Table 3 has 91.13."""
    names = ["unet", "sharp_unet", "unet_resnet50", "sharp_unet_resnet50", "wide_unet"]
    made = dict.fromkeys(names, scores(0.8, shape=(1, 3, 3)))
    of = {
        name: by_name(
            [sweep_writer.write(tmp_path / name, {model: made[model] for model in models}, dataset="isbi2012")]
        )
        for name, models in {"one": ["unet", "wide_unet"], "several": [*made][:4]}.items()
    }
    assert of["one"]["table1"].frame.loc[0, "paper: Dice"] == "91.23 ± 2.11"
    assert of["one"]["table3"].frame.loc[0, "paper: Dice"] == "91.13 ± 2.11"
    made = of["several"]
    assert made["table2"].frame["model"].tolist() == ["unet", "sharp_unet", "unet_resnet50", "sharp_unet_resnet50"]
    assert "(2)" in made["table2"].note  # comparisons: within each pair, not across encoders
    assert "(4)" in made["pairs"].note  # across encoders
    assert made["pairs"].frame["p (Holm)"].tolist() == ["1.000"] * 4


def test_outputs_of_the_authors_stand_beside_the_print_that_differs(cvc, tmp_path):
    made = {"unet_resnet50": scores(0.80), "sharp_unet_resnet50": scores(0.84)}
    sweep = sweep_writer.write(tmp_path / "resnet", made, dataset="cvc_clinicdb")
    for each in paper_tables.paper([sweep]):
        row = each.frame.set_index("model").loc["sharp_unet_resnet50"]
        assert (row["paper: Jaccard"], row["authors' outputs: Jaccard"]) == ("83.98 ± 0.27", "83.75 ± 0.27")
        assert published.NOTE in each.note
        assert "authors' outputs: Dice" not in each.frame
    assert not any("outputs" in column for each in paper_tables.paper([cvc]) for column in each.frame)


@pytest.mark.parametrize("data", [{"fit": "crop", "scale": 1.0}, {"fit": "stretch", "score": "native"}])
def test_scores_that_are_not_of_resized_images_are_told_from_the_papers(tmp_path, data):
    sweep = sweep_writer.write(tmp_path, {"unet": scores(0.7)}, dataset="cvc_clinicdb")
    said = "The paper's scores are of resized images, those of cvc_clinicdb at the files' own resolution."
    assert said not in paper_tables.paper([sweep])[0].note
    edit_config(tmp_path, data=data)
    assert said in paper_tables.paper([records.load(tmp_path)])[0].note


def test_data_sets_that_are_not_the_papers_have_no_columns_of_the_paper(tmp_path):
    sweep = sweep_writer.write(tmp_path, {"unet": scores(0.7), "sharp_unet": scores(0.6)})
    assert [*paper_tables.paper([sweep])[0].frame] == ["model", "runs", "Jaccard (%)", "95 % interval", "Dice (%)"]


def test_other_pairs_say_what_each_test_says(cvc):
    row = by_name([cvc])["pairs"].frame.set_index("models").loc["sharp_unet minus wide_unet"]
    delta = 100 * (scores(0.76, seed=2) - scores(0.70, seed=3))
    test = statistics.corrected_t(delta.mean(axis=2), 1 / 4)
    assert row["difference"] == f"**{test.mean:+.2f}**"
    assert row["95 % interval"] == f"{test.low:.2f} to {test.high:.2f}"
    assert row["t"] == f"{test.t:.2f}"
    assert row["higher in"] == "10 of 10"


def test_differences_by_image_are_adjusted_too(tmp_path):
    names = ["unet", "wide_unet", "ternausnet16"]
    made = {model: scores(0.7, seed=seed, shape=(1, 2, 6)) for seed, model in enumerate(names)}
    frame = significance.tables([sweep_writer.write(tmp_path, made)])[1].frame
    pairs = [("unet", "wide_unet"), ("unet", "ternausnet16"), ("wide_unet", "ternausnet16")]
    delta = [100 * (made[a] - made[b]).ravel() for a, b in pairs]
    assert frame["models"].tolist() == [f"{a} minus {b}" for a, b in pairs]
    assert frame["difference"].tolist() == [f"{each.mean():+.2f}" for each in delta]
    assert frame["images (groups)"].tolist() == ["12 (12)"] * 3
    p = [scipy.stats.wilcoxon(each).pvalue for each in delta]
    assert frame["Wilcoxon p"].tolist() == [f"{each:.3f}" for each in p]
    assert (
        frame["p (Holm)"].tolist() == [f"{min(1, each):.3f}" for each in statistics.holm(p)] != [f"{x:.3f}" for x in p]
    )


def test_tables_warn_of_random_folds_that_split_groups(tmp_path):
    made = {"unet": scores(0.7, shape=(1, 2, 4)), "sharp_unet": scores(0.6, shape=(1, 2, 4))}
    split = sweep_writer.write(tmp_path / "split", made, group_size=2)
    for each in (significance.tables([split])[0], by_name([split])["table1"]):
        assert "split groups" in each.note
    for name, arguments in (("kept", {"group_size": 2, "grouped": True}), ("single", {})):
        sweep = sweep_writer.write(tmp_path / name, made, **arguments)
        assert "split groups" not in significance.tables([sweep])[0].note
        assert "split groups" not in by_name([sweep])["table1"].note


def test_one_model_and_one_run(tmp_path):
    sweep = sweep_writer.write(tmp_path, {"unet": scores(0.7, shape=(1, 2, 3))}, missing=("unet/repeat0-fold1",))
    made = by_name([sweep])
    assert [*made] == ["table1", "overlaps", "optimism"]
    assert made["table1"].frame.loc[0, "Jaccard (%)"] == f"{100 * scores(0.7, shape=(1, 2, 3))[0, 0].mean():.2f}"
    assert made["table1"].frame.loc[0, "95 % interval"] == "-"
    assert "**1 of 2 runs are finished: the numbers are not those of the whole sweep.**" in made["table1"].note
    assert "Bold" not in made["table1"].note
    other = sweep_writer.write(tmp_path / "other", {"unet": scores(0.7, shape=(1, 2, 3))}, dataset="other")
    assert "**mine: 1 of 2 runs are finished:" in paper_tables.paper([sweep, other])[0].note


def test_two_runs_have_no_interval_and_no_test(tmp_path):
    made = {"unet": scores(0.7, 0, shape=(1, 2, 3)), "sharp_unet": scores(0.8, 0, shape=(1, 2, 3))}
    sweep = sweep_writer.write(tmp_path, made)
    table1, row = paper_tables.paper([sweep])[0].frame, significance.tables([sweep])[0].frame.iloc[0]
    assert table1["95 % interval"].tolist() == ["-", "-"]
    assert (row["sharp minus plain"], row["95 % interval"], row["p (Holm)"]) == ("+10.00", "-", "-")
    said = summary.paragraph({"mine": sweep})
    assert "+10.00 points, over 2 test folds: too few to tell." in said
    assert "2 random folds x 1 repeat, protocol paper" in said


def test_a_model_without_any_score(tmp_path):
    sweep = sweep_writer.write(
        tmp_path, {"unet": np.full((1, 2, 3), np.nan), "sharp_unet": scores(0.7, shape=(1, 2, 3))}
    )
    made = by_name([sweep])
    assert made["table1"].frame.loc[0, "Jaccard (%)"] == "-"
    assert made["twins"].frame.loc[0, "sharp minus plain"] == "-"
    for each in made.values():
        assert "nan" not in table.markdown(each) + table.csv(each)


def test_a_sweep_without_finished_runs(tmp_path):
    sweep = sweep_writer.write(tmp_path, {"unet": scores(0.7, shape=(1, 1, 3))}, failed=("unet/repeat0-fold0",))
    assert paper_tables.tables([sweep]) == []
    paper_tables.write(tmp_path)
    text = (tmp_path / "tables.md").read_text()
    assert "\n\nProtocol: paper" in text
    assert text.startswith(
        "# mine\n\n**0 of 1 runs are finished, 1 failed: the numbers are not those of the whole sweep.**"
    )


def test_tables_md_says_each_thing_once(cvc):
    text = paper_tables.markdown(cvc.workdir)
    assert text.startswith("# cvc_clinicdb\n\n**cvc_clinicdb**: 20 images, 5 random folds x 2 repeats, protocol paper.")
    assert text.count("Protocol: paper") == 1
    assert text.count("Intervals over runs") == 1
    assert text.count("\n## ") == 7
    assert "are finished" not in text
    assert "| unet | 10 | " in text
    for each in paper_tables.tables([cvc]):
        assert f"## {each.title}\n\n{table.paragraphs(each.says)}\n\n| " in text


def test_encoders_of_table_2_come_from_the_records(tmp_path):
    known = {
        "a": facts("mine", "resnet50"),
        "b": facts("mine", "resnet50", "laplacian"),
        "ternausnet16": facts("unet", "unet"),
        "wide_unet": facts("wide_unet", "wide_unet"),
    }
    made = dict.fromkeys(known, scores(0.8, shape=(1, 3, 3)))
    tables = by_name([sweep_writer.write(tmp_path / "w", made, models=known, dataset="cvc_clinicdb")])
    assert tables["table2"].frame.set_index("model")["paper: Jaccard"]["ternausnet16"] == "70.02 ± 9.37"
    assert tables["table2"].frame["model"].tolist() == ["a", "b", "ternausnet16"]
    assert tables["twins"].frame["network"].tolist() == ["a"]
    for models, expected in ((("ternausnet16", "wide_unet"), ["table1", "table3"]), (("a", "wide_unet"), ["table3"])):
        some = {name: made[name] for name in models}
        assert [*by_name([sweep_writer.write(tmp_path / models[0], some, models=known)])][: len(expected)] == expected


def test_no_table_has_only_rows_of_another(tmp_path):
    """So no difference is bold in one table and, adjusted for more comparisons, not in the next."""
    models = dict.fromkeys(["unet", "sharp_unet", "unet_resnet50", "sharp_unet_resnet50"], scores(0.8, shape=(1, 3, 3)))
    several = sweep_writer.write(tmp_path / "several", models)
    assert [each.name for each in paper_tables.paper([several])] == ["table2"]
    models["wide_unet"] = models["unet"]
    assert [each.name for each in paper_tables.paper([sweep_writer.write(tmp_path / "more", models)])] == [
        "table2",
        "table3",
    ]
    one = sweep_writer.write(tmp_path / "one", {"unet": scores(0.7)}, dataset="other")
    assert [each.name for each in paper_tables.paper([several, one])] == ["table1", "table2"]


def test_another_kernel_than_the_papers_has_no_figure_of_the_paper(tmp_path):
    models = {name: scores(0.7) for name in ("unet", "sharp_unet+scaled")}
    tables = by_name([sweep_writer.write(tmp_path, models, dataset="cvc_clinicdb")])
    assert tables["table1"].frame["model"].tolist() == ["unet"]
    assert tables["table3"].frame["paper: Jaccard"].tolist() == ["70.02 ± 9.37", "-"]


def test_a_title_names_the_paper_only_where_every_row_is_in_it(tmp_path):
    ours = {name: scores(0.7, seed=seed) for seed, name in enumerate(("unet", "sharp_unet", "sharp_unet+scaled"))}
    for dataset, expected in (("mine", [False] * 2), ("cvc_clinicdb", [True, False])):
        made = paper_tables.paper([sweep_writer.write(tmp_path / dataset, ours, dataset=dataset)])
        assert [
            f"(the paper's Table {number})" in each.title for number, each in zip((1, 3), made, strict=True)
        ] == expected
        assert ["paper's Table" in table.latex(each) for each in made] == expected
