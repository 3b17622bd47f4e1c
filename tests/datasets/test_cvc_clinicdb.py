"""CVC-ClinicDB in the layouts in which it circulates."""

import csv

import numpy as np
import pytest

from datasets import files
from datasets.cvc_clinicdb.cvc_clinicdb_dataset_builder import sequences
from tests.datasets import writers

FRAMES = (1, 2, 10, 25, 26)
LAYOUTS = [(f"{top}{kind}", suffix) for top in ("", "CVC-ClinicDB/") for kind, suffix in
           (("", ".tif"), ("TIF/", ".tif"), ("PNG/", ".png"))]  # fmt: skip


def check(built):
    assert built.classes == ["background", "polyp"]
    assert built.ids == ["001", "002", "010", "025", "026"]
    assert built.groups == ["sequence-01"] * 4 + ["sequence-02"]
    for frame, image, mask in zip(FRAMES, built.images, built.masks, strict=True):
        np.testing.assert_array_equal(image, writers.picture(frame))
        expected = writers.blob(frame) // 255
        np.testing.assert_array_equal(mask[2:, :, 0], expected[2:])  # greys are painted above
        assert set(np.unique(mask)) == {0, 1}


@pytest.mark.parametrize(("prefix", "suffix"), LAYOUTS)
def test_folders(prefix, suffix, tmp_path, build_and_read):
    check(build_and_read("cvc_clinicdb", manual_dir=writers.cvc_clinicdb(prefix, suffix).write(tmp_path / "manual")))


@pytest.mark.parametrize("name", ["archive.zip", "CVC-ClinicDB.zip"])
@pytest.mark.parametrize(("prefix", "suffix"), LAYOUTS)
def test_zip(name, prefix, suffix, tmp_path, build_and_read):
    archive = writers.cvc_clinicdb(prefix, suffix).zip(tmp_path / "manual" / name)
    check(build_and_read("cvc_clinicdb", manual_dir=archive.parent))


def test_the_mirror_with_both_kinds_and_its_tables(tmp_path, build_and_read):
    both = writers.cvc_clinicdb("PNG/", ".png").files | writers.cvc_clinicdb("TIF/", ".tif").files
    layout = writers.Layout(both | {"class_dict.csv": b"name,r,g,b", "metadata.csv": b"frame_id"}, "", "")
    check(build_and_read("cvc_clinicdb", manual_dir=layout.zip(tmp_path / "manual" / "archive.zip").parent))


def test_greys_in_masks(tmp_path, build_and_read):
    built = build_and_read("cvc_clinicdb", manual_dir=writers.cvc_clinicdb("", ".png").write(tmp_path / "manual"))
    for mask in built.masks:
        assert not mask[0, :4].any()
        assert mask[1, :4].all()


def test_sequences_cover_all_frames():
    by_frame = sequences()
    assert list(by_frame) == [str(frame) for frame in range(1, 613)]
    assert sorted(set(by_frame.values())) == [f"sequence-{number:02d}" for number in range(1, 30)]


def test_sequences_are_the_published_ones(real_data):
    table = real_data.parent / "paper" / "cvc_clinicdb_sequences.csv"
    if not table.exists():
        pytest.skip(f"no {table}")
    by_frame = sequences()
    for row in csv.DictReader(table.read_text().splitlines()):
        frames = range(int(row["first_frame"]), int(row["last_frame"]) + 1)
        assert {by_frame[str(frame)] for frame in frames} == {f"sequence-{int(row['sequence']):02d}"}


def test_official_tifs_are_the_mirrors_pngs(real_data, build_and_read):
    built = build_and_read("cvc_clinicdb", manual_dir=real_data / "samples" / "cvc_tif")
    assert [int(id_) for id_ in built.ids] == [1, 25, 26, 80, 150, 200, 300, 400, 450, 500, 600, 612]
    mirror = real_data / "manual" / "CVC-ClinicDB" / "PNG"
    for id_, image, mask in zip(built.ids, built.images, built.masks, strict=True):
        np.testing.assert_array_equal(image, files.read_image(mirror / "Original" / f"{int(id_)}.png", "RGB"))
        painted = files.read_image(mirror / "Ground Truth" / f"{int(id_)}.png")
        np.testing.assert_array_equal(mask[..., 0], painted[..., 0] > 127)


def test_all_612_real_frames_are_found_in_order(real_data):
    """Only their names: decoding all frames takes 10 s."""
    tree = files.Tree(real_data / "manual")
    folders = (tree.below(f"CVC-ClinicDB/PNG/{kind}") for kind in ("Original", "Ground Truth"))
    found = [name for name, _, _ in files.pairs(*folders)]
    assert found == list(sequences())
