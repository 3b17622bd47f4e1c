"""Your own images and masks: two folders, or one that holds images/ and masks/.

    python -m launch.cv --config=folder.py --config.data.images=IMAGES --config.data.masks=MASKS

Files are paired by name (`7.png` with `7.png`, `7_mask.png` or `7_segmentation.png`). Give `--config.data.groups=CSV`
(columns id,group) where several images come from one patient, and `--config.grouped=true` keeps them together.
Decisions are nested: nothing is decided on the images that are reported.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(builder="folder", size=(256, 256), fit="letterbox"),
    models=("unet", "sharp_unet"),
    protocol="nested",
    repeats=1,
    batch_size=8,
)
