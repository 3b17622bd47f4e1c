"""ISIC-2018: skin lesions in 2594 dermoscopy images.

The paper's setting: 5-fold cross-validation, repeated 5 times with new splits; Adam 1e-3, binary cross-entropy, no
augmentation, best weights by validation loss.

    python -m launch.cv --config=isic.py --config.data.manual_dir=DOWNLOADS

Data: datasets/isic2018/README.md says what to download. Cost: not measured.
Expected (paper, Tables 1 and 3): Jaccard 74.74 ± 4.46 (unet), 76.07 ± 1.03 (sharp_unet).
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(builder="isic2018", size=(192, 256)),
    models=("unet", "sharp_unet"),
    batch_size=16,
)
