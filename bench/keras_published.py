"""Train the U-Net as the paper's code did, in Keras: its optimizer, its callbacks, its split of ISBI-2012.

    KERAS_BACKEND=jax python bench/keras_published.py --downloads=DOWNLOADS --size=128,128 --seeds=5 --epochs=24

Nothing but the images and the split is this project's: an independent statement of `launch/configs/published/isbi.py`.
Prints for each seed the soft Jaccard index of the first epochs, the epoch that is kept, and the hard Jaccard index.
"""

import argparse

import keras
import numpy as np
from keras import layers, ops
from rich.console import Console

from launch.console import dataset
from sharp_unet_jax.config import Data
from sharp_unet_jax.data import folds

WIDTHS = (32, 64, 128, 256, 512)
LAPLACIAN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)


def unet(shape: tuple[int, int, int], sharp: bool) -> keras.Model:
    """Return the network of the paper's Figure 1, for images (n, *shape) in [0, 1]."""

    def block(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
        for _ in range(2):
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        return x

    image = x = keras.Input(shape)
    skips = []
    for width in WIDTHS[:-1]:
        skips.append(block(x, width))
        x = layers.MaxPooling2D()(skips[-1])
    x = block(x, WIDTHS[-1])
    for width, skip in zip(WIDTHS[-2::-1], reversed(skips), strict=True):
        x = layers.Conv2DTranspose(width, 2, strides=2)(x)
        if sharp:
            sharpen = layers.DepthwiseConv2D(3, padding="same", use_bias=False, trainable=False)
            skip = sharpen(skip)
            sharpen.set_weights([np.tile(LAPLACIAN[:, :, None, None], (1, 1, width, 1))])
        x = block(layers.Concatenate()([x, skip]), width)
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(x))


def soft_jaccard(truth: keras.KerasTensor, predicted: keras.KerasTensor) -> keras.KerasTensor:
    """Return the Jaccard index of probabilities over a batch, as the paper's code has it."""
    both = ops.sum(truth * predicted)
    return both / (ops.sum(truth) + ops.sum(predicted) - both)


def train(
    images: np.ndarray, masks: np.ndarray, test: np.ndarray, seed: int, epochs: int, sharp: bool
) -> tuple[list[float], float]:
    """Return the soft Jaccard index after each epoch, and the hard one of the weights that are kept."""
    keras.utils.set_random_seed(seed)
    model = unet(images.shape[1:], sharp)
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=[soft_jaccard])
    watched = {"monitor": "val_soft_jaccard", "mode": "max"}
    callbacks = [
        keras.callbacks.EarlyStopping(patience=20, restore_best_weights=True, **watched),
        keras.callbacks.ReduceLROnPlateau(factor=0.1, patience=10, min_lr=1e-8, **watched),
    ]
    options = {"batch_size": 16, "epochs": epochs, "callbacks": callbacks, "verbose": 0}
    history = model.fit(images[~test], masks[~test], validation_data=(images[test], masks[test]), **options).history
    predicted, truth = model.predict(images[test], verbose=0) >= 0.5, masks[test] == 1
    both, either = (predicted & truth).sum((1, 2, 3)), (predicted | truth).sum((1, 2, 3))
    return history["val_soft_jaccard"], float(np.mean(both / either))


def main() -> None:
    """Train so many seeds one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--downloads", required=True)
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split(","))), default=(128, 128))
    parser.add_argument("--channels", type=int, default=1, help="3: the grey image three times, as OpenCV reads a file")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--sharp", action="store_true")
    args = parser.parse_args()
    where = {"manual_dir": args.downloads, "data_dir": args.data_dir}
    data = dataset.load(Data(builder="isbi2012", size=args.size, mask_filter="antialiased", **where), Console())
    test = np.isin(np.arange(len(data.ids)), folds.authors(data.ids, random_state=42))
    images = np.asarray(data.images, np.float32) / 255
    images = np.tile(images, args.channels // images.shape[-1])
    masks = np.asarray(data.masks, np.float32)[..., None]
    full = 100 * masks[test].mean((1, 2, 3)).mean()  # the Jaccard index of "all foreground"
    print(f"{test.sum()} of {len(test)} images are tested; all foreground scores {full:.2f}")
    for seed in range(args.seeds):
        soft, hard = train(images, masks, test, seed, args.epochs, args.sharp)
        first = " ".join(f"{value:.3f}" for value in soft[:6])
        kept = f"epoch {1 + int(np.argmax(soft))} of {len(soft)} kept"
        print(f"seed {seed}: {first} ..., {kept}, Jaccard {100 * hard:.2f}", flush=True)


if __name__ == "__main__":
    main()
