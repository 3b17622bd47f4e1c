"""Data Science Bowl 2018: nuclei in 670 microscopy images, instances merged.

The paper's setting: 5-fold cross-validation, repeated 5 times with new splits; Adam 1e-3, binary cross-entropy, no
augmentation, best weights by validation loss.

    python -m launch.cv --config=dsb.py --config.data.manual_dir=DOWNLOADS

Data: datasets/dsb2018/README.md says what to download. Cost: not measured.
Expected (paper, Tables 1 and 3): Jaccard 84.95 ± 0.26 (unet), 85.26 ± 0.27 (sharp_unet).
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(builder="dsb2018", size=(256, 256)),
    models=("unet", "sharp_unet"),
    batch_size=16,
)
