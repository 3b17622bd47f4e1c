"""The mutators that suit a file, by its name."""

import warnings
from pathlib import Path

import numpy as np

from tests.fuzz.mutators import archives, arguments, content, pickles, pictures, places, tables, trees, volumes
from tests.fuzz.mutators.content import Mutator, UnsuitableError, pick

STRUCTURED: dict[str, tuple[Mutator, ...]] = {
    ".json": trees.MUTATORS,
    ".jsonl": (*trees.MUTATORS, *trees.LINES),
    ".csv": (*tables.CSV, *trees.LINES),
    ".md": trees.LINES,
    ".py": trees.LINES,
    ".parquet": tables.PARQUET,
    ".npz": (*tables.ARRAYS, *archives.ARCHIVES),
    ".npy": tables.ARRAYS,
    **dict.fromkeys((".png", ".jpg", ".bmp", ".gif"), pictures.PICTURES),
    ".tif": (*pictures.TIFS, *pictures.PICTURES[:5]),
    ".nii": volumes.NIFTI,
    ".gz": volumes.NIFTI,
    ".dcm": volumes.DICOM,
    ".zip": archives.ARCHIVES,
    ".pth": (*pickles.ZIPPED, *archives.ARCHIVES),
    ".legacy": pickles.LEGACY,
    ".safetensors": pickles.SAFETENSORS,
    ".h5": pickles.HDF5,
}


def change(path: Path, random: np.random.Generator) -> str:
    """Change the file at `path` in one way and return the way's name: half of them know the format."""
    structured = STRUCTURED.get(path.suffix, ())
    while True:
        if path.suffix == ".arguments":
            kinds: list = [arguments.ARGUMENTS]
        else:
            kinds = (
                [structured, structured, content.MUTATORS, places.MUTATORS]
                if structured
                else [content.MUTATORS, places.MUTATORS]
            )
        mutators = pick(random, kinds)
        mutator = pick(random, mutators)
        try:
            with warnings.catch_warnings(action="ignore"):
                mutator(path, random)
        except UnsuitableError:
            continue
        return mutator.__name__
