"""COVID-19 CT as the paper's code trained on it: one split, five seeds, decisions on the test images.

    python -m launch.cv --config=published/covid.py --config.data.manual_dir=DOWNLOADS

Such scores flatter. The test images choose the epoch and the learning rate, and 100 slices are of some 40 patients. The
± is over seeds of one split. For a figure of new images take `--config=covid.py --config.protocol=nested`; the patients
are not published.

The paper's scores are of the pixels of all classes together, and easy background counts most. Compare them with the row
"per image, pixels of all classes summed, background included (micro)" of the report's table of other conventions, not
with the Jaccard index of our tables, the mean over classes. The report's table of predictions that look at no image
says what a mask of only background would score.

Settings are those of github.com/hasibzunair/sharp-unet-experiments (train_2021.ipynb, notebooks/COVID19.ipynb).
Different here: each pixel gets its most probable class, where the code rounds the probability of each class. Images are
kept in 8 bits and transposed, where the code turns them. ± in our tables is the sample standard deviation, 1.12 times
the code's for five runs.

Data: datasets/covid19_ct/README.md says what to download. Cost: not measured.
Expected (paper, Tables 1 and 3): Jaccard 85.24 ± 1.96 (unet), 87.39 ± 3.07 (sharp_unet). Their best runs had 99 and 95
epochs.
"""

from sharp_unet_jax.config import Config, Data

config = Config(
    data=Data(
        builder="covid19_ct/hu512",  # MIN_HU = -512, MAX_HU = 512
        size=(512, 512),  # that of the files
    ),
    models=("unet", "sharp_unet"),
    protocol="paper",  # validation_data=(x_test, y_test)
    split="authors",  # train_test_split(test_size=0.20, random_state=0): 20 of 100 slices are tested
    folds=1,  # of that split
    repeats=5,  # for i in range(5): new weights on the same split
    monitor="loss",  # the callbacks for several classes: monitor="val_loss", mode="min"
    patience=10,  # EarlyStopping(patience=10, min_delta=0, restore_best_weights=True)
    plateau_patience=10,  # ReduceLROnPlateau(factor=0.1, patience=10, min_lr=1e-8)
    plateau_min_delta=1e-4,  # Keras's default, which the code keeps
    min_learning_rate=1e-8,
    batch_size=16,
    learning_rate=1e-3,  # optimizer="adam"
    epochs=1000,  # 100,000 in the code; no run came near
    precision="float32",
)
