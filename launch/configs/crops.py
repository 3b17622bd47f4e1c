"""Small lesions in large pictures: crops at native resolution against whole images that are resized.

The pictures are the phantom's `small_lesions`: 40 synthetic ones of 600x900, with lesions of 8 pixels. Stubble is as
dark as a lesion and nearly as large, once a picture is shrunk to 192x256.

    python -m launch.cv --config=crops.py
    python -m launch.cv --config=crops.py --workdir=work/resized --config.data.fit=stretch \
        --config.data.size=192,256 --config.data.score=native --config.data.crops=0 --config.data.validate=images \
        --config.epochs=120 --config.patience=120 --config.plateau_patience=40

The second command trains the same network on whole images, for as many steps: an epoch has 4, with crops 60. They are
scored at native resolution too, so both scores are of the same pixels.

Cost: a run with crops takes 3 min 11 s of processor time. The pictures are drawn in half a minute, once.
Expected: Jaccard 0.85 with crops, 0.34 with whole images.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(
        builder="phantom/small_lesions",
        size=(96, 96),
        fit="crop",
        crops=240,
        validate="crops",  # whole images have 216 tiles each: they are predicted once, with the reported weights
    ),
    models=("attention_unet",),
    protocol="nested",
    folds=2,
    repeats=1,
    epochs=8,
    batch_size=4,
)
