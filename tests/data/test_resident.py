"""The resident arrays: a source's content in its order, a cache that is whole, and refused data sets."""

import numpy as np
import pytest

from sharp_unet_jax.data.resident import prepare
from sharp_unet_jax.errors import InputError

OPTIONS = {"name": "toy", "classes": ("background", "cell"), "size": (8, 12), "fit": "stretch"}


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
    for odd in ("[]", "null", '{"ids": 3, "groups": [], "sha256": ""}'):
        (cache / "names.json").write_text(odd)
        assert prepare(examples(), cache=cache, **OPTIONS).sha256 == whole
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


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


def test_empty_masks_are_refused_and_leave_no_cache(tmp_path):
    with pytest.raises(InputError, match="all 40 masks are empty"):
        prepare(examples(labels=1), cache=tmp_path / "toy", **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_grey_among_colour_is_refused():
    with pytest.raises(InputError, match="some images are grey"):
        prepare(examples(2) + examples(2, channels=1), **OPTIONS)


def test_an_empty_source_is_refused():
    with pytest.raises(InputError, match="empty"):
        prepare([], **OPTIONS)
