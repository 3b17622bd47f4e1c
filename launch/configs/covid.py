"""COVID-19 CT: ground-glass, consolidation and pleural effusion in 100 axial slices.

The paper's setting: 5-fold cross-validation, repeated 5 times with new splits; Adam 1e-3, categorical cross-entropy, no
augmentation, best weights by validation loss.

    python -m launch.cv --config=covid.py --config.data.manual_dir=DOWNLOADS

Data: datasets/covid19_ct/README.md says what to download. Cost: not measured.
Expected (paper, Tables 1 and 3): Jaccard 85.24 ± 1.96 (unet), 87.39 ± 3.07 (sharp_unet).

For the COVID-SemiSeg release of the slices (two findings, no effusion): `--config.data.builder=covid19_ct/semiseg`.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(builder="covid19_ct", size=(512, 512)),
    models=("unet", "sharp_unet"),
    batch_size=16,
)
