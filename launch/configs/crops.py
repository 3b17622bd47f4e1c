"""draft"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(
        builder="phantom/small_lesions",
        size=(96, 96),
        fit="crop",
        crops=240,
        foreground=0.5,
        validate="crops",
    ),
    models=("attention_unet",),
    protocol="nested",
    folds=4,
    repeats=1,
    epochs=20,
    batch_size=8,
    max_runs=1,
)
