"""ISBI-2012: cells in 30 slices of one electron-microscopy stack.

The paper's setting: 5-fold cross-validation, repeated 5 times with new splits; Adam 1e-3, binary cross-entropy, no
augmentation, best weights by validation loss.

    python -m launch.cv --config=isbi.py --config.data.manual_dir=DOWNLOADS

Data: datasets/isbi2012/README.md says what to download. Cost on two CPU cores: an epoch of sharp_unet takes 24 to 61 s
(results/isbi2012-paper: two runs at a time, batches of 2). On a GPU it is not measured.
Expected (paper, Tables 1 and 3): Jaccard 83.95 ± 3.47 (unet), 87.00 ± 4.95 (sharp_unet).

The batch is 4: a fold trains on 24 images, and with the 16 of the other sets an epoch would have two steps. A group is
a block of six neighbouring slices.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(builder="isbi2012", size=(256, 256)),
    models=("unet", "sharp_unet"),
    batch_size=4,
)
