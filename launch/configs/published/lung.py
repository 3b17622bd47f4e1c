"""Lung CT as the paper's code trained on it: one split, five seeds, decisions on the test images.

    python -m launch.cv --config=published/lung.py --config.data.manual_dir=DOWNLOADS

Such scores flatter. The test images choose the epoch and the learning rate, and the ± is over seeds of one split. For a
figure of new images take `--config=lung.py --config.protocol=nested`; the patients of the slices are not published.

Settings are those of github.com/hasibzunair/sharp-unet-experiments (train_2021.ipynb, the data set LUNGS2).
Different here: images are kept in 8 bits, and ± in our tables is the sample standard deviation, 1.12 times the code's
for five runs.

Data: datasets/lung_ct/README.md says what to download. Cost: not measured.
Expected (paper, Tables 1 and 3): Jaccard 94.75 ± 0.58 (unet), 95.22 ± 0.67 (sharp_unet). Their best runs had 122 and 49
epochs.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(
        builder="lung_ct/minmax",  # Lanczos at 256x256, then each slice's minimum and maximum; nearest masks
        size=(256, 256),  # that of the builder: nothing is resized again
    ),
    models=("unet", "sharp_unet"),
    protocol="paper",  # validation_data=(x_test, y_test)
    split="authors",  # train_test_split(test_size=0.20, random_state=42): 54 of 267 slices are tested
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
