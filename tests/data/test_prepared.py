"""Prepared arrays: a source's content in its order, a cache that is whole, and refused data sets."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sharp_unet_jax.config import Data
from sharp_unet_jax.data import digest, prepared
from sharp_unet_jax.data.prepared import prepare
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.metrics import IGNORE

OPTIONS = {"name": "toy", "classes": ("background", "cell"), "data": Data(size=(8, 12))}


def examples(n=40, labels=2, channels=3):
    rng = np.random.default_rng(0)
    return [
        {
            "image": rng.integers(0, 256, (8, 12, channels), np.uint8),
            "mask": rng.integers(0, labels, (8, 12, 1), np.uint8),
            "id": f"{i:02}".encode(),
            "group": f"g{i // 4}",
        }
        for i in range(n)
    ]


class Counting(list):
    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


def test_arrays_hold_the_source_in_its_order():
    source = examples()
    dataset = prepare(source, **OPTIONS)
    np.testing.assert_array_equal(dataset.images, np.stack([example["image"] for example in source]))
    np.testing.assert_array_equal(dataset.masks, np.stack([example["mask"][..., 0] for example in source]))
    assert dataset.ids == tuple(f"{i:02}" for i in range(40))
    assert dataset.groups[4:8] == ("g1",) * 4
    assert dataset.num_classes == 1


def test_every_pixel_is_hashed_once_a_start(tmp_path, monkeypatch):
    """A data set may be of gigabytes."""
    of_pairs, calls = digest.of_pairs, []
    monkeypatch.setattr(digest, "of_pairs", lambda *args: calls.append(args) or of_pairs(*args))
    for _ in range(2):  # prepared, and read back
        calls.clear()
        dataset = prepare(examples(), cache=tmp_path / "toy", window=(0.0, 9.0), **OPTIONS)
        assert len(dataset.sha256) == 64
        assert len(calls) == 1
        assert (dataset.window, dataset.folder) == ((0.0, 9.0), tmp_path / "toy")


def test_several_classes_have_a_logit_each():
    assert prepare(examples(labels=3), **OPTIONS | {"classes": ("a", "b", "c")}).num_classes == 3


def test_the_cache_saves_reading_and_changes_nothing(tmp_path):
    source, cache = Counting(examples()), tmp_path / "deep" / "toy"
    first = prepare(source, cache=cache, **OPTIONS)
    assert source.reads == 40
    second = prepare(source, cache=cache, **OPTIONS)
    assert source.reads == 40
    assert first.sha256 == second.sha256
    assert [path.name for path in cache.parent.iterdir()] == ["toy"]


def test_other_code_prepares_again(tmp_path, monkeypatch):
    source = Counting(examples())
    prepare(source, cache=tmp_path / "toy", **OPTIONS)
    monkeypatch.setattr("sharp_unet_jax.data.prepared._code", lambda: "the next version")
    prepare(source, cache=tmp_path / "toy", **OPTIONS)
    assert source.reads == 80


def test_a_damaged_cache_is_written_again(tmp_path):
    cache = tmp_path / "toy"
    whole = prepare(examples(), cache=cache, **OPTIONS).sha256
    for name in ("images.npy", "masks.npy", "names.json"):
        for damaged in (
            b"",
            b"PK\x03\x04 nonsense",
            (cache / name).read_bytes()[:300],
            (cache / name).read_bytes()[:-9] + b"9" * 9,
        ):
            (cache / name).write_bytes(damaged)
            assert prepare(examples(), cache=cache, **OPTIONS).sha256 == whole
        (cache / name).unlink()
        os.mkfifo(cache / name)  # opening it would never end
        assert prepare(examples(), cache=cache, **OPTIONS).sha256 == whole
    for odd in ("[]", "null", '{"ids": 3, "groups": [], "sha256": ""}', '{"ids": [], "groups": [], "sha256": ""}'):
        (cache / "names.json").write_text(odd)
        assert prepare(examples(), cache=cache, **OPTIONS).sha256 == whole
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


@pytest.mark.parametrize("name", ["images.npy", "masks.npy"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"|u1", b"|i1"),
        (b"|u1", b"|b1"),
        (b"|u1", b"|S1"),
        (b"8, 12", b"12, 8"),
        (b"(40,", b"(39,"),
        (b"(40,", b"(99,"),
        (b"(40, 8", b"(8, 40"),
        (b"False", b"True "),
        (b"descr", b"\xffescr"),
        (b"{'d", b"{{{"),
        (b"\x01\x00", b"\x03\x00"),
    ],
)
def test_a_header_that_is_wrong_changes_nothing(name, before, after, tmp_path):
    """The digest is of the bytes behind it."""
    cache = tmp_path / "toy"
    whole = prepare(examples(), cache=cache, **OPTIONS)
    content = (cache / name).read_bytes()
    (cache / name).write_bytes(content.replace(before, after, 1))
    again = prepare(examples(), cache=cache, **OPTIONS)
    np.testing.assert_array_equal(again.images, whole.images)
    np.testing.assert_array_equal(again.masks, whole.masks)
    assert again.images.dtype == again.masks.dtype == np.uint8


def test_a_cache_of_another_size_is_not_taken(tmp_path):
    prepare(examples(), cache=tmp_path / "toy", **OPTIONS)
    assert prepare(examples(), cache=tmp_path / "toy", **OPTIONS | {"data": Data(size=(4, 6))}).masks.shape == (
        40,
        4,
        6,
    )


KILLED = """
import os, signal, sys
from pathlib import Path
from sharp_unet_jax.data.prepared import prepare
from tests.data.test_prepared import OPTIONS, examples

class Killing(list):
    def __getitem__(self, index):
        if index == 39:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)

prepare(Killing(examples()), cache=Path(sys.argv[1]) if sys.argv[1:] else None, **OPTIONS)
"""


def test_what_a_killed_process_left_is_cleared(tmp_path, monkeypatch):
    root = Path(__file__).parents[2]
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    for arguments in ([str(tmp_path / "caches/toy")], []):
        command = [sys.executable, "-c", KILLED, *arguments]
        assert subprocess.run(command, cwd=root, check=False).returncode == -signal.SIGKILL
    assert not list((tmp_path / "temporary").iterdir())
    (left,) = (tmp_path / "caches").iterdir()
    assert (left / "images.npy").exists()
    prepare(examples(), cache=tmp_path / "caches/toy", **OPTIONS)
    assert [path.name for path in (tmp_path / "caches").iterdir()] == ["toy"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("writer", ["_write", "write_json"])
def test_a_full_disk_is_named(writer, cached, code, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(code, os.strerror(code))

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(prepared, writer, full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    if (writer, cached) == ("write_json", False):
        prepare(examples(), **OPTIONS)
    else:
        where = tmp_path / ("caches" if cached else "temporary")
        with pytest.raises(InputError, match=rf"{where}: {os.strerror(code).lower()}"):
            prepare(examples(), cache=tmp_path / "caches/toy" if cached else None, **OPTIONS)
    assert not [path for path in tmp_path.rglob("*") if path.name not in ("caches", "temporary")]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "a file").touch()
    data = prepare(examples(), cache=tmp_path / "a file" / "toy", **OPTIONS)
    assert data.folder is None
    assert data.sha256 == prepare(examples(), **OPTIONS).sha256


@pytest.mark.parametrize("key", ["image", "mask", "id", "group"])
def test_the_digest_sees_every_part(key):
    source = examples()
    before = prepare(source, **OPTIONS).sha256
    changed = source[3][key]
    source[3][key] = 1 - changed if key == "mask" else 255 - changed if key == "image" else "zz"
    assert prepare(source, **OPTIONS).sha256 != before


def test_labels_beyond_the_classes_are_refused():
    with pytest.raises(InputError, match="toy: the mask of '00' holds label 2, but there are 2 classes"):
        prepare(examples(labels=3), **OPTIONS)


def test_a_mask_of_ignored_pixels_is_refused():
    source = examples()
    source[3]["mask"] = np.full_like(source[3]["mask"], IGNORE)
    with pytest.raises(InputError, match="toy: at 8x12 all pixels of '03' are ignored: remove the image or raise the"):
        prepare(source, **OPTIONS)


def test_empty_masks_are_refused_and_leave_no_cache(tmp_path):
    with pytest.raises(InputError, match="all 40 masks are empty"):
        prepare(examples(labels=1), cache=tmp_path / "toy", **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_grey_among_colour_is_refused():
    with pytest.raises(InputError, match="some images are grey and some are RGB"):
        prepare(examples(2) + examples(2, channels=1), **OPTIONS)


def test_an_empty_source_is_refused():
    with pytest.raises(InputError, match="empty"):
        prepare([], **OPTIONS)


SHAPES = (8, 12), (5, 3), (1, 1), (30, 7)
CROP = Data(size=(16, 16), fit="crop")
CROPS = OPTIONS | {"data": CROP}


def of_own_sizes(channels=3):
    rng = np.random.default_rng(0)
    return [
        {
            "image": rng.integers(0, 256, (*SHAPES[i % 4], channels), np.uint8),
            "mask": np.full((*SHAPES[i % 4], 1), i % 2, np.uint8),
            "id": f"{i:02}",
            "group": f"g{i}",
            "spacing": np.array([0.5, 2.0], np.float32),
        }
        for i in range(8)
    ]


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_for_crops_images_stay_as_they_are(tmp_path, cached, channels):
    source, cache = of_own_sizes(channels), tmp_path / "toy" if cached else None
    for dataset in (prepare(source, cache=cache, **CROPS), prepare(source if not cached else [], cache=cache, **CROPS)):
        assert dataset.channels == channels
        np.testing.assert_array_equal(dataset.sizes, [SHAPES[i % 4] for i in range(8)])
        for example, image, mask in zip(source, dataset.images, dataset.masks, strict=True):
            np.testing.assert_array_equal(image, example["image"])
            np.testing.assert_array_equal(mask, example["mask"][..., 0])
        assert dataset.gigabytes == sum(h * w for h, w in SHAPES) * 2 * (channels + 1) / 1e9


def test_a_scale_changes_the_sizes_of_all_images_and_never_to_nothing():
    dataset = prepare(of_own_sizes(), **OPTIONS | {"data": dataclasses.replace(CROP, scale=0.4, score="native")})
    np.testing.assert_array_equal(dataset.sizes[:4], [(3, 5), (2, 1), (1, 1), (12, 3)])
    np.testing.assert_array_equal(dataset.masks.sizes, dataset.sizes)
    np.testing.assert_array_equal(dataset.native.sizes[:4], SHAPES)


def test_a_spacing_brings_images_to_it_by_the_size_of_their_pixels():
    """Rows lie half a millimetre apart, columns two."""
    dataset = prepare(of_own_sizes(), **OPTIONS | {"data": dataclasses.replace(CROP, spacing=1.0)})
    np.testing.assert_array_equal(dataset.sizes[:4], [(4, 24), (2, 6), (1, 2), (15, 14)])


@pytest.mark.parametrize("spacing", [None, (0, 1), (1, float("nan")), (float("inf"), 1), (-1, 1)])
def test_an_unknown_spacing_is_refused(spacing):
    source = of_own_sizes()
    if spacing is None:
        del source[5]["spacing"]
    else:
        source[5]["spacing"] = np.array(spacing, np.float32)
    with pytest.raises(InputError, match=r"05: data.spacing=1 mm is asked for, .*: set data.spacing=0, or give files"):
        prepare(source, **OPTIONS | {"data": dataclasses.replace(CROP, spacing=1.0)})


def test_a_spacing_of_another_unit_is_refused():
    source = of_own_sizes()
    source[5]["spacing"] = np.array([500, 2000], np.float32)  # micrometres
    with pytest.raises(InputError, match=r"05: data.spacing=1 mm is more than 64 times .* 500 x 2000 mm: set another"):
        prepare(source, **OPTIONS | {"data": dataclasses.replace(CROP, spacing=1.0)})


VARIANTS = {
    "stretch": Data(size=(8, 12)),
    "letterbox": Data(size=(8, 12), fit="letterbox"),
    "another size": Data(size=(16, 12)),
    "native": Data(size=(8, 12), score="native"),
    "antialiased": Data(size=(8, 12), mask_filter="antialiased"),
    "crop": CROP,
    "crop, scale, native": dataclasses.replace(CROP, scale=2.0, score="native"),
    "crop, scale": dataclasses.replace(CROP, scale=2.0),
    "crop, spacing": dataclasses.replace(CROP, spacing=1.0),
    "crop, scale, another filter": dataclasses.replace(CROP, scale=2.0, mask_filter="any"),
}


@pytest.mark.parametrize("first", VARIANTS)
def test_a_cache_of_other_settings_is_not_taken(tmp_path, first):
    for second in VARIANTS:
        counting = Counting(of_own_sizes())
        prepare(of_own_sizes(), cache=tmp_path / "toy", **OPTIONS | {"data": VARIANTS[first]})
        found = prepare(counting, cache=tmp_path / "toy", **OPTIONS | {"data": VARIANTS[second]})
        assert found.sha256 == prepare(of_own_sizes(), **OPTIONS | {"data": VARIANTS[second]}).sha256
        assert bool(counting.reads) == (first != second)


def test_a_cache_for_crops_serves_crops_of_any_size(tmp_path):
    prepare(of_own_sizes(), cache=tmp_path / "toy", **CROPS)
    again = prepare([], cache=tmp_path / "toy", **OPTIONS | {"data": dataclasses.replace(CROP, size=(64, 32), crops=9)})
    assert len(again.ids) == 8


@pytest.mark.parametrize("change", [{"score": "native"}, {"mask_filter": "any"}])
def test_what_resizes_nothing_changes_no_array(tmp_path, change):
    """Masks of the files are those that are trained on: they are kept once."""
    prepare(of_own_sizes(), cache=tmp_path / "toy", **CROPS)
    again = prepare([], cache=tmp_path / "toy", **OPTIONS | {"data": dataclasses.replace(CROP, **change)})
    assert again.native is None


def test_a_damaged_cache_of_crops_is_written_again(tmp_path):
    cache, options = tmp_path / "toy", OPTIONS | {"data": dataclasses.replace(CROP, scale=0.5, score="native")}
    whole = prepare(of_own_sizes(), cache=cache, **options)
    for path in sorted(cache.iterdir()):
        content = path.read_bytes()
        for damaged in (b"", content[:-9], content[:-9] + b"9" * 9, content[:90], None):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            again = prepare(of_own_sizes(), cache=cache, **options)
            assert again.sha256 == whole.sha256
            np.testing.assert_array_equal(again.sizes, whole.sizes)
            assert path.read_bytes() == content
    assert len(list(cache.iterdir())) == 7


def test_the_digest_sees_sizes_and_masks_of_the_files():
    def digest(**changes):
        return prepare(source, **OPTIONS | {"data": dataclasses.replace(CROP, **changes)}).sha256

    source = of_own_sizes()
    before, native = digest(scale=0.5), digest(scale=0.5, score="native")
    assert before != native
    source[0]["image"], source[0]["mask"] = (source[0][part].reshape(12, 8, -1) for part in ("image", "mask"))
    assert digest(scale=0.5) != before


@pytest.mark.parametrize("context", [1, 2])
def test_neighbouring_slices_are_channels_of_images_for_crops(context):
    source = of_own_sizes(channels=1)
    for number, example in enumerate(source):
        example["volume"] = f"v{number % 4}"
    source.sort(key=lambda example: example["volume"])
    dataset = prepare(source, **OPTIONS | {"data": dataclasses.replace(CROP, context=context)})
    assert dataset.channels == 2 * context + 1
    np.testing.assert_array_equal(dataset.images[0][..., context], source[0]["image"][..., 0])
    np.testing.assert_array_equal(dataset.images[0][..., -1], source[1]["image"][..., 0])
