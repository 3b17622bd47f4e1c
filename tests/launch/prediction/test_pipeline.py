"""The pipeline, with a network that finds bright pixels: order, errors, how far it reads ahead, and how it stops."""

import re
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import Image

from datasets.formats import picture, search
from launch.prediction import pipeline
from launch.prediction.output import Output
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference.predict import Prediction

RUN = SimpleNamespace(
    dataset="squares",
    channels=1,
    slice_channels=1,
    window=None,
    clipped=None,
    classes=("background", "bright"),
    config=Config(threshold=0.5),
    rule=Rule(0.5),
)


@pytest.fixture(autouse=True)
def bright(monkeypatch):
    """Predict the brightness of a pixel as its probability."""

    def predict(members, images, *, spacings, devices):
        for image, _ in zip(images, spacings, strict=True):
            yield image.astype(np.float32) / 255

    monkeypatch.setattr(pipeline.predict, "predict", predict)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of nine pictures: 3.png has three bright pixels."""
    (tmp_path / "in").mkdir()
    for number in range(1, 10):
        pixels = np.zeros((4, 5), np.uint8)
        pixels.flat[:number] = 200
        Image.fromarray(pixels).save(tmp_path / f"in/{number}.png")
    return tmp_path / "in"


def outcomes(folder, output, *extras, run=RUN):
    inputs = search.find([str(folder)])
    return pipeline.predict_files([run], inputs, Output(output, extras), [], {})


@pytest.mark.parametrize(
    ("channels", "metadata", "masks"),
    [(1, {}, (3, 4, 5)), (5, {}, (3, 4, 5)), (3, {}, None), (3, {"axes": "CYX"}, (4, 5))],
)
def test_plain_pages_are_slices_unless_they_may_be_the_runs_channels(tmp_path, monkeypatch, channels, metadata, masks):
    monkeypatch.setattr(pipeline, "as_trained", lambda pictures, *_, **__: pictures)
    monkeypatch.setattr(pipeline.predict, "predict", lambda _, images, **__: (each[..., :1] / 255 for each in images))
    pages = np.stack([np.full((4, 5), 100 * number, np.uint8) for number in range(3)])
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", metadata=metadata)
    (tmp_path / "out").mkdir()
    run = SimpleNamespace(**{**vars(RUN), "channels": channels, "slice_channels": channels})
    ((_, outcome),) = outcomes(tmp_path / "a.tif", tmp_path / "out", run=run)
    if masks is None:
        assert "its 3 pages of 5x4 may be slices, or the channels of this run's images; save it as" in str(outcome)
    else:
        assert tifffile.imread(tmp_path / "out/masks/a.tif").shape == masks


def test_values_are_compared_at_the_size_of_the_training(tmp_path):
    """Three pixels of four are black, and none is when the image is shrunk, as it was in training."""
    spots = np.zeros((64, 64), np.uint16)
    spots[::2, ::2] = 3000
    tifffile.imwrite(tmp_path / "a.tif", spots)
    (one,) = search.find([str(tmp_path / "a.tif")])
    small = Config(data=Data(size=(16, 16)))
    run = SimpleNamespace(**{**vars(RUN), "window": (0.0, 3000.0), "clipped": (0.0, 0.0), "config": small})
    opened = pipeline._read(run, one)
    assert (opened.images == 0).mean() == 0.75
    assert "hundredth" not in opened.note
    assert "low end" not in opened.note


def test_inputs_end_in_their_order_with_all_their_files(folder, tmp_path):
    tifffile.imwrite(folder / "10.tif", np.full((3, 4, 5), 200, np.uint8), metadata={"axes": "ZYX"}, imagej=True)
    (tmp_path / "out").mkdir()
    ended = list(outcomes(folder, tmp_path / "out", "probabilities", "overlays"))
    pictures = [(one.name, written.pictures) for one, written in ended]
    assert pictures == [*((str(n), 1) for n in range(1, 10)), ("10", 3)]
    for number in range(1, 10):
        assert np.asarray(Image.open(tmp_path / f"out/masks/{number}.png")).sum() == number
        assert (tifffile.imread(tmp_path / f"out/probabilities/{number}.tif") > 0.5).sum() == number
        assert (tmp_path / f"out/overlays/{number}.png").exists()
    assert tifffile.imread(tmp_path / "out/masks/10.tif").shape == (3, 4, 5)
    rows = [line.split(",") for line in (tmp_path / "out/areas.csv").read_text().splitlines()]
    assert sorted((row[0], row[1], row[3]) for row in rows) == sorted(
        [(str(n), "0", str(n)) for n in range(1, 10)] + [("10", str(page), "20") for page in range(3)]
    )


def test_the_disagreement_of_several_runs_is_written(folder, tmp_path, monkeypatch):
    asked = []

    def predict(members, images, *, maps, spacings, devices):
        asked.append((len(members), maps))
        for image, _ in zip(images, spacings, strict=True):
            light = image.astype(np.float32) / 255
            yield Prediction(light, (float(light.max()) / 2,), light / 4 if maps else None)

    monkeypatch.setattr(pipeline.predict, "with_disagreement", predict)
    extras = ("disagreement", "disagreement_overlays")
    inputs = search.find([str(folder)])
    for maps in (False, True):
        output = Output(tmp_path / f"out{maps}", extras if maps else ())
        output.folder.mkdir()
        assert len(list(pipeline.predict_files([RUN, RUN], inputs, output, [], {}))) == 9
        cells = [line.split(",")[6] for line in (output.folder / "areas.csv").read_text().splitlines()]
        assert cells == [f"{100 / 255:.4f}"] * 9
        assert {path.name for path in output.folder.iterdir()} == {"areas.csv", "masks", *output.extras}
    assert asked == [(2, False), (2, True)]
    found = tifffile.imread(tmp_path / "outTrue/disagreement/3.tif")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.ravel(), [200 / 255 / 4] * 3 + [0] * 17)
    picture = np.asarray(Image.open(tmp_path / "outTrue/disagreement_overlays/3.png"))
    assert (np.ptp(picture, axis=-1) > 0).ravel().tolist() == [True] * 3 + [False] * 17


def test_masks_are_cleaned_in_threads_and_the_device_does_not_wait(folder, tmp_path):
    """With fewer than four bright pixels a mask becomes empty; where that needs too much memory one input fails."""
    threads = set()

    def clean(labels, spacing):
        threads.add(threading.current_thread())
        if labels.sum() == 9:
            raise MemoryError
        return labels * np.uint8(labels.sum() > 3)

    (tmp_path / "out").mkdir()
    run = SimpleNamespace(**{**vars(RUN), "rule": Rule(0.5, smallest=4), "clean": clean})
    ended = {one.name: outcome for one, outcome in outcomes(folder, tmp_path / "out", run=run)}
    assert threading.main_thread() not in threads
    assert isinstance(ended.pop("9"), MemoryError)
    assert {name: outcome.empty for name, outcome in ended.items()} == {f"{n}": n < 4 for n in range(1, 9)}
    sums = [np.asarray(Image.open(tmp_path / f"out/masks/{number}.png")).sum() for number in range(1, 9)]
    assert sums == [0, 0, 0, 4, 5, 6, 7, 8]


def test_a_file_that_cannot_be_read_is_an_outcome_in_its_place(folder, tmp_path):
    (folder / "3.png").write_text("not a picture")
    Image.fromarray(np.zeros((4, 5, 3), np.uint8) + np.arange(3, dtype=np.uint8)).save(folder / "5.png")
    (tmp_path / "out").mkdir()
    ended = {one.name: outcome for one, outcome in outcomes(folder, tmp_path / "out")}
    assert len(ended) == 9
    assert "cannot be read" in str(ended.pop("3"))
    assert "RGB" in str(ended.pop("5"))
    assert set(ended.values()) == {pipeline.Written(1, True, "", empty=False)}


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0, 5), (3, 4, 0), (0, 4, 5, 3)])
@pytest.mark.parametrize("name", ["1", "5", "9"])
def test_a_stack_without_pictures_is_an_outcome_in_its_place(folder, tmp_path, monkeypatch, shape, name):
    """The first, one between others, and the last: all others are done, each with its own mask."""
    read = picture.read
    empty = picture.Stack(np.zeros(shape, np.uint8))
    monkeypatch.setattr(picture, "read", lambda paths, how: empty if paths[0].stem == name else read(paths, how))
    (tmp_path / "out").mkdir()
    ended = {one.name: outcome for one, outcome in outcomes(folder, tmp_path / "out")}
    assert re.fullmatch(rf".*/{name}\.png: holds no pictures, .*; remove or repair it", str(ended.pop(name)))
    assert set(ended.values()) == {pipeline.Written(1, True, "", empty=False)}
    assert len(ended) == 8
    assert all(np.asarray(Image.open(tmp_path / f"out/masks/{one}.png")).sum() == int(one) for one in ended)


def test_memory_that_is_too_little_for_one_file(folder, tmp_path, monkeypatch):
    """Reading and writing stop only at that file; predicting names it and ends."""
    (tmp_path / "out").mkdir()

    def fail(error, name, at):
        def function(path, *rest):
            if name in str(path):
                raise error
            return at(path, *rest)

        return function

    with monkeypatch.context() as patch:
        patch.setattr(picture, "read", fail(MemoryError(), "3.png", picture.read))
        patch.setattr(picture, "write_masks", fail(MemoryError(), "4.png", picture.write_masks))
        ended = {one.name: outcome for one, outcome in outcomes(folder, tmp_path / "out")}
    assert {name for name, outcome in ended.items() if isinstance(outcome, MemoryError)} == {"3", "4"}
    for error, reason in ((MemoryError(), "too little memory"), (InputError("at 4x5: give a smaller tile"), "tile")):
        monkeypatch.setattr(pipeline, "_decide", fail(error, "2.png", pipeline._decide))
        with pytest.raises(InputError, match=rf"{folder}/2\.png: .*{reason}"):
            list(outcomes(folder, tmp_path / "out"))


def test_a_file_that_cannot_be_written_is_an_outcome(folder, tmp_path):
    (tmp_path / "out/masks/4.png").mkdir(parents=True)
    ended = {one.name: outcome for one, outcome in outcomes(folder, tmp_path / "out")}
    assert isinstance(ended.pop("4"), OSError)
    assert set(ended.values()) == {pipeline.Written(1, True, "", empty=False)}


@pytest.mark.parametrize(("threads", "files", "most"), [(2, 9, 2), (8, 3, 3), (8, 0, 1)])
def test_few_inputs_are_read_ahead(folder, tmp_path, monkeypatch, threads, files, most):
    """The images of a folder need not fit into memory, however slow the network is; of large files it is one."""
    monkeypatch.setattr(pipeline, "THREADS", threads)
    monkeypatch.setattr(pipeline, "AHEAD", files * max(path.stat().st_size for path in folder.iterdir()))
    begun, read = [], picture.read
    monkeypatch.setattr(picture, "read", lambda paths, how: begun.append(paths[0]) or read(paths, how))
    (tmp_path / "out").mkdir()
    ahead = []

    def predict(members, images, *, spacings, devices):
        for number, (image, _) in enumerate(zip(images, spacings, strict=True), 1):
            ahead.append(len(begun) - number)
            yield image.astype(np.float32) / 255

    monkeypatch.setattr(pipeline.predict, "predict", predict)
    assert len(list(outcomes(folder, tmp_path / "out"))) == 9
    assert max(ahead) <= most


def test_all_threads_read_small_inputs_ahead_and_nothing_that_is_taken_stays(folder):
    inputs, begun, taken = search.find([str(folder)]), [], []

    def read(one):
        begun.append(one)
        return np.zeros(1)

    with ThreadPoolExecutor(1) as pool:
        for _, future in pipeline._ahead(pool, read, inputs):
            taken.append(weakref.ref(future.result()))
            pool.submit(lambda: None).result()
            assert len(begun) == 9
            assert [one() is None for one in taken] == [True] * (len(taken) - 1) + [False]  # `future` has the last


def test_a_file_that_is_gone_is_an_outcome(folder, tmp_path):
    inputs = search.find([str(folder)])
    (folder / "5.png").unlink()
    (tmp_path / "out").mkdir()
    ended = dict(pipeline.predict_files([RUN], inputs, Output(tmp_path / "out"), [], {}))
    assert {one.name for one, outcome in ended.items() if isinstance(outcome, Exception)} == {"5"}


def test_closed_early_it_ends_the_files_that_are_being_written(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "THREADS", 1)
    begun, write = threading.Event(), picture.write_masks

    def slow(path, *arguments):
        begun.set()
        threading.Event().wait(0.05)
        write(path, *arguments)

    monkeypatch.setattr(picture, "write_masks", slow)
    (tmp_path / "out").mkdir()
    running = outcomes(folder, tmp_path / "out")
    next(running)
    assert begun.wait(20)
    running.close()
    written = sorted(path.name for path in (tmp_path / "out/masks").iterdir())
    assert 1 <= len(written) < 9
    assert all(not name.startswith(".") for name in written)


def test_the_pixels_of_an_input_are_let_go(folder, tmp_path, monkeypatch):
    """Until its mask is written, a volume as it was read would take several times the memory of what is predicted."""
    write, kept = picture.write_masks, []

    def watched(path, labels, stack, classes):
        kept.append(stack.pictures)
        write(path, labels, stack, classes)

    monkeypatch.setattr(picture, "write_masks", watched)
    (tmp_path / "out").mkdir()
    list(outcomes(folder / "1.png", tmp_path / "out"))
    assert [(array.shape, array.dtype, array.base) for array in kept] == [((0, 4, 5, 1), np.uint8, None)]
