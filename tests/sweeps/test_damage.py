"""Files of a sweep that are damaged, or of another run: every reader says so in one line, with file and remedy."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sharp_unet_jax.errors import AGAIN, FROM_A_COPY, InputError
from sharp_unet_jax.inference import loading
from sharp_unet_jax.report import paper_tables, records
from sharp_unet_jax.storage.run_files import digests
from sharp_unet_jax.sweeps import merge, pack
from tests.conftest import squares
from tests.edits import edit, edit_record, follow, seal, write_environment
from tests.tiny_sweep import files, make

pytestmark = pytest.mark.usefixtures("tiny_models")

RUN = "runs/unet/repeat0-fold0"
RECORD = f"{RUN}/record.json"
OTHER_FOLD, OTHER_MODEL = "runs/unet/repeat0-fold1", "runs/sharp_unet/repeat0-fold0"


def report(workdir):
    sweep = records.load(workdir)
    predictions = [sweep.predictions(run) for run in sweep.finished]
    return sweep.runs, sweep.per_image, sweep.epochs, sweep.environment, sweep.prepared, predictions


READERS = {
    "cv": lambda workdir: make(workdir, squares()),
    "merge": lambda workdir: merge.merge(workdir.parent / "merged", [workdir]),
    "pack": lambda workdir: pack.pack(workdir.parent / "packed", workdir),
    "report": report,
    "load": lambda workdir: loading.load_all(workdir, "unet"),
}
ALL = tuple(READERS)
OF_SCORES = ("cv", "merge", "pack", "report")
BUT_CV = ("merge", "pack", "report", "load")


@pytest.fixture
def done(with_tables, tmp_path):
    return Path(shutil.copytree(with_tables, tmp_path / "w"))


def copied(name, source):
    """Return a harm: the file `name` of the run is that of another run."""
    return lambda workdir: shutil.copy(workdir / source / name, workdir / RUN / name)


def replaced(name, old, new, times=1):
    """Return a harm: the first `old` in a file, or every one with -1, is `new`."""

    def harm(workdir):
        text = (workdir / name).read_text()
        assert old in text
        (workdir / name).write_text(text.replace(old, new, times))

    return harm


def written(name, text):
    """Return a harm: a file has another content."""
    return lambda workdir: (workdir / name).write_text(text)


def digit(field):
    """Return a harm: the first digit after the point of a number in the run's record is another."""

    def harm(workdir):
        text = (workdir / RECORD).read_text()
        at = text.index(f'"{field}": 0.') + len(f'"{field}": 0.')
        (workdir / RECORD).write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])

    return harm


def empty_folder(workdir):
    (workdir / RUN / "per_image.parquet").unlink()
    (workdir / RUN / "per_image.parquet").mkdir()


def one_fold_twice(workdir):
    folds = json.loads((workdir / "folds.json").read_text())
    folds["folds"][0]["test"] = folds["folds"][1]["test"]
    (workdir / "folds.json").write_text(json.dumps(folds))


def lost_image(workdir):
    folds = json.loads((workdir / "folds.json").read_text())
    del folds["folds"][0]["test"][0]
    (workdir / "folds.json").write_text(json.dumps(folds))


# By name: a harm, what is said, and by which readers.
OF_A_RUN = {
    "a record of another fold": (copied("record.json", OTHER_FOLD), "it is the record of unet/repeat0-fold1", ALL),
    "a record of another model": (copied("record.json", OTHER_MODEL), "it is the record of sharp_unet/", ALL),
    "a digit of a score": (digit("jaccard"), "it was changed after it was written", ALL),
    "a digit of a setting": (digit("learning_rate"), "it was changed after it was written", ALL),
    "a record that says little": (written(RECORD, '{"status":"finished"}'), "missing required field `run`", ALL),
    "a record that says nothing": (written(RECORD, "[]"), "Expected `object`, got `array`", ALL),
    "an impossible score": (lambda w: edit_record(w / RECORD, jaccard=3.09), r"`float` <= 1.0 - at `\$.jaccard`", ALL),
    "a folder instead of a table": (empty_folder, "it is no file", OF_SCORES),
    "a table of another fold": (copied("per_image.parquet", OTHER_FOLD), "not those recorded", OF_SCORES),
    "a table of another model": (copied("per_image.parquet", OTHER_MODEL), "not those recorded", OF_SCORES),
    "epochs of another run": (copied("metrics.jsonl", OTHER_FOLD), "not those recorded", ("merge", "pack", "report")),
    "predictions of another run": (copied("predictions.npz", OTHER_MODEL), "not those recorded", ("merge", "report")),
}
OF_THE_SWEEP = {
    "an id": (replaced("folds.json", '"003"', '"093"'), "is not in its group_of", ALL),
    "an id everywhere": (replaced("folds.json", '"003"', '"093"', -1), "folds.json is not what .*fold0 was", BUT_CV),
    "a key": (replaced("folds.json", '"test"', '"tesu"'), "missing required field `test`", ALL),
    "a fold": (one_fold_twice, "an image is tested twice in repeat 0", ALL),
    "a lost image": (lost_image, "the folds of repeat 0 do not test every image", ALL),
    "a group": (replaced("folds.json", '"g3"', '"g4"'), "folds.json is not what .*fold0 was trained with", BUT_CV),
    "the window": (replaced("folds.json", '"window": null', '"window": [0, 9]'), "folds.json is not what", BUT_CV),
    "a number": (replaced("folds.json", '"images": 12', '"images": 13'), "not as many images and groups", ALL),
    "no folds": (written("folds.json", "[]"), "folds.json is damaged .Expected `object`, got `array`", ALL),
    "a threshold": (replaced("config.json", '"threshold": 0.5', '"threshold": 0.6'), "it has threshold=0.6", BUT_CV),
    "a setting": (replaced("config.json", '"batch_size": 4', '"batch_size": 8'), "it has batch_size=8", BUT_CV),
    "more folds": (replaced("config.json", '"folds": 2', '"folds": 3'), "has no repeat 0, fold 2", BUT_CV),
    "more repeats": (replaced("config.json", '"repeats": 1', f'"repeats": {10**12}'), "has no repeat 1", BUT_CV),
    "a model": (replaced("config.json", '"unet"', '"../../unet"'), "config.json is damaged .*matching regex", ALL),
    "augment": (replaced("config.json", '"flip": 0.0', '"flip": []'), "config.json is damaged .*Expected `float`", ALL),
    "weights": (written("weights.json", "[]"), "weights.json is damaged", ("cv", "merge", "pack")),
    "versions": (written("environment.json", '{"commands": 1}'), "environment.json is damaged", ("pack", "report")),
    **{
        f"data.json {text}": (written("data.json", text), "data.json is damaged", ("merge", "report"))
        for text in ("[]", "null", "1", "{}", '{"prepared": 1}')
    },
}
REFUSED = [
    pytest.param(*case, reader, remedy, id=f"{name}, {reader}")
    for cases, remedy in ((OF_A_RUN, AGAIN), (OF_THE_SWEEP, ""))
    for name, (*case, readers) in cases.items()
    for reader in readers
]


@pytest.mark.parametrize(("harm", "message", "reader", "remedy"), REFUSED)
def test_damage_is_one_line_with_file_and_remedy_and_nothing_is_written(done, harm, message, reader, remedy):
    harm(done)
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*") if ".locks" not in path.parts}
    with pytest.raises(InputError, match=message) as error:
        READERS[reader](done)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(done))
    assert str(error.value).endswith(remedy or (FROM_A_COPY, "give the sweep's command again", "delete it"))
    assert [path.name for path in done.parent.iterdir()] == [done.name]
    if reader != "cv":
        assert before == {path: path.stat().st_mtime_ns for path in done.rglob("*") if ".locks" not in path.parts}


@pytest.mark.parametrize("name", ["an id everywhere", "the window", "a threshold", "a setting", "more folds"])
def test_cv_compares_a_sweep_to_its_own_command(done, name):
    OF_THE_SWEEP[name][0](done)
    with pytest.raises(InputError, match="holds a sweep with"):
        make(done, squares())


@pytest.mark.parametrize("name", ["a group", "more repeats", "data.json []"])
def test_cv_writes_again_what_its_command_says(done, name, tmp_path):
    before = files(done)
    OF_THE_SWEEP[name][0](done)
    assert make(done, dataclasses.replace(squares(), folder=tmp_path)) == []
    assert files(done) == before
    report(done)


@pytest.mark.parametrize("name", ["a record of another fold", "a digit of a score", "a folder instead of a table"])
def test_a_damaged_run_is_trained_again_once_its_folder_is_deleted(done, name):
    before = files(done)
    OF_A_RUN[name][0](done)
    shutil.rmtree(done / RUN)
    assert {event.run.name for event in make(done, squares())} == {"unet/repeat0-fold0"}
    assert files(done) == before
    report(done)


@pytest.mark.parametrize(("name", "other"), [("fold", "unet/repeat0-fold1"), ("model", "sharp_unet/repeat0-fold0")])
@pytest.mark.parametrize("reader", OF_SCORES)
def test_a_table_of_another_run_is_refused_whatever_its_digest(done, name, other, reader):
    OF_A_RUN[f"a table of another {name}"][0](done)
    follow(done)
    with pytest.raises(InputError, match=f"repeat0-fold0/.*it holds {other}, not unet/repeat0-fold0"):
        READERS[reader](done)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("image_id", "003", "its images are not the test images of unet/repeat0-fold0 in folds.json"),
        ("class", "background", "its classes are not those of folds.json"),
        ("intersection", 10**6, "its pixel counts contradict each other"),
        ("intersection", -1, "its pixel counts contradict each other"),
        ("union", 0, "its pixel counts contradict each other"),
        ("jaccard", 1.5, "its column jaccard is not from 0 to 1"),
        ("specificity", -0.1, "its column specificity is not from 0 to 1"),
    ],
)
def test_impossible_rows_are_refused(done, column, value, message):
    path = done / RUN / "per_image.parquet"
    pd.read_parquet(path).assign(**{column: value}).to_parquet(path)
    follow(done)
    with pytest.raises(InputError, match=message):
        report(done)


def test_predictions_of_another_shape_are_refused(done):
    path = done / RUN / "predictions.npz"
    np.savez_compressed(path, probabilities=np.zeros((6, 16, 24, 2), np.uint8))
    edit_record(done / RECORD, sha256=digests(path.parent))
    with pytest.raises(InputError, match=r"predictions.npz is damaged .it holds uint8 \(6, 16, 24, 2\), the run has"):
        records.load(done).predictions("unet/repeat0-fold0")


def test_predictions_that_a_run_did_not_leave_are_not_read(done):
    edit_record(done / RECORD, sha256={})
    with pytest.raises(InputError, match=r"predictions.npz is damaged .its bytes are not those recorded"):
        records.load(done).predictions("unet/repeat0-fold0")


PACKED = ("config.json", "folds.json", "runs.jsonl", "epochs.csv", "per_image.parquet", "environment.json")


@pytest.fixture
def packed(done):
    write_environment(done)
    pack.pack(done.parent / "packed", done)
    return done.parent / "packed"


@pytest.mark.parametrize("name", PACKED)
def test_a_byte_of_packed_results_is_found(packed, name):
    report(packed)
    content = (packed / name).read_bytes()
    (packed / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(InputError, match=rf"{name} is damaged \(its bytes are not those recorded\): (bring|delete) it"):
        report(packed)


@pytest.mark.parametrize(
    ("name", "harm", "message"),
    [
        ("runs.jsonl", lambda lines: [*lines, lines[0]], "it holds .*/repeat0-fold0 twice"),
        ("runs.jsonl", lambda lines: ["{"], "Input data was truncated"),
        ("runs.jsonl", lambda lines: [lines[0].replace('"fold": 0', '"fold": 1', 1)], "it was changed after"),
        ("epochs.csv", lambda lines: lines[:-1], "the epochs of .*/repeat0-fold1 are not 1 to 2"),
        ("epochs.csv", lambda lines: lines[:-2], "it lacks .*/repeat0-fold1"),
        ("epochs.csv", lambda lines: [lines[0].replace("epoch", "epich"), *lines[1:]], "are not 1 to 2"),
        ("epochs.csv", lambda lines: [*lines[:-1], lines[-1] + "x"], "could not convert string to float"),
    ],
)
def test_packed_results_are_tied_to_their_runs_whatever_their_digests(packed, name, harm, message):
    text = "".join(line + "\n" for line in harm((packed / name).read_text().splitlines()))
    (packed / name).write_text(text)
    seal(packed)
    with pytest.raises(InputError, match=rf"{name} is damaged .*{message}"):
        report(packed)


def test_packed_images_of_another_fold_are_refused(packed):
    table = pd.read_parquet(packed / "per_image.parquet")
    folds = {"unet/repeat0-fold0": "unet/repeat0-fold1", "unet/repeat0-fold1": "unet/repeat0-fold0"}
    table.assign(run=table["run"].replace(folds)).to_parquet(packed / "per_image.parquet")
    seal(packed)
    with pytest.raises(InputError, match=r"per_image.parquet is damaged .its images are not the test images of unet/"):
        report(packed)


def test_packed_scores_are_those_of_the_records(done):
    whole = (done / "scores.csv").read_text()
    (done / "scores.csv").write_text(whole.replace("0.", "0.9"))
    pack.pack(done.parent / "packed", done)
    assert (done.parent / "packed" / "scores.csv").read_text() == whole


def test_packed_records_keep_their_digests(packed, done):
    lines = map(json.loads, (packed / "runs.jsonl").read_text().splitlines())
    for record in lines:
        assert record == json.loads((done / "runs" / record["run"] / "record.json").read_text())


SETTINGS = ("seed", "loss", "batch_size", "epochs", "patience", "precision", "inner_validation", "protocol", "weights")


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("value", [None, "gone"])
def test_settings_of_a_sweep_that_are_lost_are_told(done, name, value):
    edit(done / "config.json", name) if value == "gone" else edit(done / "config.json", **{name: value})
    with pytest.raises(InputError, match=f"config.json is damaged .*{name}.*: {FROM_A_COPY}"):
        paper_tables.write(done)


def test_a_setting_that_records_hold_may_not_be_missing(done):
    edit_record(done / RECORD, config={"remat": True})
    edit(done / "config.json", "remat")
    with pytest.raises(InputError, match="remat=None, the record True"):
        report(done)


@pytest.mark.parametrize("models", [[], ["unet", "sharp_unet", "unet"]])
@pytest.mark.parametrize("reader", BUT_CV)
def test_models_that_no_sweep_has_are_refused(done, models, reader):
    edit(done / "config.json", models=models)
    with pytest.raises(InputError, match=r"config.json is damaged .*models"):
        READERS[reader](done)


@pytest.mark.parametrize("reader", ALL)
def test_a_record_of_another_protocol_is_refused(done, reader):
    edit_record(done / RECORD, protocol="nested")
    with pytest.raises(InputError, match="nested"):
        READERS[reader](done)


@pytest.mark.parametrize("reader", ALL)
def test_a_record_that_has_lost_its_own_digest_is_refused(done, reader):
    edit(done / RECORD, "record_sha256", jaccard=0.5)
    with pytest.raises(InputError, match=r"record.json is damaged .*record_sha256.*"):
        READERS[reader](done)
