"""ISBI-2012 as the paper's code trained on it: one split, five seeds, decisions on the test images.

    python -m launch.cv --config=published/isbi.py --config.data.manual_dir=DOWNLOADS

Such scores flatter. The test images choose the epoch and the learning rate, and nearly every one of them has a
neighbouring slice in training. The ± is over seeds of one split. For a figure of new images take `--config=isbi.py
--config.protocol=nested --config.grouped=true`.

Settings are those of github.com/hasibzunair/sharp-unet-experiments (train_2021.ipynb, notebooks/ISBI2012_EM.ipynb).
Different here: images are resized by Pillow and kept in 8 bits, and ± in our tables is the sample standard deviation,
1.12 times the code's for five runs.

Data: datasets/isbi2012/README.md says what to download. Expected (paper, Tables 1 and 3): Jaccard 83.95 ± 3.47 (unet),
87.00 ± 4.95 (sharp_unet). Their best runs had 97 and 175 epochs.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(
        builder="isbi2012",
        size=(256, 256),  # IMG_DIM
        mask_filter="antialiased",  # skimage's resize of masks, then round
    ),
    models=("unet", "sharp_unet"),
    protocol="paper",  # validation_data=(x_test, y_test)
    split="authors",  # train_test_split(test_size=0.20, random_state=42): 6 of 30 slices are tested
    folds=1,  # of that split
    repeats=5,  # for i in range(5): new weights on the same split
    monitor="soft_jaccard",  # monitor="val_jacard", mode="max"
    patience=20,  # EarlyStopping(patience=20, min_delta=0, restore_best_weights=True)
    plateau_patience=10,  # ReduceLROnPlateau(factor=0.1, patience=10, min_lr=1e-8)
    plateau_min_delta=1e-4,  # Keras's default, which the code keeps
    min_learning_rate=1e-8,
    batch_size=16,  # two steps per epoch
    learning_rate=1e-3,  # optimizer="adam"
    epochs=1000,  # 100,000 in the code; no run came near
    precision="float32",
)
