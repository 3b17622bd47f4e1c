"""ISIC-2018 as the paper's code trained on it: one split, five seeds, decisions on the test images.

    python -m launch.cv --config=published/isic.py --config.data.manual_dir=DOWNLOADS

Such scores flatter. The test images choose the epoch and the learning rate, and the ± is over seeds of one split. For a
figure of new images take `--config=isic.py --config.protocol=nested`; no groups are published.

Settings are those of github.com/hasibzunair/sharp-unet-experiments (train_2021.ipynb, notebooks/ISIC2018.ipynb). The
loss decides, and with patience 10: the code's log of five runs has the lowest loss at epochs 16 to 26 and the best
Jaccard at 82 to 105.
Different here: images are resized by Pillow and kept in 8 bits, and ± in our tables is the sample standard deviation,
1.12 times the code's for five runs.

Data: datasets/isic2018/README.md says what to download. Cost: not measured.
Expected (paper, Tables 1 and 3): Jaccard 74.74 ± 4.46 (unet), 76.07 ± 1.03 (sharp_unet). Their best runs had 31 and 33
epochs.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(
        builder="isic2018",
        size=(192, 256),  # IMG_DIM
        mask_filter="antialiased",  # skimage's resize of masks, then round
    ),
    models=("unet", "sharp_unet"),
    protocol="paper",  # validation_data=(x_test, y_test)
    split="authors",  # train_test_split(test_size=0.20, random_state=42): 519 of 2594 images are tested
    folds=1,  # of that split
    repeats=5,  # for i in range(5): new weights on the same split
    monitor="loss",  # monitor="val_loss", mode="min"
    patience=10,  # EarlyStopping(patience=10, min_delta=0, restore_best_weights=True)
    plateau_patience=10,  # ReduceLROnPlateau(factor=0.1, patience=10, min_lr=1e-8)
    plateau_min_delta=1e-4,  # Keras's default, which the code keeps
    min_learning_rate=1e-8,
    batch_size=16,
    learning_rate=1e-3,  # optimizer="adam"
    epochs=1000,  # 100,000 in the code; no run came near
    precision="float32",
)
