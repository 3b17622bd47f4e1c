"""TIF: one reader for training and prediction, by axes and tags; and masks with a palette."""

import itertools
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tifffile
from PIL import Image

from datasets.errors import DataError
from datasets.folder import images
from datasets.formats import tif
from datasets.formats.stack import How
from sharp_unet_jax import palette
from sharp_unet_jax.advice import memory
from sharp_unet_jax.data.pixels import as_trained
from tests.datasets.folder.test_images import BLOB, GREY, KINDS, RGB
from tests.datasets.formats.conftest import CLASSES, labels_of

COLOURS = np.random.default_rng(2).integers(0, 2**16, (3, 256), np.uint16)
FIVE = np.dstack([RGB, GREY, BLOB * np.uint8(200)])
FIRST = np.moveaxis(FIVE, -1, 0).copy()
CONTIGUOUS = {"photometric": "minisblack", "planarconfig": "contig"}
# Channels of a picture, as programs write them, and the channels expected.
CHANNELS: dict[str, tuple[np.ndarray, dict[str, Any], np.ndarray]] = {
    "two samples": (FIVE[..., 3:], CONTIGUOUS, FIVE[..., 3:]),
    "two samples, one of them alpha": (FIVE[..., 3:], CONTIGUOUS | {"extrasamples": ["unassalpha"]}, FIVE[..., 3:4]),
    "two narrow pages": (FIVE[..., 3:], {"photometric": "minisblack"}, FIVE[..., 3:]),
    "RGB and one": (FIVE[..., :4], {"photometric": "rgb", "extrasamples": ["unspecified"]}, FIVE[..., :4]),
    "RGB, one and alpha": (FIVE, {"photometric": "rgb", "extrasamples": ["unspecified", "assocalpha"]}, FIVE[..., :4]),
    "RGB, alpha and one": (FIVE, {"photometric": "rgb", "extrasamples": [2, 0]}, FIVE[..., [0, 1, 2, 4]]),
    "five samples": (FIVE, CONTIGUOUS, FIVE),
    "five samples, an axis each": (FIRST, {"photometric": "minisblack", "planarconfig": "separate"}, FIVE),
    "five samples called C": (FIVE, CONTIGUOUS | {"metadata": {"axes": "YXC"}}, FIVE),
    "RGB called CYX": (FIRST[:3], {"photometric": "rgb", "metadata": {"axes": "CYX"}}, RGB),
    "ImageJ": (FIRST, {"imagej": True, "metadata": {"axes": "CYX"}}, FIVE),
    "OME": (FIRST, {"ome": True, "photometric": "minisblack", "metadata": {"axes": "CYX"}}, FIVE),
    "wavelengths": (FIRST, {"photometric": "minisblack", "metadata": {"axes": "EYX"}}, FIVE),
}
PICTURES = {kind: parts[:3] for kind, parts in KINDS.items() if parts[0].endswith(".tif")} | {
    "1 bit": ("a.tif", BLOB, {"photometric": "minisblack"}),
    "16 bits": ("a.tif", GREY.astype(np.uint16) * 200, {}),
    "a palette": ("a.tif", GREY, {"photometric": "palette", "colormap": COLOURS}),
    "CMYK": ("a.tif", FIVE[..., :4], {"photometric": "separated"}),
    "0 is white": ("a.tif", GREY.astype(np.float32), {"photometric": "miniswhite"}),
    **{kind: ("a.tif", *parts[:2]) for kind, parts in CHANNELS.items()},
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_read_as_in_training(check_as_trained, kind):
    check_as_trained(*PICTURES[kind])


@pytest.mark.parametrize("axes", ["QYX", "ZYX", "TYX", "CYX"])
def test_pages_that_are_channels_by_a_setting_are_read_as_in_training(check_as_trained, axes):
    check_as_trained("a.tif", FIRST[:3], {"photometric": "minisblack", "metadata": {"axes": axes}}, pages="channels")


@pytest.mark.parametrize("kind", CHANNELS)
def test_channels_are_channels_however_a_file_lays_them_out(tmp_path, kind):
    array, options, expected = CHANNELS[kind]
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    for how in (How(), How("slices"), How("channels"), How(channels=1)):
        np.testing.assert_array_equal(tif.read([tmp_path / "a.tif"], how).pictures, expected[None])
        assert tif.header([tmp_path / "a.tif"], how).channels == expected.shape[-1]


@pytest.mark.parametrize(
    ("array", "options", "shape"),
    [
        (np.zeros((6, 8), np.uint16), {}, (1, 6, 8, 1)),
        (np.zeros((3, 6, 8), np.uint8), {"imagej": True, "metadata": {"axes": "ZYX"}}, (3, 6, 8, 1)),
        (np.zeros((6, 8, 3), np.uint8), {"photometric": "rgb"}, (1, 6, 8, 3)),
        (np.zeros((6, 8, 4), np.uint8), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, (1, 6, 8, 3)),
        (np.zeros((2, 6, 8, 3), np.uint8), {"photometric": "rgb"}, (2, 6, 8, 3)),
        (np.zeros((2, 6, 8, 3), np.uint8), {"photometric": "rgb", "metadata": None}, (2, 6, 8, 3)),
        (np.zeros((3, 6, 8), np.uint8), {"photometric": "rgb", "planarconfig": "separate"}, (1, 6, 8, 3)),
        (np.zeros((2, 3, 6, 8), np.uint8), {"imagej": True, "metadata": {"axes": "ZCYX"}}, (2, 6, 8, 3)),
        (np.zeros((2, 3, 6, 8), np.uint8), {"imagej": True, "metadata": {"axes": "TZYX"}}, (6, 6, 8, 1)),
        (np.zeros((5, 6, 8), np.uint8), {"metadata": {"axes": "TYX"}, "photometric": "minisblack"}, (5, 6, 8, 1)),
        (np.zeros((2, 3, 6, 8), np.uint8), {"ome": True, "metadata": {"axes": "CZYX"}}, (3, 6, 8, 2)),
    ],
)
def test_pages_and_colours_of_a_tif(tmp_path, array, options, shape):
    array = array.copy()
    array.flat[: array.size // 2] = 7
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    stack = tif.read([tmp_path / "a.tif"])
    assert stack.pictures.shape == shape
    assert stack.pictures.dtype == array.dtype


@pytest.mark.parametrize("metadata", [{}, None])
def test_pages_of_which_a_file_says_nothing(tmp_path, metadata):
    """In training a setting decides. In prediction they are slices, if the run has no images of so many channels."""
    path, pages = tmp_path / "a.tif", np.arange(3 * 6 * 8, dtype=np.uint8).reshape(3, 6, 8)
    tifffile.imwrite(path, pages, photometric="minisblack", metadata=metadata)
    for read in (tif.header, tif.read):
        with pytest.raises(DataError, match=r"a\.tif: its 3 pages of 8x6 may be slices or channels") as error:
            read([path])
        assert "--config.data.pages=channels" in str(error.value)
        with pytest.raises(DataError, match=r"its 3 pages of 8x6 may be slices, or the channels of this run's images"):
            read([path], How(channels=3))
    slices, channels = pages[..., None], np.moveaxis(pages, 0, -1)[None]
    for how, expected in {
        How("slices"): slices,
        How("slices", channels=3): slices,
        How("channels"): channels,
        How("channels", channels=1): channels,
        How(channels=1): slices,
        How(channels=5): slices,
    }.items():
        np.testing.assert_array_equal(tif.read([path], how).pictures, expected)
        assert tif.header([path], how).slices == len(expected)


def test_a_z_stack_is_slices_unless_a_setting_says_channels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FIRST[:3], imagej=True, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(tif.read([tmp_path / "a.tif"]).pictures, FIRST[:3, ..., None])
    np.testing.assert_array_equal(tif.read([tmp_path / "a.tif"], How("channels")).pictures, RGB[None])


def test_a_stack_is_hardly_meant_as_65_channels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((65, 6, 8), np.uint8), photometric="minisblack")
    assert tif.header([tmp_path / "a.tif"], How("slices")).slices == 65
    for read in (tif.header, tif.read):
        with pytest.raises(DataError, match=r"holds 65 channels, .*--config\.data\.pages=slices"):
            read([tmp_path / "a.tif"], How("channels"))


@hypothesis.settings(max_examples=80)
@hypothesis.given(
    st.tuples(st.integers(1, 3), st.integers(5, 9), st.integers(5, 9), st.integers(1, 6)),
    st.sampled_from([np.uint8, np.uint16, np.float32]),
    st.sampled_from(["samples", "planes", "ImageJ", "OME", "OME, C first", "pages", "RGB pages"]),
    st.booleans(),
)
def test_header_and_pixels_agree_in_every_layout(shape, dtype, layout, alpha):
    """Training, prediction and the header see the array that was written."""
    pictures = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    number, how = shape[0], How()
    if layout in ("samples", "planes"):
        number = 1
        extra = [0] * (shape[3] - 1) + [2] * alpha
        stored = np.concatenate([pictures[0], pictures[0, ..., :1]], -1) if alpha else pictures[0]
        options: dict[str, Any] = {"photometric": "minisblack", "extrasamples": extra}
        options["planarconfig"] = "contig" if layout == "samples" else "separate"
        if layout == "planes":
            stored = np.moveaxis(stored, -1, 0)
        if len(extra) == 0:
            stored, options = pictures[0, ..., 0], {"photometric": "minisblack"}
    elif layout == "RGB pages":
        pictures = np.repeat(pictures[..., :1], 3, -1)
        stored, options = pictures, {"photometric": "rgb"}
    elif layout == "pages":
        how = How("channels" if alpha else "slices")
        number = 1 if alpha else number
        pictures = pictures if alpha else pictures[..., :1]
        stored = np.moveaxis(pictures[0], -1, 0) if alpha else pictures[..., 0]
        options = {"photometric": "minisblack", "metadata": None}
    else:
        axes = "CZYX" if layout == "OME, C first" else "ZCYX"
        stored = pictures.transpose([(0, 3, 1, 2)["ZCYX".index(axis)] for axis in axes])
        options = {"metadata": {"axes": axes}, "photometric": "minisblack"}
        options["imagej" if layout == "ImageJ" else "ome"] = True
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.tif")
        tifffile.imwrite(path, stored.copy(), **options)
        header, trained = tif.header([path], how), images.stored([path], how)
        np.testing.assert_array_equal(trained, pictures[:number])
        predicted = tif.read([path], how._replace(channels=header.channels)).pictures
    assert (header.slices, *header.size[::-1], header.channels) == trained.shape
    assert header.deep == (trained.dtype != np.uint8)
    window = (3.0, 200.0)
    np.testing.assert_array_equal(
        as_trained(predicted, header.channels, window), as_trained(trained, header.channels, window)
    )


@pytest.mark.parametrize(
    ("array", "options", "expected"),
    [
        (GREY, {"photometric": "palette", "colormap": COLOURS}, (COLOURS >> 8).T[GREY]),
        (GREY, {"photometric": "palette", "colormap": COLOURS >> 8}, (COLOURS >> 8).T[GREY]),
        (
            GREY,
            {"photometric": "palette", "colormap": [np.arange(255, -1, -1) << 8] * 3},
            255 - GREY[..., None],
        ),
        (FIRST[3:], {"imagej": True, "metadata": {"axes": "CYX"}, "colormap": COLOURS >> 8}, FIVE[..., 3:]),
        (GREY, {"photometric": "miniswhite"}, 255 - GREY[..., None]),
        (GREY * np.uint16(16), {"photometric": "miniswhite"}, 65535 - GREY[..., None] * np.int32(16)),
        (GREY * np.int16(9), {"photometric": "miniswhite"}, -1 - GREY[..., None] * np.int16(9)),
        (GREY.astype(np.float32), {"photometric": "miniswhite"}, -1.0 * GREY[..., None]),
        (BLOB, {"photometric": "miniswhite"}, ~BLOB[..., None]),
        (FIVE[..., 3:], CONTIGUOUS | {"photometric": "miniswhite"}, np.dstack([255 - GREY, FIVE[..., 4]])),
        (RGB, {"photometric": "rgb", "compression": "zlib"}, RGB),
    ],
)
def test_colours_follow_the_photometric_tag(tmp_path, array, options, expected):
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    np.testing.assert_array_equal(tif.read([tmp_path / "a.tif"]).pictures[0], expected)
    assert tif.header([tmp_path / "a.tif"]).channels == expected.shape[-1]


@pytest.mark.parametrize(
    ("mode", "compression", "tolerance"),
    [(mode, how, 0) for mode in ("CMYK", "RGB", "RGBA", "P", "L", "LA", "1") for how in (None, "tiff_lzw")]
    + [("1", "group4", 0), ("YCbCr", None, 0), ("YCbCr", "tiff_lzw", 1)]
    + [(mode, "jpeg", 3) for mode in ("CMYK", "RGB", "L")],
)
def test_colours_are_those_that_pillow_shows(tmp_path, mode, compression, tolerance):
    smooth = np.add.outer(np.arange(16), np.arange(24)).astype(np.uint8)
    picture = Image.fromarray(np.dstack([smooth * 5, 99 - smooth, smooth * 2])).convert(mode)
    picture.save(tmp_path / "a.tif", compression=compression)
    with Image.open(tmp_path / "a.tif") as saved:
        shown = np.asarray(saved.convert("L" if mode in ("1", "L", "LA") else "RGB"))
    pixels = tif.read([tmp_path / "a.tif"]).pictures[0].astype(int) * (255 if mode == "1" else 1)
    assert np.abs(pixels.squeeze() - shown).max() <= tolerance


def test_ycbcr_of_a_jpeg_is_rgb(tmp_path):
    smooth = np.add.outer(np.arange(16), np.arange(24)).astype(np.uint8)
    rgb = np.dstack([smooth * 5, 99 - smooth, smooth * 2])
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", compression="jpeg", subsampling=(1, 1))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages.first.photometric == tifffile.PHOTOMETRIC.YCBCR
    assert np.abs(tif.read([tmp_path / "a.tif"]).pictures[0].astype(int) - rgb).max() <= 8


def test_cmyk_is_converted_at_any_depth(tmp_path):
    ink = np.array([[[0, 0, 0, 0], [65535, 0, 0, 0], [0, 0, 0, 65535], [0, 32768, 0, 32768]]], np.uint16)
    rgb = [[[65535, 65535, 65535], [0, 65535, 65535], [0, 0, 0], [32767, 16383, 32767]]]
    tifffile.imwrite(tmp_path / "a.tif", ink, photometric="separated")
    np.testing.assert_array_equal(tif.read([tmp_path / "a.tif"]).pictures[0], rgb)
    assert tif.header([tmp_path / "a.tif"]).kind == "TIF uint16 x 3, CMYK"
    plain = {"planarconfig": "contig", "extrasamples": ["unspecified"]}
    spot = np.dstack([ink, [[1, 2, 3, 4]]]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "b.tif", spot, photometric="separated", **plain)
    np.testing.assert_array_equal(tif.read([tmp_path / "b.tif"]).pictures[0], np.dstack([rgb, [[1, 2, 3, 4]]]))


@pytest.mark.parametrize("photometric", ["cielab", "icclab", "logluv", "cfa"])
def test_other_colours_are_refused(tmp_path, photometric):
    tifffile.imwrite(tmp_path / "a.tif", GREY if photometric == "cfa" else RGB, photometric=photometric)
    for read in (tif.header, tif.read):
        with pytest.raises(DataError, match=rf"its colours are {photometric.upper()} in uint8, .*save it as RGB"):
            read([tmp_path / "a.tif"])


def test_inks_that_are_not_cmyk_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FIVE[..., :4], photometric="separated", extratags=[(332, "H", 1, 2, True)])
    with pytest.raises(DataError, match="its colours are SEPARATED"):
        tif.header([tmp_path / "a.tif"])


def test_without_a_photometric_tag_pixels_are_as_stored(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="minisblack")
    content = (tmp_path / "a.tif").read_bytes()
    tag = (262).to_bytes(2, "little") + (3).to_bytes(2, "little")
    assert content.count(tag) == 1
    (tmp_path / "a.tif").write_bytes(content.replace(tag, (263).to_bytes(2, "little") + tag[2:]))
    np.testing.assert_array_equal(tif.read([tmp_path / "a.tif"]).pictures[0, ..., 0], GREY)


def test_pages_with_palettes_of_their_own_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for colours in (COLOURS, COLOURS[::-1]):
            file.write(GREY, photometric="palette", colormap=colours, metadata=None)
    with pytest.raises(DataError, match="its pages have palettes of their own"):
        tif.read([tmp_path / "a.tif"], How("slices"))


def ome(path: Path, own: int, pages: np.ndarray, planes: list[tuple[int, ...]], sizes: dict[str, int], *, uuid: bool):
    """Write a file of an OME-TIFF of several files; planes are (file, IFD, channel, slice, time)."""
    url = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    data = "".join(
        f'<TiffData FirstC="{c}" FirstZ="{z}" FirstT="{t}" IFD="{ifd}" PlaneCount="1">'
        f'<UUID FileName="s{file}.ome.tif">urn:uuid:{file}</UUID></TiffData>'
        for file, ifd, c, z, t in planes
    )
    identifier = f' UUID="urn:uuid:{own}"' if uuid else ""
    size = "".join(f'Size{axis}="{sizes[axis]}" ' for axis in sizes)
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{url}"{identifier}>'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" {size}>'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )
    tifffile.imwrite(path, pages, photometric="minisblack", description=xml.encode(), metadata=None)


@pytest.mark.parametrize("uuid", [True, False])
@pytest.mark.parametrize(("channels", "slices"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_a_file_of_an_ome_tiff_of_several_is_its_own_pages(tmp_path, uuid, channels, slices):
    planes = [
        (time, z * channels + c, c, z, time)
        for time, z, c in itertools.product(range(3), range(slices), range(channels))
    ]
    sizes = {"X": 8, "Y": 6, "C": channels, "Z": slices, "T": 3}
    pictures = np.random.default_rng(0).integers(0, 255, (3, slices, channels, 6, 8), np.uint8)
    for time, pages in enumerate(pictures):
        ome(tmp_path / f"s{time}.ome.tif", time, pages.reshape(-1, 6, 8), planes, sizes, uuid=uuid)
    for time, pages in enumerate(pictures):
        path = tmp_path / f"s{time}.ome.tif"
        np.testing.assert_array_equal(tif.read([path]).pictures, np.moveaxis(pages, 1, -1))
        assert tif.header([path]).slices == slices


def test_ome_pages_that_no_file_holds_are_not_read_as_zeros(tmp_path):
    planes = [(0, ifd, 0, ifd, 0) for ifd in range(4)]
    sizes = {"X": 8, "Y": 6, "C": 1, "Z": 4, "T": 1}
    ome(tmp_path / "s0.ome.tif", 0, np.full((3, 6, 8), 9, np.uint8), planes, sizes, uuid=True)
    for read in (tif.header, tif.read):
        with pytest.raises(DataError, match="its OME metadata tell of pages that it does not hold"):
            read([tmp_path / "s0.ome.tif"])


@pytest.mark.parametrize("kind", ["OME", "tifffile", "reduced pages"])
def test_a_pyramid_is_read_at_its_full_size(tmp_path, kind):
    full = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=kind == "OME") as file:
        plain = {"photometric": "rgb", "metadata": None if kind == "reduced pages" else {"axes": "YXS"}}
        file.write(full, **plain, subifds=0 if kind == "reduced pages" else 2)
        for step in (2, 4):
            file.write(full[::step, ::step].copy(), **plain, subfiletype=1)
    np.testing.assert_array_equal(tif.read([tmp_path / "a.tif"]).pictures[0], full)


def test_pictures_of_half_the_size_are_no_pyramid_unless_they_say_so(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for size in (64, 32):
            file.write(np.zeros((size, size), np.uint8), photometric="minisblack", metadata=None)
    with pytest.raises(DataError, match="holds 2 pictures of different sizes; save them apart"):
        tif.read([tmp_path / "a.tif"])


def test_a_tif_that_is_to_be_shown_turned(tmp_path):
    for orientation in (1, 6):
        tifffile.imwrite(tmp_path / "a.tif", GREY, extratags=[(274, "H", 1, orientation, True)])
        assert tif.header([tmp_path / "a.tif"]).rotated == (orientation == 6)


def test_a_tif_mask_has_the_pages_and_a_palette(tmp_path, rng):
    labels = labels_of((3, 6, 8))
    tif.write_masks(tmp_path / "m.tif", labels, tif.Stack(labels), CLASSES)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "m.tif"), labels)
    with tifffile.TiffFile(tmp_path / "m.tif") as mask:
        np.testing.assert_array_equal(mask.pages[0].colormap.T >> 8, palette.CLASSES)
    probabilities = rng.random((3, 6, 8, 3), np.float32)
    tif.write_probabilities(tmp_path / "p.tif", probabilities, tif.Stack(labels), CLASSES)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "p.tif")[3:6], np.moveaxis(probabilities[1], -1, 0))
    tif.write_map(tmp_path / "d.tif", probabilities[..., 0], tif.Stack(labels))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "d.tif"), probabilities[..., 0])


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((6, 8), (0, 8), "a.tif: (holds no p|is )"),
        ((6, 8), (2**20, 2**20), "a.tif: is 1048576x1048576"),
        ((2, 6, 8), (2**14, 2**14), "a.tif: needs 4.3 GB of memory, and 1.1 GB are free"),
    ],
)
def test_a_header_of_another_size(tmp_path, monkeypatch, shape, size, message):
    """An array of gigabytes in a file of 1 kB."""
    monkeypatch.setattr(memory, "free", lambda: 2**30)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.float64), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        for page in file.pages:
            page.tags["ImageLength"].overwrite(size[0])
            page.tags["ImageWidth"].overwrite(size[1])
    for read in (tif.header, tif.read):
        with pytest.raises(DataError, match=message):
            read([tmp_path / "a.tif"], How("slices"))


def test_what_is_no_tif_is_refused(tmp_path):
    (tmp_path / "text.tif").write_text("not a picture")
    for read in (tif.header, tif.read):
        with pytest.raises(DataError, match="cannot be read as a TIF"):
            read([tmp_path / "text.tif"])


@pytest.mark.parametrize("bits", [2, 4])
def test_colours_of_few_bits_reach_255(tmp_path, bits):
    numbers = (np.arange(48, dtype=np.uint8) % 2**bits).reshape(4, 4, 3)
    tifffile.imwrite(tmp_path / "a.tif", numbers, bitspersample=bits, photometric="rgb")
    np.testing.assert_array_equal(tif.read([tmp_path / "a.tif"]).pictures[0], numbers * (255 // (2**bits - 1)))


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_grey_of_few_bits_is_as_bright_as_pillow_shows_it(tmp_path, bits, photometric):
    numbers = (np.arange(48, dtype=np.uint8) % 2**bits).reshape(6, 8)
    tifffile.imwrite(tmp_path / "a.tif", numbers, bitspersample=bits, photometric=photometric)
    found = tif.read([tmp_path / "a.tif"]).pictures[0, ..., 0]
    np.testing.assert_array_equal(found, np.asarray(Image.open(tmp_path / "a.tif")))
    assert found.max() == 255
