"""The sides of a TIF's pixel, where OME or ImageJ say them: the resolution of a plain TIF is that of printing."""

from xml.etree import ElementTree

import tifffile

from datasets.formats.stack import Spacing

# By unit, as OME and ImageJ write it.
MILLIMETRES = {"nm": 1e-6, "µm": 1e-3, "um": 1e-3, "micron": 1e-3, "microns": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}


def spacing(tif: tifffile.TiffFile) -> Spacing | None:
    """Return `Stack.spacing` of an open TIF; None where neither OME nor ImageJ say it."""
    try:
        if tif.is_ome and tif.ome_metadata:
            return _ome(tif.ome_metadata)
        return _imagej(tif) if tif.is_imagej else None
    except (ArithmeticError, AttributeError, ElementTree.ParseError, KeyError, TypeError, ValueError):
        return None  # a damaged description makes no picture unreadable


def _ome(xml: str) -> Spacing | None:
    pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    if pixels is None:
        return None
    sides = []
    for axis in "YX":
        unit = MILLIMETRES.get(_plain(pixels.get(f"PhysicalSize{axis}Unit", "µm")))
        length = pixels.get(f"PhysicalSize{axis}")
        if unit is None or length is None:
            return None
        sides.append(float(length) * unit)
    return sides[0], sides[1]


def _imagej(tif: tifffile.TiffFile) -> Spacing | None:
    """Read ImageJ's unit and, in the tags of a resolution, pixels per unit."""
    unit = MILLIMETRES.get(_plain(str((tif.imagej_metadata or {}).get("unit", ""))))
    if unit is None:
        return None
    tags = tif.pages.first.tags
    rows, columns = (tags[f"{axis}Resolution"].value for axis in "YX")
    return unit * rows[1] / rows[0], unit * columns[1] / columns[0]


def _plain(unit: str) -> str:
    """Return a unit with one spelling of micro: ImageJ escapes it, and Unicode has two."""
    return unit.replace("\\u00B5", "µ").replace("\N{GREEK SMALL LETTER MU}", "µ")
