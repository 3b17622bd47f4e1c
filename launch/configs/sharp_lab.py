"""Kernels of the sharp block compared: does the zero sum matter, the scale, the shape, or the padding?

The same U-Net with plain skips and with sharp skips of several kernels: all start from the same weights and see the
same folds and batches. K, the paper's Laplacian, sums to zero and multiplies the scale of white features by about 8.5.

    python -m launch.cv --config=sharp_lab.py --config.data.manual_dir=DOWNLOADS
    python -m launch.cv --config=sharp_lab.py --config.data.builder=cvc_clinicdb --config.data.size=192,256 \
        --config.batch_size=16 --workdir=work/sharp_lab_cvc --config.data.manual_dir=DOWNLOADS

| model | kernel | sum | scale of white features |
|---|---|---|---|
| unet | none | | 1 |
| sharp_unet+laplacian | K | 0 | 8.5 |
| sharp_unet+laplacian+reflect | K with reflection at the border instead of zeros | 0 | 8.5 |
| sharp_unet+scaled | K / 8 | 0 | 1.06 |
| sharp_unet+sharpen | the image plus K: equation (2) of the paper | 1 | 9.4 |
| sharp_unet+unsharp | the image plus the 5-point Laplacian | 1 | 5.4 |
| sharp_unet+laplacian_of_gaussian | K after smoothing | 0 | 1.6 |
| sharp_unet+random | fixed random numbers with the norm of K | 0 | 8.5 |
| sharp_unet+learnable | one for every channel, trained from K on | 0 at first | 8.5 at first |

Data, unless you name another set: ISBI-2012, 30 slices; datasets/isbi2012/README.md says what to download. The protocol
is nested: no kernel wins because its best epoch was picked on the reported fold. Expected: there are no published
figures.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(builder="isbi2012", size=(256, 256)),
    models=(
        "unet",
        "sharp_unet+laplacian",
        "sharp_unet+laplacian+reflect",
        "sharp_unet+scaled",
        "sharp_unet+sharpen",
        "sharp_unet+unsharp",
        "sharp_unet+laplacian_of_gaussian",
        "sharp_unet+random",
        "sharp_unet+learnable",
    ),
    protocol="nested",
    repeats=1,
    batch_size=4,
)
