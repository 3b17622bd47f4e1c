"""Arrays of the user's as examples."""

import numpy as np
import pandas as pd

from sharp_unet_jax.data import arrays


def test_groups_of_a_table_are_taken_by_place():
    groups = pd.Series(list("AABBCC"), index=[3, 5, 4, 1, 0, 2])
    images, masks = np.zeros((6, 4, 5), np.uint8), np.ones((6, 4, 5), np.uint8)
    found = arrays.examples(images, masks, "", groups, None)
    assert [example["group"] for example in found] == list("AABBCC")
