"""Codes of mask files: greys, palette indices and colours."""

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from datasets.errors import DataError
from datasets.folder import images, masks

INDICES = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
RED, GREEN = 0x1FF0000, 0x100FF00


@pytest.fixture
def coloured(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes INDICES with a palette."""

    def write(name: str, *colours: int) -> Path:
        image = Image.fromarray(INDICES)
        image.putpalette(bytes(colours))
        image.save(tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.gif"])
def test_a_palette_is_read_as_indices_or_as_colours(name: str, coloured: Callable[..., Path]) -> None:
    path = coloured(name, 0, 0, 0, 255, 0, 0, 0, 255, 0)
    summary = masks.summarise([path], indices=True)
    assert (summary.values.tolist(), summary.counts.tolist(), summary.size) == ([0, 1, 2], [2, 2, 2], (3, 2))
    assert dict(summary.palette) == {0: masks.BLACK, 1: RED, 2: GREEN}
    assert masks.summarise([path], indices=False).values.tolist() == [masks.COLOUR, GREEN, RED]


def test_greys_and_colours_have_codes_of_their_own() -> None:
    codes = np.array([0, 128, 255, RED, masks.TRANSPARENT])
    assert masks.as_colours(codes).tolist() == [masks.BLACK, 0x1808080, masks.WHITE, RED, masks.TRANSPARENT]


@pytest.mark.parametrize(
    ("pixels", "codes"),
    [
        (np.array([[False, True]]), [0, 255]),
        (np.array([[[7, 7, 7], [9, 9, 9]]], np.uint8), [7, 9]),
        (np.array([[[255, 0, 0], [9, 9, 9]]], np.uint8), [RED, 0x1090909]),
        (np.array([[[7, 7, 7, 50], [9, 9, 9, 50]]], np.uint8), [7, 9]),
        (np.array([[[7, 7, 7, 0], [9, 9, 9, 0]]], np.uint8), [7, 9]),
        (np.array([[[7, 7, 7, 0], [9, 9, 9, 255]]], np.uint8), [masks.TRANSPARENT, 9]),
        (np.array([[[7, 3, 7, 100], [9, 9, 9, 200]]], np.uint8), [0x1070307, 0x1090909]),
        (np.array([[[7, 3, 7, 100], [9, 9, 9, 255]]], np.uint8), [masks.TRANSPARENT, 9]),
        (np.array([[[200, 0, 0, 0], [200, 0, 0, 0]]], np.uint8), [masks.TRANSPARENT] * 2),
    ],
)
def test_codes_of_bits_greys_and_colours(pixels: np.ndarray, codes: list[int], tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = masks.read([tmp_path / "a.png"], indices=True)
    assert (found.tolist(), found.dtype) == ([[codes]], np.int32)


def test_fractions_are_no_codes(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "a.tif", np.full((2, 3), 0.5, np.float32))
    with pytest.raises(DataError, match=r"a\.tif: holds 0\.5 to 0\.5; a mask holds whole numbers"):
        masks.read([tmp_path / "a.tif"], indices=True)


def test_transparency_of_a_colour(tmp_path: Path) -> None:
    """In a PNG, a grey, a colour or some indices of a palette may be transparent."""
    grey = Image.fromarray(np.array([[7, 9]], np.uint8))
    colour = Image.fromarray(np.array([[[7, 8, 9], [200, 0, 0]]], np.uint8))
    indices = Image.fromarray(np.array([[0, 1]], np.uint8))
    indices.putpalette([5, 5, 5, 200, 0, 0])
    codes = []
    for picture, transparent in ((grey, 7), (colour, (7, 8, 9)), (indices, b"\x00\xff")):
        picture.save(tmp_path / "a.png", transparency=transparent)
        codes.append(masks.read([tmp_path / "a.png"], indices=False).ravel().tolist())
    assert codes == [[masks.TRANSPARENT, 9], [masks.TRANSPARENT, RED - 0x370000], [masks.TRANSPARENT, RED - 0x370000]]
    summary = masks.summarise([tmp_path / "a.png"], indices=True)
    assert dict(summary.palette) == {0: masks.TRANSPARENT, 1: RED - 0x370000}
    assert summary.values.tolist() == [0, 1]


@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"photometric": "minisblack"}, {"ome": True}])
def test_pages_of_a_tif_are_slices(options: dict[str, bool], tmp_path: Path, save: Callable[..., None]) -> None:
    pages = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    save(tmp_path / "a.tif", pages, metadata={"axes": "ZYX"}, **{"photometric": "minisblack", **options})
    np.testing.assert_array_equal(masks.read([tmp_path / "a.tif"], indices=True), pages)
    assert masks.summarise([tmp_path / "a.tif"], indices=True).slices == 3


def test_an_ome_tif_of_several_files_is_the_page_in_it(tmp_path: Path) -> None:
    uuid = "urn:uuid:00000000-0000-0000-0000-00000000000"
    planes = "".join(
        f'<TiffData FirstT="{n}" IFD="0" PlaneCount="1"><UUID FileName="{n}.ome.tif">{uuid}{n}</UUID></TiffData>'
        for n in range(2)
    )
    for n in range(2):
        xml = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}{n}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="3" SizeY="2" SizeC="1" SizeZ="1" '
            f'SizeT="2"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(tmp_path / f"{n}.ome.tif", INDICES + n, description=xml.encode(), metadata=None)
    for n in range(2):
        assert masks.read([tmp_path / f"{n}.ome.tif"], indices=True).tolist() == [(INDICES + n).tolist()]


@pytest.mark.parametrize("planar", [False, True])
def test_colours_and_alpha_of_a_tif(planar: bool, tmp_path: Path, save: Callable[..., None]) -> None:
    pixels = np.array([[[255, 0, 0, 255], [0, 255, 0, 255], [9, 9, 9, 0]]] * 2, np.uint8)
    how = {"photometric": "rgb", "extrasamples": ["unassalpha"], "planarconfig": "separate" if planar else "contig"}
    save(tmp_path / "a.tif", np.moveaxis(pixels, -1, 0).copy() if planar else pixels, **how)
    assert masks.read([tmp_path / "a.tif"], indices=True).tolist() == [[[RED, GREEN, masks.TRANSPARENT]] * 2]


def test_the_numbers_of_a_tif_are_taken_as_stored(tmp_path: Path, save: Callable[..., None]) -> None:
    """Neither a palette, which ImageJ adds for display, nor "0 is white" changes them."""
    save(tmp_path / "a.tif", INDICES, imagej=True, colormap=np.full((3, 256), 9, np.uint16))
    save(tmp_path / "b.tif", INDICES, photometric="miniswhite")
    for name, inverted in (("a.tif", False), ("b.tif", True)):
        assert masks.read([tmp_path / name], indices=False).tolist() == [INDICES.tolist()]
        assert masks.summarise([tmp_path / name], indices=False).inverted == inverted


def test_a_palette_of_one_bit_in_a_tif(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "a.tif", INDICES > 0, photometric="minisblack", extratags=[(320, "H", 6, [65535, 0] * 3, True)])
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
        tif.pages.first.tags["PhotometricInterpretation"].overwrite(3)
    summary = masks.summarise([tmp_path / "a.tif"], indices=True)
    assert dict(summary.palette) == {0: masks.WHITE, 1: masks.BLACK}
    assert (summary.values.tolist(), summary.counts.tolist()) == ([0, 1], [2, 4])
    shown = (INDICES == 0) * 255
    assert masks.read([tmp_path / "a.tif"], indices=False)[0].tolist() == shown.tolist()
    np.testing.assert_array_equal(images.stored([tmp_path / "a.tif"])[0, ..., 0], shown)


def test_pages_of_a_tif_have_one_palette(tmp_path: Path) -> None:
    first, second = np.zeros((2, 3, 256), np.uint16)
    second[:, 0] = 65535
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for colours in (first, second):
            tif.write(INDICES, photometric="palette", colormap=colours, metadata=None)
    with pytest.raises(DataError, match=r"a\.tif: its pages have palettes of their own; save it as RGB"):
        masks.summarise([tmp_path / "a.tif"], indices=True)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_is_no_mask(suffix: str, tmp_path: Path) -> None:
    first, second = (Image.fromarray(INDICES * number) for number in (20, 120))
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=[second])
    with pytest.raises(DataError, match=rf"a\{suffix}: holds 2 pictures, as an animation does"):
        masks.read([tmp_path / f"a{suffix}"], indices=True)


def test_loss_is_known_by_the_content(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30), np.uint8))
    noise.save(tmp_path / "a.png", format="JPEG")
    noise.save(tmp_path / "b.webp", lossless=False)
    noise.save(tmp_path / "c.webp", lossless=True)
    noise.save(tmp_path / "d.tif", compression="jpeg")
    noise.save(tmp_path / "e.tif")
    found = [masks.summarise([path], indices=True).jpeg for path in sorted(tmp_path.iterdir())]
    assert found == [True, True, False, True, False]


def test_volumes_hold_whole_numbers(tmp_path: Path) -> None:
    voxels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1, -1, 1, 1])), tmp_path / "a.nii.gz")
    scaled = nibabel.Nifti1Image(voxels, np.diag([-1, -1, 1, 1]))
    scaled.header.set_slope_inter(1.0000001, 0)
    nibabel.save(scaled, tmp_path / "b.nii.gz")
    for name in ("a.nii.gz", "b.nii.gz"):
        np.testing.assert_array_equal(masks.read([tmp_path / name], indices=True), voxels.transpose(2, 1, 0))
    nibabel.save(nibabel.Nifti1Image(voxels * 0.5, np.eye(4)), tmp_path / "c.nii.gz")
    with pytest.raises(DataError, match=r"c\.nii\.gz: holds 0\.0 to 11\.5; a mask holds whole numbers"):
        masks.read([tmp_path / "c.nii.gz"], indices=True)


def test_colours_that_fill_a_square(tmp_path: Path, save: Callable[..., None]) -> None:
    mask = np.zeros((9, 9, 3), np.uint8)
    mask[:3, :3], mask[5:7], mask[8, 8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    save(tmp_path / "a.png", mask)
    assert masks.summarise([tmp_path / "a.png"], indices=True).solid == (masks.BLACK, RED)


@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 3, 2), (2, 3, 4)])
def test_a_png_of_16_bits_a_channel_is_read_whole(shape: tuple[int, ...], tmp_path: Path) -> None:
    """Pillow would read only the upper 8 bits: 1 and 300 would be 0 and 1."""
    pixels = np.full(shape, 65535, np.uint16)
    pixels[..., : shape[-1] - (shape[-1] in (2, 4))] = np.array([[0, 1, 300]] * 2, np.uint16)[..., None]
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    assert masks.read([tmp_path / "a.png"], indices=True).tolist() == [[[0, 1, 300]] * 2]
    pixels[0, 0, 0] = 9
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    if shape[-1] > 2:
        with pytest.raises(DataError, match=r"a\.png: holds colours of more than 8 bits per channel"):
            masks.read([tmp_path / "a.png"], indices=True)


def test_channels_that_are_no_colours_of_a_screen_are_refused(tmp_path: Path, save: Callable[..., None]) -> None:
    four = np.zeros((5, 6, 4), np.uint8)
    save(tmp_path / "cmyk.tif", four, photometric="separated")
    save(tmp_path / "four.tif", four, photometric="rgb", extrasamples=["unspecified"])
    save(tmp_path / "two.tif", four[..., :2], photometric="minisblack", planarconfig="contig")
    Image.fromarray(four, "CMYK").save(tmp_path / "cmyk.jpg")
    for name, message in (
        ("cmyk.tif", "its colours are SEPARATED"),
        ("four.tif", "neither grey nor RGB nor alpha"),
        ("two.tif", "neither grey nor RGB nor alpha"),
        ("cmyk.jpg", "its colours are CMYK"),
    ):
        with pytest.raises(DataError, match=rf"{name}: .*{message}"):
            masks.read([tmp_path / name], indices=True)


def test_16_bit_labels_with_a_transparent_value_are_whole(tmp_path: Path) -> None:
    labels = np.array([[0, 300, 400], [400, 300, 0]], np.uint16)
    Image.fromarray(labels).save(tmp_path / "a.png", transparency=0)
    codes = masks.read([tmp_path / "a.png"], indices=True)
    assert set(np.unique(codes).tolist()) - {0, masks.TRANSPARENT} == {300, 400}


@pytest.mark.parametrize(
    ("numbers", "held"),
    [([0.0, np.nan], "0.0 to 0.0 and NaN"), ([0.25, 1.0], "0.25 to 1.0"), ([np.nan, np.nan], "NaN alone")],
)
def test_masks_of_fractions_and_nan_say_what_to_save(tmp_path: Path, numbers: list[float], held: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([numbers], np.float32))
    with pytest.raises(DataError, match=rf"holds {held}; .* save labels, or 0 and 255$"):
        masks.read([tmp_path / "a.tif"], indices=True)


def test_a_tif_of_unknown_colours_is_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", INDICES, photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
        tif.pages.first.tags["PhotometricInterpretation"].overwrite(999)
    with pytest.raises(DataError, match=r"a\.tif: .*999"):
        masks.read([tmp_path / "a.tif"], indices=True)
