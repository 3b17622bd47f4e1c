"""Data Science Bowl 2018 as the paper's code trained on it: one split, five seeds, decisions on the test images.

    python -m launch.cv --config=published/dsb.py --config.data.manual_dir=DOWNLOADS

Such scores flatter. The test images choose the epoch and the learning rate, and many images are crops of one
experiment. The ± is over seeds of one split. Masks are dilated, so a score says how well the nuclei *and a rim* are
found: compare it with no score of other masks. For a figure of new images take `--config=dsb.py
--config.protocol=nested`; no groups are published.

Settings are those of github.com/hasibzunair/sharp-unet-experiments (train_2021.ipynb, notebooks/DSB2018.ipynb).
Different here: pixels are 0 to 1. The code leaves them at 0 to 255 only on this set, and a setting for it would change
every way to predict. The code lists the images in the order of its disk, so its split cannot be drawn again: here they
are in the order of their names. Images are resized by Pillow, and ± in our tables is the sample standard deviation,
1.12 times the code's for five runs.

Data: datasets/dsb2018/README.md says what to download. Cost: not measured.
Expected (paper, Tables 1 and 3): Jaccard 84.95 ± 0.26 (unet), 85.26 ± 0.27 (sharp_unet). Their best runs had 87 and 76
epochs.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(
        builder="dsb2018",
        size=(256, 256),  # IMG_HEIGHT, IMG_WIDTH
        mask_filter="any",  # skimage's resize of each nucleus into an array of type bool: any value above 0
    ),
    models=("unet", "sharp_unet"),
    protocol="paper",  # validation_data=(x_test, y_test)
    split="authors",  # train_test_split(test_size=0.20, random_state=42): 134 of 670 images are tested
    folds=1,  # of that split
    repeats=5,  # for i in range(5): new weights on the same split
    monitor="soft_jaccard",  # monitor="val_jacard", mode="max"
    patience=20,  # EarlyStopping(patience=20, min_delta=0, restore_best_weights=True)
    plateau_patience=10,  # ReduceLROnPlateau(factor=0.1, patience=10, min_lr=1e-8)
    plateau_min_delta=1e-4,  # Keras's default, which the code keeps
    min_learning_rate=1e-8,
    batch_size=16,
    learning_rate=1e-3,  # optimizer="adam"
    epochs=1000,  # 100,000 in the code; no run came near
    precision="float32",
)
