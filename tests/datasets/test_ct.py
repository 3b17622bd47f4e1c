"""CT voxels that are no Hounsfield units."""

import numpy as np
import pytest

from datasets import ct
from datasets.errors import DataError


@pytest.mark.parametrize(
    ("voxels", "message"),
    [([-1000, np.nan], "not numbers"), ([-1000, np.inf], "not numbers"), ([0, 120], "not Hounsfield units")],
)
def test_what_is_no_ct_is_refused(voxels, message):
    with pytest.raises(DataError, match=f"^a.nii: holds .*{message}"):
        ct.windowed(np.array(voxels, np.float32), (-1000, 400), "a.nii")
