"""Built sets on the disk: listed with their sizes, and deleted."""

import pytest

from datasets import kept
from datasets.build import BUILDERS
from datasets.errors import DataError


@pytest.fixture
def top(tmp_path):
    def write(name, number):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(number))

    for name in ("isbi2012/1.0.0", "folder/lungs-6f/2.0.0"):
        write(f"{name}/dataset_info.json", 1000)
        write(f"{name}/train.array_record", 199_000)
    write("isbi2012/1.0.0/prepared-64x64-stretch/images.npy", 3_000_000_000 // 1000)
    write("isbi2012/1.0.0/prepared-64x64-crop/images.npy", 10)
    write("downloads/extracted/other.zip", 5)
    write("isbi2012/1.0.0.tmp/half", 5)
    return tmp_path


def test_sets_are_listed_with_what_they_hold(top):
    assert [one[2:] for one in kept.sets(top, BUILDERS)] == [
        (200_000, {}),
        (200_000, {"64x64-crop": 10, "64x64-stretch": 3_000_000}),
    ]
    first, second, last = kept.describe(top, BUILDERS).splitlines()
    assert first.split() == ["folder/lungs-6f", "0.2", "MB"]
    assert second.split(maxsplit=1) == [
        "isbi2012",
        "    0.2 MB; prepared 64x64-crop, 0.0 MB; prepared 64x64-stretch, 3.0 MB".strip(),
    ]
    assert last == f"2 built sets, 3.4 MB, in {top}"


def test_one_set_is_deleted_and_the_others_stay(top):
    assert kept.clear(top, "isbi2012", BUILDERS) == "deleted: isbi2012 (3.2 MB)"
    assert not (top / "isbi2012/1.0.0").exists()
    assert [one.name for one in kept.sets(top, BUILDERS)] == ["folder/lungs-6f"]
    assert (top / "downloads/extracted/other.zip").exists()


def test_all_sets_are_deleted(top):
    assert kept.clear(top, "all", BUILDERS) == "deleted: folder/lungs-6f, isbi2012 (3.4 MB)"
    assert kept.describe(top, BUILDERS) == f"no built sets in {top}"
    assert kept.clear(top, "all", BUILDERS) == "deleted: nothing (0.0 MB)"


def test_sets_of_other_programs_are_neither_listed_nor_deleted(top):
    other = top / "mnist/3.0.1/dataset_info.json"
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    assert "mnist" not in kept.describe(top, BUILDERS)
    kept.clear(top, "all", BUILDERS)
    assert other.exists()
    with pytest.raises(DataError, match="no built set 'mnist'"):
        kept.clear(top, "mnist", BUILDERS)


def test_a_set_that_is_not_there_is_answered_with_the_nearest(top, tmp_path):
    with pytest.raises(DataError, match=r"^no built set 'isbi2013' in .*; did you mean 'isbi2012'\?$"):
        kept.clear(top, "isbi2013", BUILDERS)
    with pytest.raises(DataError, match=r"^no built set 'a' in .*none$"):
        kept.clear(tmp_path / "none", "a", BUILDERS)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0.0 MB"), (9_940_000, "9.9 MB"), (12_300_000, "12 MB"), (3_140_000_000, "3.1 GB")]
)
def test_bytes_are_written_as_one_reads_them(number, text):
    assert kept.megabytes(number) == text
