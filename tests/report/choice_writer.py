"""choice.json with chosen figures, as launch.choose leaves it."""

import json

PLAIN = {"threshold": 0.5, "fill": False, "smallest": 0, "largest": False}
RULE = {"threshold": 0.35, "fill": True, "smallest": 16, "largest": False}


def gain(jaccard, gain, low, high, images=8, runs=10):
    return {
        "jaccard": jaccard, "gain": gain, "low": low, "high": high, "images": images, "groups": images, "runs": runs
    }  # fmt: skip


def one(networks, rule, validation, test):
    fold = {"networks": networks, "rule": rule}
    return {**fold, "validation": validation, "test": test, "folds": {"repeat0-fold0": fold}}


CHANGED = one(["unet"], RULE, gain(0.8123, 0.0142, 0.001, 0.0274), gain(0.8, -0.002, -0.0101, 0.0061, 20))
UNCHANGED = one(["sharp_unet"], PLAIN, gain(0.7, 0.0, 0.0, 0.0), gain(None, None, None, None, 20))
BOTH = one(["unet", "sharp_unet"], PLAIN, gain(0.83, 0.02, 0.01, 0.03), gain(0.82, 0.01, None, None, 20, 2))


def write(folder, weights, ensemble=BOTH):
    """Write choice.json of runs whose weights have these digests, by the runs' names."""
    choice = {"weights_sha256": weights, "models": {"unet": CHANGED, "sharp_unet": UNCHANGED}, "ensemble": ensemble}
    (folder / "choice.json").write_text(json.dumps(choice))
