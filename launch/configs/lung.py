"""Lung CT: lungs in 267 slices, Hounsfield units clipped to [-512, 512].

The paper's setting: 5-fold cross-validation, repeated 5 times with new splits; Adam 1e-3, binary cross-entropy, no
augmentation, best weights by validation loss.

    python -m launch.cv --config=lung.py --config.data.manual_dir=DOWNLOADS

Data: datasets/lung_ct/README.md says what to download. Cost: not measured.
Expected (paper, Tables 1 and 3): Jaccard 94.75 ± 0.58 (unet), 95.22 ± 0.67 (sharp_unet).
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(builder="lung_ct", size=(512, 512)),
    models=("unet", "sharp_unet"),
    batch_size=16,
)
