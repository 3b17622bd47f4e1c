"""File formats that `launch.predict` reads and writes, a module each.

A module has SUFFIXES, `read(paths)`, which returns a `Stack`, and `write_masks`, `write_probabilities` and
`write_overlays`, whose files have the suffixes MASK, PROBABILITIES and OVERLAYS.
"""

from types import ModuleType

from datasets.formats import dicom, nifti, picture, tif

FAMILIES: tuple[ModuleType, ...] = (picture, tif, nifti, dicom)
