"""CVC-ClinicDB: polyps in 612 colonoscopy frames.

The paper's setting: 5-fold cross-validation, repeated 5 times with new splits; Adam 1e-3, binary cross-entropy, no
augmentation, best weights by validation loss.

    python -m launch.cv --config=cvc.py --config.data.manual_dir=DOWNLOADS

Data: datasets/cvc_clinicdb/README.md says what to download.
Cost (results/README.md): on one H200 in bfloat16 a run of 40 to 55 epochs takes 5 to 7 s, and each network compiles for
half a minute; on two CPU cores an epoch takes two and a half minutes.
Expected (paper, Tables 1 and 3): Jaccard 70.02 ± 9.37 (unet), 75.89 ± 2.06 (sharp_unet).

With random folds, frames of one video sequence are in training and test: `--config.grouped=true` keeps the 29 sequences
whole. `--config.protocol=nested` decides nothing on the reported fold.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(builder="cvc_clinicdb", size=(192, 256)),
    models=("unet", "sharp_unet"),
    batch_size=16,
)
