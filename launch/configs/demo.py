"""The phantom: synthetic lesions without a download, and the whole pipeline in a few minutes on a laptop's CPU.

    python -m launch.cv --config=demo.py

Expected: no paper has figures for it.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(builder="phantom", size=(64, 64)),
    models=("unet", "sharp_unet"),
    folds=3,
    repeats=1,
    epochs=8,
    batch_size=2,
)
