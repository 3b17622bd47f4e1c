"""The recipe that came out best in a few trials on ISBI-2012: an encoder from ImageNet, whole images, a short cosine.

    python -m launch.cv --config=best.py --config.data.manual_dir=DOWNLOADS
    python -m launch.choose work/best

The second command chooses the rule of masks, and whether the mean of both networks predicts. `weights="imagenet"` is
fetched once; --config.weights=FILE takes a file of your own. Another set has its own size, batch and workdir:
--config.data.builder=cvc_clinicdb --config.data.size=192,256 --config.batch_size=16 --workdir=work/best_cvc. It was not
tried there.

Data: ISBI-2012, 30 slices; datasets/isbi2012/README.md says what to download. A group is a block of six neighbouring
slices.

Cost: five minutes per run on two busy cores, ten runs.
Expected: Jaccard 90.0 (ternausnet16), nested and grouped; results/README.md has the trials. The paper's best figure on
this set is 91.21 ± 0.67 (sharp_unet_resnet50), of random folds that decide by their own test images.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(builder="isbi2012", size=(256, 256)),
    models=("ternausnet16", "sharp_ternausnet16"),
    weights="imagenet",
    protocol="nested",
    grouped=True,
    repeats=1,
    batch_size=2,  # nine steps per epoch
    schedule="cosine",
    epochs=16,
    patience=16,
)
