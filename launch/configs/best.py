"""This project's own recipe, found by a few trials on ISBI-2012: an encoder from ImageNet, and a cosine to the end.

    python -m launch.cv --config=best.py --config.data.manual_dir=DOWNLOADS
    python -m launch.choose work/best

The second command chooses the rule of masks, and whether the mean of both networks predicts.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(builder="isbi2012", size=(256, 256)),
    models=("ternausnet16", "sharp_ternausnet16"),
    weights="imagenet",
    protocol="nested",
    grouped=True,
    repeats=1,
    batch_size=2,  # nine steps an epoch
    schedule="cosine",
    epochs=16,
    patience=16,
)
