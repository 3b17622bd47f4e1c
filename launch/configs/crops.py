"""draft"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(
        builder="phantom/small_lesions",
        size=(96, 96),
        fit="crop",
        crops=240,
        validate="crops",
    ),
    models=("attention_unet",),
    protocol="nested",
    folds=2,
    repeats=1,
    epochs=6,
    batch_size=4,
)
