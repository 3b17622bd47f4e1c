"""The provenance of numbers in words: protocol, folds, number of images, size, threshold, rule for empty masks."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sharp_unet_jax import stopping
from sharp_unet_jax.config import Config
from sharp_unet_jax.report.records import Sweep

EMPTY = {"one": "scores 1", "zero": "scores 0", "nan": "is left out"}
"""The score of a class in neither mask under each rule of the config's `empty`, in words."""
MONITORS = {"loss": "loss", "jaccard": "Jaccard index", "soft_jaccard": "soft Jaccard index"}
"""The config's `monitor` in words."""
MASKS = {"nearest": "", "antialiased": ", masks antialiased", "any": ", masks dilated"}
"""The config's `mask_filter` in words."""
RECIPE = {
    "optimizer": "{}",
    "weight_decay": "weight decay {:g}",
    "schedule": "learning rate {}",
    "warmup": "{:g} epochs of warm-up",
    "clip": "gradients clipped to the norm {:g}",
    "ema": "weights averaged with the decay {:g}",
    "class_weights": "class weights {}",
}
"""Fields of the config that are stated if they are not the defaults, in words."""
OWN = "the files' own resolution"
FIXED = "Runs differ only in their seeds: ± says nothing about other images, and there is no interval and no test."
SHARED = "Of {folds} test folds {different} are different; intervals and tests count runs on the same images as one."


def labels(sweeps: Sequence[Sweep]) -> list[str]:
    """Return a label for each sweep: its data set, with `setting` if several share it, with the folder if that too."""
    of_dataset = Counter(sweep.dataset for sweep in sweeps)
    named = [sweep.dataset + (f", {setting(sweep)}" if of_dataset[sweep.dataset] > 1 else "") for sweep in sweeps]
    of_name = Counter(named)
    return [
        f"{name}, {sweep.workdir}" if of_name[name] > 1 else name for name, sweep in zip(named, sweeps, strict=True)
    ]


def named(sweeps: Iterable[Sweep]) -> dict[Sweep, str]:
    """Return the label of each sweep; a sweep that comes several times is there once."""
    each = list(dict.fromkeys(sweeps))
    return dict(zip(each, labels(each), strict=True))


def setting(sweep: Sweep) -> str:
    """Return the protocol and the kind of folds: "paper, random", "nested, grouped", "paper, the authors'".

    Training on crops and scores at another resolution than that of training stand there too.
    """
    crops = ", crops" if sweep.config["data"]["fit"] == "crop" else ""
    return f"{sweep.config['protocol']}, {_kind(sweep)}{crops}{', native scores' if scored_natively(sweep) else ''}"


def resolution(sweep: Sweep) -> str:
    """Return the resolution of a sweep's pictures and predictions in words: "192x256", "0.5 mm per pixel"."""
    data = sweep.config["data"]
    if data["fit"] != "crop":
        return "{}x{}".format(*data["size"])
    if spacing := data["spacing"]:
        return f"{spacing:g} mm per pixel"
    scale = data["scale"]
    return OWN if scale == 1 else f"{scale:g} times {OWN}"


def scored_at(sweep: Sweep) -> str:
    """Return the resolution of a sweep's reported scores in words."""
    return OWN if scored_natively(sweep) else resolution(sweep)


def scored_natively(sweep: Sweep) -> bool:
    """Return True if reported scores are at the files' own resolution, and pictures and predictions are not."""
    return sweep.config["data"]["score"] == "native" and resolution(sweep) != OWN


def scored_resized(sweep: Sweep) -> bool:
    """Return True if reported scores are of images resized to `data.size`, as the paper's are."""
    return sweep.config["data"]["fit"] != "crop" and not scored_natively(sweep)


def epochs_scored(sweep: Sweep) -> str:
    """Return how epochs are scored in words: "on crops", "at 192x256"; "" where that is how the reported scores are."""
    if _epochs_of_crops(sweep):
        return "on crops"
    return f"at {resolution(sweep)}" if scored_natively(sweep) else ""


def _epochs_of_crops(sweep: Sweep) -> bool:
    return sweep.config["data"]["validate"] == "crops"


def division(sweep: Sweep) -> str:
    """Return how the images were divided: "5 random folds x 5 repeats"."""
    folds, repeats = sweep.config["folds"], sweep.config["repeats"]
    several = "s" if repeats > 1 else ""
    if _one_split(sweep):
        tested = f"{len(sweep.folds['folds'][0]['test'])} of {sweep.folds['images']} images tested"
        return f"one split, {_kind(sweep)} ({tested}), x {repeats} seed{several}"
    return f"{folds} {_kind(sweep)} fold{'s' if folds > 1 else ''} x {repeats} repeat{several}"


def more_repeats(sweep: Sweep) -> str:
    """Return what two more repeats are in words, and what they are for."""
    if _one_split(sweep):
        return "with two more seeds on the same split, to see how much a score depends on the seed"
    if not _drawn_anew(sweep):
        return "two more repeats of the same folds, to see how much a score depends on the seed"
    return "two more repeats, each with new folds, for narrower intervals"


def _kind(sweep: Sweep) -> str:
    drawn = "grouped" if sweep.config["grouped"] else "random"
    return {"folds": drawn, "authors": "the authors'"}.get(sweep.config["split"], "given")


def _one_split(sweep: Sweep) -> bool:
    """Return True if all runs have the same test images."""
    tests = [cell["test"] for cell in sweep.folds["folds"]]
    return all(test == tests[0] for test in tests)


def _shared(sweep: Sweep) -> list[str]:
    """Return a sentence on runs that test the same images, if there are any."""
    tests = [frozenset(cell["test"]) for cell in sweep.folds["folds"]]
    if len(set(tests)) == len(tests):
        return []
    return [FIXED if _one_split(sweep) else SHARED.format(folds=len(tests), different=len(set(tests)))]


def _drawn_anew(sweep: Sweep) -> bool:
    """Return True if each repeat has folds of its own; as many groups as folds can be divided in one way only."""
    drawn = sweep.folds["groups" if sweep.config["grouped"] else "images"]
    return sweep.config.get("split", "folds") == "folds" and drawn > sweep.config["folds"]


def describe(sweeps: Sequence[Sweep]) -> str:
    """Return protocol, folds, repeats, n, size, aggregation, threshold, rule for empty masks and training of sweeps.

    The first line holds what they share; where they differ, each has a line more.
    """
    every = [_sentences(sweep) for sweep in sweeps]
    shared = [sentence for sentence in every[0] if all(sentence in others for others in every)]
    lines = [" ".join(shared)]
    for label, sentences in zip(labels(sweeps), every, strict=True):
        if own := [sentence for sentence in sentences if sentence not in shared]:
            lines.append(f"{label}: {' '.join(own)}")
    return "\n".join(line for line in lines if line)


def unlike(sweeps: Sequence[Sweep]) -> list[str]:
    """Return a loud line for each data set whose sweeps differ in size or length; [] where none do.

    A limit on epochs counts where it ended a run of any of them.
    """
    lines, label = [], dict(zip(sweeps, labels(sweeps), strict=True))
    for dataset in dict.fromkeys(sweep.dataset for sweep in sweeps):
        alike = [sweep for sweep in sweeps if sweep.dataset == dataset]
        limited = any(map(_limited, alike))
        trained = {label[sweep]: _extent(sweep, limited=limited) for sweep in alike}
        if len(set(trained.values())) > 1:
            each = "; ".join(f"{name}: {how}" for name, how in trained.items())
            lines.append(
                f"**NOT COMPARABLE: these sweeps differ in more than protocol or folds. They were trained at different "
                f"sizes or for different numbers of epochs. {each}.**"
            )
    return lines


def _limited(sweep: Sweep) -> bool:
    """Say whether the limit on epochs ended a run of the sweep."""
    capped = any(record["capped"] for record in sweep.finished.values())
    return capped or sweep.config["schedule"] in stopping.TO_THE_END


def _extent(sweep: Sweep, *, limited: bool) -> str:
    """Return the size in words, and the limit on epochs if it counts."""
    data = sweep.config["data"]
    height, width = data["size"]
    how = f"crops of {height}x{width} at {resolution(sweep)}" if data["fit"] == "crop" else f"{height}x{width}"
    return f"{how}, at most {sweep.config['epochs']} epochs" if limited else how


def unfinished(sweeps: Sequence[Sweep]) -> str:
    """Return a line for each sweep with missing runs; "" where all are finished."""
    lines = []
    for label, sweep in zip(labels(sweeps), sweeps, strict=True):
        whose = f"{label}: " if len(sweeps) > 1 else ""
        if len(sweep.finished) < len(sweep.planned):
            failed = f", {len(sweep.failed)} failed" if sweep.failed else ""
            runs = f"{len(sweep.finished)} of {len(sweep.planned)} runs are finished{failed}"
            lines.append(f"**{whose}{runs}: the numbers are not those of the whole sweep.**")
    return "\n".join(lines)


def _sentences(sweep: Sweep) -> list[str]:
    config, folds, classes = sweep.config, sweep.folds, len(sweep.classes)
    inner = f"about {config['inner_validation']:.0%}"
    decided = {
        "paper": "paper (stopping, learning rate and weights decided on the reported fold: optimistic)",
        "nested": f"nested (decided on {inner} of the training folds; the test fold was held out)",
    }[config["protocol"]]
    scored = "the foreground" if classes == 2 else f"the {classes} classes, background included"
    factor = config["encoder_learning_rate_factor"]
    start = f"Started from {config['weights'] or 'scratch'}"
    start += f", encoder frozen for {epochs} epochs" if (epochs := config["frozen_epochs"]) else ""
    start += f", learning rate of the encoder times {factor}" if factor != 1 else ""
    changes = {name: strength for name, strength in config["augment"].items() if strength}
    augmented = ", ".join(f"{name} {strength:g}" for name, strength in changes.items()) or "nothing"
    return [
        f"Protocol: {decided}.",
        f"{division(sweep).capitalize()}.",
        *_shared(sweep),
        f"n = {folds['images']} images ({folds['groups']} groups).",
        *_sizes(sweep),
        f"Scores: per image over {scored}, averaged over a fold, then over runs; "
        "± is the sample standard deviation over runs.",
        f"Threshold {config['threshold']}." if classes == 2 else "Each pixel gets its most probable class.",
        f"An image's class in neither truth nor prediction {EMPTY[config['empty']]}.",
        *_kernel(sweep),
        f"{start}.",
        *_monitored(config),
        *_recipe(config),
        f"Loss {config['loss']}, batch {config['batch_size']}, at most {config['epochs']} epochs, "
        f"augmented by {augmented}, {config['precision']}, seed {config['seed']}.",
    ]


def _sizes(sweep: Sweep) -> list[str]:
    """Return sentences about the sizes at which images were trained on, and at which all scores are."""
    data, at = sweep.config["data"], resolution(sweep)
    height, width = data["size"]
    masks = MASKS[data["mask_filter"]]
    if data["fit"] == "crop":
        resized = masks if at != OWN else ""
        trained = f"Trained on crops of {height}x{width} pixels; whole images are predicted by tiles at {at}{resized}."
    else:
        trained = f"{height}x{width} pixels ({data['fit']}{masks})."
    sentences = [trained]
    if _epochs_of_crops(sweep):
        sentences.append("Scores of epochs are those of crops.")
    if scored_natively(sweep):
        rest = "scores of epochs, small pictures, distances, thresholds and calibration"
        sentences.append(f"Reported scores and large pictures are at {OWN}; {rest} are at {at}.")
    return sentences


def _monitored(config: dict[str, Any]) -> list[str]:
    """Return a sentence about what decided on stopping, learning rate and weights; none where it was the loss."""
    if (monitor := config["monitor"]) == "loss":
        return []
    return [
        f"Each run was decided by the {MONITORS[monitor]}, and ended {config['patience']} epochs after its best one."
    ]


def _recipe(config: dict[str, Any]) -> list[str]:
    """Return a sentence about the settings of `RECIPE`; none where they are the defaults."""
    given = [(words, config[name], getattr(Config(), name)) for name, words in RECIPE.items()]
    changed = [words.format(value) for words, value, usual in given if value and value != usual]
    return [f"Recipe: {', '.join(changed)}."] if changed else []


def _kernel(sweep: Sweep) -> list[str]:
    """Return a sentence about the kernel of all sharp blocks; none where there are several, which a table compares."""
    kernels = {model.kernel for model in sweep.models.values() if model.kernel}
    if len(kernels) != 1:
        return []
    (kernel,) = kernels
    return [f"Sharp blocks: {kernel.name.replace('_', ' ')}, {kernel.padding} padding."]
