"""Your own images and masks: two folders, or one that holds images/ and masks/.

    python -m launch.prepare --config=folder.py --config.data.images=IMAGES --config.data.masks=MASKS
    python -m launch.cv --config=folder.py --config.data.images=IMAGES --config.data.masks=MASKS

The first command reports faults in the files and the settings that suit them; the second trains.

Files are paired by name (`7.png` with `7.png`, `7_mask.png` or `7_segmentation.png`), by a pattern of names or by a
table: see datasets/folder/README.md. If several images come from one patient, give `--config.data.groups=CSV` (columns
id,group), and `--config.grouped=true` keeps them in one fold. The protocol is nested: nothing is decided on the images
that are reported. Training images are augmented mildly, as suits most kinds of images;
`python -m launch.augmentations --config=folder.py ...` draws them. Set `--config.augment.flip=0` where left and right
matter, and brightness, contrast and gamma to 0 where a grey value is a measurement; `--config.augment=none` sets all.
"""

from sharp_unet_jax.config import Augment, Config, Data

config = Config(
    data=Data(builder="folder", size=(256, 256), fit="letterbox"),
    augment=Augment(
        flip=0.5,
        turn=0.5,
        rotate=15,
        zoom=0.2,
        shift=0.05,
        elastic=4,
        brightness=0.1,
        contrast=0.2,
        gamma=0.2,
        blur=1,
        noise=0.03,
    ),
    models=("unet", "sharp_unet"),
    protocol="nested",
    repeats=1,
    batch_size=8,
    clip=1,  # with few images Adam's first large steps can push all pixels into one class: results/README.md, lung CT
)
