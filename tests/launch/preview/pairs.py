"""Small images and masks, as arrays and as a folder of the user's own."""

import numpy as np
from PIL import Image


def write(top, images, masks):
    """Write images/a_i.png with masks/a_i_mask.png, images/b_i.png, ... below `top`, which is returned."""
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        for path, pixels in ((f"images/{chr(97 + index)}_i.png", image), (f"masks/{chr(97 + index)}_i_mask.png", mask)):
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(top / path)
    return top


def squares(n, size=(40, 48), value=255):
    """Masks (n, H, W) uint8 of one rectangle each, every one a row higher than the one before."""
    masks = np.zeros((n, *size), np.uint8)
    for index in range(n):
        masks[index, 8 : 20 + index, 10:30] = value
    return masks
