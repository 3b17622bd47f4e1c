"""Compare numbers of disagreement as predictors of bad masks: python bench/disagreement.py WORKDIR IMAGES MASKS

Predicts images that no run of the sweep was trained on by the mean of all its runs. Prints Spearman's correlation of
each number with the Dice error of the mask, 1 - Dice, over images. One foreground class; a mask has the name of its
image, and values above 127 are foreground. An image without a number, such as one whose mask is empty, is left out.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import stats

from sharp_unet_jax import metrics
from sharp_unet_jax.inference import loading, predict
from sharp_unet_jax.inference.predict import Prediction
from sharp_unet_jax.inference.trained import described


def numbers(one: Prediction, mask: np.ndarray) -> dict[str, float]:
    """Return the numbers that are compared, by name, of a prediction and its mask (h, w) bool."""
    assert one.deviation is not None
    deviation, probability = one.deviation[..., 0], one.probabilities[..., 0]
    return {
        "1 - Dice of two runs (`areas.csv`)": one.disagreement[0],
        "mean deviation of the mask's pixels": deviation[mask].mean() if mask.any() else np.nan,
        "sum of deviations / sum of probabilities": deviation.sum() / probability.sum(),
        "sum of variances / sum of probabilities": (deviation**2).sum() / probability.sum(),
        "mean deviation of all pixels": deviation.mean(),
        "sum of p (1 - p) / sum of p, of the mean p": (probability * (1 - probability)).sum() / probability.sum(),
    }


def main() -> None:
    """Predict all images and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("masks", type=Path)
    parser.add_argument("--model", default="", help="the model, or several: unet,sharp_unet")
    known = parser.parse_args()
    runs = loading.load_all(known.workdir, known.model, plain=True)
    paths = sorted(known.images.iterdir())
    truths = [np.asarray(Image.open(next(known.masks.glob(f"{path.stem}.*"))).convert("L")) > 127 for path in paths]
    images = (np.asarray(Image.open(path)) for path in paths)
    errors, found = [], []
    for one, truth in zip(predict.with_disagreement(runs, images, maps=True), truths, strict=True):
        mask = one.probabilities[..., 0] > runs[0].config.threshold
        errors.append(1 - float(metrics.dice(truth[None], mask[None])[0]))
        found.append(numbers(one, mask))
    shares = ", ".join(f"{value:.2f}" for value in np.quantile(errors, [0, 0.25, 0.5, 0.75, 1]))
    print(f"{described(runs)}; {len(errors)} images; quartiles of the Dice error: {shares}\n")
    print("| number | Spearman's correlation with the Dice error | images |\n|---|---|---|")
    for name in found[0]:
        values = np.array([each[name] for each in found])
        there = ~np.isnan(values)
        rho = stats.spearmanr(values[there], np.array(errors)[there]).statistic
        print(f"| {name} | {rho:.2f} | {there.sum()} |")


if __name__ == "__main__":
    main()
