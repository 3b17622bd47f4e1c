"""Every convention against scikit-learn, or against its definition pixel by pixel."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.report import conventions
from tests.conftest import squares
from tests.report import synthetic


def noisy(run, masks, seed=0):
    """Return probabilities of the foreground that are often right."""
    rng = np.random.default_rng([seed, run.fold, run.repeat])
    return np.clip(rng.normal(70 + 90 * (masks == 1), 60), 0, 255).astype(np.uint8)[..., None]


def three_classes(run, masks):
    rng = np.random.default_rng([run.fold, run.repeat])
    raw = rng.random((*masks.shape, 3)) + 0.5 * (masks[..., None] == np.arange(3))
    return np.round(255 * raw / raw.sum(-1, keepdims=True)).astype(np.uint8)


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    """Two folds with padded columns and one mask without foreground, in which nothing is predicted."""
    dataset = squares(n=11)
    dataset.masks[3] = 0
    dataset.masks[:, :, :2] = IGNORE

    def predict(run, masks):
        return np.where((masks == 1).any(axis=(1, 2))[:, None, None, None], noisy(run, masks), 20).astype(np.uint8)

    return synthetic.sweep(tmp_path_factory.mktemp("binary"), dataset, predict)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    return synthetic.sweep(tmp_path_factory.mktemp("several"), squares(n=9, classes=3), three_classes)


def cells(sweep, metric):
    """Return `unet`'s mean and ± by convention, as fractions."""
    frame = conventions.table(sweep).frame
    own = frame[frame["model"] == "unet"].set_index("convention")[f"{metric.capitalize()} (%)"]
    pairs = own[own != "-"].str.split(" ± ", expand=True).astype(float)
    return pairs[0] / 100, pairs[1] / 100


def folds(sweep):
    """Yield masks (n, H, W), predicted classes (n, H, W) and probabilities of each run."""
    _, masks, row = sweep.prepared
    for name in sweep.finished:
        truth = masks[[row[image] for image in sweep.test_ids(name)]]
        probabilities = sweep.predictions(name) / 255
        decided = probabilities[..., 0] > 0.5 if probabilities.shape[-1] == 1 else probabilities.argmax(-1)
        yield truth, decided.astype(int), probabilities


def reference(score, truth, decided, **options):
    scored = truth != IGNORE
    return score(truth[scored], decided[scored], **options)


def specificity_score(truth, predicted, *, labels=None, **options):
    """Return the sensitivity of each label's complement; the foreground's without `labels`."""
    found = [
        recall_score(truth != label, predicted != label, **(options | {"average": "binary"})) for label in labels or [1]
    ]
    return np.mean(found)


SCORES = {
    "jaccard": jaccard_score,
    "dice": f1_score,
    "sensitivity": recall_score,
    "precision": precision_score,
    "specificity": specificity_score,
}


@pytest.mark.parametrize(("metric", "score"), SCORES.items())
def test_two_classes_are_scikit_learns(binary, metric, score):
    mean, std = cells(binary, metric)

    def over(batch, **options):
        """Return mean and deviation over runs of the mean over images, each image scored with its batch."""
        runs = []
        for truth, decided, _ in folds(binary):
            size = batch or len(truth)
            parts = [slice(start, start + size) for start in range(0, len(truth), size)]
            scores = [reference(score, truth[part], decided[part], **options) for part in parts]
            runs.append(np.average(scores, weights=[len(truth[part]) for part in parts]))
        return pytest.approx(np.mean(runs), abs=1e-4), pytest.approx(np.std(runs, ddof=1), abs=1e-4)

    one, zero = {"zero_division": 1.0}, {"zero_division": 0.0}
    assert (mean["per image (as reported)"], std["per image (as reported)"]) == over(1, **one)
    assert mean["per image; in neither truth nor prediction scores 0"] == over(1, **zero)[0]
    assert mean["per batch of 4 images, as one image"] == over(4, **one)[0]
    assert mean["pooled: all pixels of a fold, as one image"] == over(None, **one)[0]
    if metric != "specificity":
        micro = "per image, pixels of all classes summed, background included (micro)"
        assert mean[micro] == over(1, average="micro", labels=[0, 1])[0]
    both = over(1, average="macro", labels=[0, 1], **one)[0]
    assert mean["per image, background averaged in"] == both


def test_the_reported_row_is_what_the_records_say(binary, several):
    for sweep in (binary, several):
        for metric in SCORES:
            reported = cells(sweep, metric)[0]["per image (as reported)"]
            assert reported == pytest.approx(sweep.runs[metric].mean(), abs=1e-4)


def test_classes_come_before_images_in_the_mean_where_some_are_left_out(tmp_path):
    dataset = squares(n=9, classes=3)
    dataset.masks[:4][dataset.masks[:4] == 2] = 0  # in neither truth nor prediction

    def predict(run, masks):
        masks = np.where(np.arange(masks.shape[2]) % (run.fold + 3), masks, 0)
        return np.uint8(255 * (masks[..., None] == np.arange(3)))

    sweep = synthetic.sweep(tmp_path, dataset, predict, empty="nan")
    assert cells(sweep, "dice")[0].iloc[0] == pytest.approx(sweep.runs["dice"].mean(), abs=1e-4)


def test_every_convention_is_there_once(binary, several):
    rules = [f"per image; in neither truth nor prediction {rule}" for rule in ("scores 0", "is left out")]
    for sweep, background, number in ((binary, "averaged in", 11), (several, "left out", 7)):
        table = conventions.table(sweep)
        expected = [
            "per image (as reported)",
            *(rules if sweep is binary else []),  # no class of `several` is in neither truth nor prediction
            "per image, smoothed: 1 added to numerator and denominator",
            f"per image, background {background}",
            "per image, pixels of all classes summed, background included (micro)",
            "per batch of 4 images, as one image",
            "pooled: all pixels of a fold, as one image",
        ]
        rows = list(table.frame["convention"])
        assert rows[: len(expected)] == expected
        assert len(rows) == number
        assert (f"Left out, because they change no number here: {'; '.join(rules)}." in table.note) == (number == 7)


def test_each_models_rows_of_a_convention_are_together(tmp_path):
    models = ["unet", "sharp_unet"]
    frame = conventions.table(synthetic.sweep(tmp_path, squares(), noisy, models=models)).frame
    assert list(frame["model"]) == models * frame["convention"].nunique()
    assert list(frame["convention"][::2]) == list(frame["convention"][1::2])


def test_overlaps_that_count_one_kind_of_error_have_no_best_threshold(binary):
    best = {metric: any("threshold that is best" in row for row in cells(binary, metric)[0].index) for metric in SCORES}
    assert best == {name: name in ("jaccard", "dice") for name in SCORES}


def test_an_image_left_out_does_not_count(binary):
    mean, _ = cells(binary, "jaccard")
    runs = []
    for truth, decided, _ in folds(binary):
        scores = [reference(jaccard_score, t, d) for t, d in zip(truth, decided, strict=True) if (t == 1).any()]
        runs.append(np.mean(scores))
    assert mean["per image; in neither truth nor prediction is left out"] == pytest.approx(np.mean(runs), abs=1e-4)


def test_smoothing_adds_one_above_and_below(binary):
    jaccard, dice = (cells(binary, metric)[0] for metric in ("jaccard", "dice"))
    expected = []
    for truth, decided, _ in folds(binary):
        a, b = truth == 1, (decided == 1) & (truth != IGNORE)
        both, total = (a & b).sum((1, 2)), a.sum((1, 2)) + b.sum((1, 2))
        expected.append(((((both + 1) / (total - both + 1)).mean()), ((2 * both + 1) / (total + 1)).mean()))
    row = "per image, smoothed: 1 added to numerator and denominator"
    assert (jaccard[row], dice[row]) == pytest.approx(np.mean(expected, axis=0), abs=1e-4)


def test_probabilities_and_thresholds_by_their_definitions(binary):
    mean, _ = cells(binary, "dice")
    soft, average, best = [], [], []
    for truth, _, probabilities in folds(binary):
        p, valid = probabilities[..., 0], truth != IGNORE
        t = truth == 1
        with np.errstate(invalid="ignore"):
            soft.append(np.mean(2 * (p * t).sum((1, 2)) / ((p * valid).sum((1, 2)) + t.sum((1, 2)))))
        at = []
        for threshold in range(256):
            decided = (np.round(255 * p) >= threshold) & valid
            total = (t.sum((1, 2)) + decided.sum((1, 2))).astype(float)
            at.append(np.mean([2 * b / n if n else 1 for b, n in zip((t & decided).sum((1, 2)), total, strict=True)]))
        average.append(np.mean(at))
        best.append(np.max(at))
    assert mean["per image, probabilities without a decision"] == pytest.approx(np.mean(soft), abs=1e-4)
    assert mean["per image, mean over 256 thresholds"] == pytest.approx(np.mean(average), abs=1e-4)
    assert mean["per image, the threshold that is best on the test fold"] == pytest.approx(np.mean(best), abs=1e-4)


def test_more_classes_are_averaged_with_or_without_background(several):
    mean, _ = cells(several, "jaccard")
    assert not any("threshold" in row for row in mean.index)
    pooled, foreground, soft = [], [], []
    for truth, decided, p in folds(several):
        options = {"average": "macro", "zero_division": 1.0}
        pooled.append(reference(jaccard_score, truth, decided, labels=[0, 1, 2], **options))
        pairs = list(zip(truth, decided, strict=True))
        foreground.append(np.mean([reference(jaccard_score, *pair, labels=[1, 2], **options) for pair in pairs]))
        t = truth[..., None] == np.arange(3)
        both = (p * t).sum((1, 2))
        soft.append(np.mean(both / (p.sum((1, 2)) + t.sum((1, 2)) - both)))
    assert mean["pooled: all pixels of a fold, as one image"] == pytest.approx(np.mean(pooled), abs=1e-4)
    assert mean["per image, background left out"] == pytest.approx(np.mean(foreground), abs=1e-4)
    assert mean["per image, probabilities without a decision"] == pytest.approx(np.mean(soft), abs=1e-4)


def test_without_all_predictions_only_counts_are_rescored(tmp_path):
    sweep = synthetic.sweep(tmp_path, squares(), noisy)
    first, second = sweep.finished
    (sweep.folder(first) / "predictions.npz").unlink()
    rows = list(conventions.table(sweep).frame["convention"])
    assert rows[0] == "per image (as reported)"
    assert not any("threshold" in row or "probabilities" in row for row in rows)
    (sweep.folder(second) / "predictions.npz").unlink()
    assert conventions.draw(sweep) == []


def test_no_finished_run_gives_no_table(tmp_path):
    assert conventions.table(synthetic.sweep(tmp_path, squares())) is None


def test_the_figure_has_each_models_curve_and_the_threshold_in_use(tmp_path):
    sweep = synthetic.sweep(tmp_path, squares(), noisy, models=("unet", "sharp_unet"), threshold=0.3)
    axes = conventions.draw(sweep)[0].figure.axes[0]
    curves = {line.get_label(): line for line in axes.lines}
    for model in ("unet", "sharp_unet"):
        x, y = curves[model].get_data()
        reported = sweep.runs.query("model == @model")["jaccard"].mean()
        assert np.interp(0.3, x, y) == pytest.approx(100 * reported, abs=1e-3)
    assert any(list(line.get_xdata()) == [0.3, 0.3] for line in axes.lines)


def test_more_than_two_classes_have_no_curve(several):
    assert conventions.draw(several) == []


def test_the_first_row_follows_the_sweeps_rule(tmp_path):
    dataset = squares(n=6)
    dataset.masks[:3] = 0
    sweep = synthetic.sweep(
        tmp_path, dataset, lambda run, masks: 200 * (masks == 1)[..., None].astype(np.uint8), empty="zero"
    )
    assert json.loads((tmp_path / "config.json").read_text())["empty"] == "zero"
    mean, _ = cells(sweep, "dice")
    assert mean["per image (as reported)"] == pytest.approx(0.5)
    assert mean["per image; in neither truth nor prediction scores 1"] == 1
    assert mean["per image; in neither truth nor prediction is left out"] == 1
