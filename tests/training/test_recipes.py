"""Optimizers, schedules, clipping, averaged weights and class weights: ten steps against the same done in NumPy."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sharp_unet_jax import models
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import prepared
from sharp_unet_jax.data.folds import Split
from sharp_unet_jax.training import epochs, network, schedule, train
from tests import crop_runs
from tests.conftest import squares
from tests.training.fits import ALL, CONFIG, make, run

SPLIT = Split(ALL[:8], ALL[8:], ALL[8:])  # two steps per epoch
OF_NORMED = ("adamw", "frozen", "average")  # normalisation's scales have no weight decay, and its statistics an average
TEN = {"epochs": 5, "patience": 5, "plateau_patience": 5}
FAST = ("adamw", "class weights", "all")  # the others are slow tests
SGD = {"optimizer": "sgd", "learning_rate": 0.02, "schedule": "poly", "weight_decay": 0.1, "clip": 0.05}
CASES = {
    "adamw": {"optimizer": "adamw", "weight_decay": 0.5, "learning_rate": 3e-3, "schedule": "cosine", "warmup": 1.5},
    "adam": {"weight_decay": 0.1, "learning_rate": 3e-3, "warmup": 2.0, "schedule": "constant", "clip": 1e3},
    "sgd": SGD,
    "frozen": SGD | {"frozen_epochs": 2, "encoder_learning_rate_factor": 0.5},
    "average": {"ema": 0.8, "learning_rate": 0.02},
    "class weights": {"class_weights": (0.5, 4.0), "optimizer": "sgd", "learning_rate": 0.02},
    "inverse": {"class_weights": "inverse", "learning_rate": 3e-3},
    "all": SGD | {"ema": 0.8, "warmup": 1.5, "class_weights": "inverse"},
}


def of_class(config, dataset):
    """Return the weights of background and foreground."""
    if config.class_weights == "inverse":
        foreground = (dataset.masks[SPLIT.train] == 1).mean()
        return 0.5 / (1 - foreground), 0.5 / foreground
    return config.class_weights or (1.0, 1.0)


def rate(config, begun, steps):
    """Return the learning rate of a step that begins after `begun` epochs of so many steps each."""
    if begun < config.warmup:
        return config.learning_rate * (begun + 1 / steps) / config.warmup
    done = (begun - config.warmup) / (config.epochs - config.warmup)
    shares = {"cosine": 0.5 + 0.5 * np.cos(np.pi * done), "poly": (1 - done) ** 0.9}
    return config.learning_rate * shares.get(config.schedule, 1)


def differentiated(model, weights):
    """Return a function: gradients of the mean loss, and the statistics after the step."""
    graph = nnx.graphdef(nnx.eval_shape(lambda: models.build(model, rngs=nnx.Rngs(0))))

    def loss(params, stats, images, masks, frozen):
        built = nnx.merge(graph, params, stats, copy=True)
        (logits,) = built.outputs(images.astype(jnp.float32) / 255, jnp.ones(len(images)), freeze_encoder=frozen)
        sign = jnp.where(masks == 1, 1.0, -1.0)
        entropy = jnp.logaddexp(0.0, -sign * logits[..., 0].astype(jnp.float32))
        return (entropy * jnp.where(masks == 1, weights[1], weights[0])).mean(), network.arrays(built)[1]

    return jax.jit(jax.grad(loss, has_aux=True), static_argnums=4)


class Part:
    """A part of a network: its arrays by path, and what the optimizer keeps of each."""

    def __init__(self, params):
        self.params = params
        self.first, self.second, self.steps = (dict.fromkeys(params, 0.0) for _ in range(3))

    def step(self, config, gradients, rate):
        for path, gradient in gradients.items():
            p = self.params[path]
            decay = config.weight_decay * p if {"kernel", "kernels"} & {*path} else 0
            if config.optimizer != "adamw":
                gradient, decay = gradient + decay, 0
            self.steps[path] += 1
            if config.optimizer == "sgd":
                self.first[path] = gradient + 0.99 * self.first[path]
                change = gradient + 0.99 * self.first[path]
            else:
                self.first[path] = 0.9 * self.first[path] + 0.1 * gradient
                self.second[path] = 0.999 * self.second[path] + 0.001 * gradient**2
                first = self.first[path] / (1 - 0.9 ** self.steps[path])
                second = self.second[path] / (1 - 0.999 ** self.steps[path])
                change = first / (np.sqrt(second) + 1e-7)
            self.params[path] = p - rate * (change + decay)


def flat(tree):
    """Return the arrays of nested dicts in float64 by path, a tuple of keys."""
    paths = jax.tree.leaves_with_path(jax.device_get(tree))
    return {tuple(key.key for key in path): np.asarray(leaf, np.float64) for path, leaf in paths}


def by_hand(config, model, dataset, program):
    """Return params and stats that are scored after ten steps, flat, and each epoch's last learning rate."""
    state, gradients_of = program.init(0), differentiated(model, of_class(config, dataset))
    structure = jax.tree.structure(state.params)
    parts, stats = {name: Part(flat(part)) for name, part in state.params.items()}, state.stats
    kept, rates = [], []
    for epoch in range(1, 6):
        frozen = epoch <= config.frozen_epochs
        for k, images in enumerate(train.shuffled(SPLIT.train, 0, epoch).reshape(2, 4)):
            arrays = {(name, *path): p for name, part in parts.items() for path, p in part.params.items()}
            ordered = [np.float32(arrays[path]) for path in flat(state.params)]
            params = jax.tree.unflatten(structure, ordered)
            found, stats = gradients_of(params, stats, dataset.images[images], dataset.masks[images], frozen)
            gradients = {name: flat(part) for name, part in found.items() if not (frozen and name == "encoder")}
            norm = np.sqrt(sum((each**2).sum() for part in gradients.values() for each in part.values()))
            factor = min(1, config.clip / norm) if config.clip else 1
            rates.append(rate(config, epoch - 1 + k / 2, 2))
            for name, part in gradients.items():
                slower = config.encoder_learning_rate_factor if name == "encoder" else 1
                parts[name].step(config, {path: factor * each for path, each in part.items()}, slower * rates[-1])
            after = {(name, *path): p for name, part in parts.items() for path, p in part.params.items()}
            kept.append((after, flat(stats)))
    weights = config.ema ** np.arange(9, -1, -1.0) if config.ema else np.eye(10)[9]
    weights = weights / weights.sum()
    scored = [
        {path: sum(w * each[path] for w, each in zip(weights, steps, strict=True)) for path in steps[0]}
        for steps in zip(*kept, strict=True)
    ]
    return *scored, rates[1::2]


def fit_ten(config, model, dataset, loop):
    devices = jax.devices()[:1]
    program = epochs.build(config, model, dataset, epochs.put(dataset, devices), devices, loop=loop)
    return program, *run(train.fit(program, SPLIT, config, binary=True, seed=0))


def error(found, expected, start):
    """Return the largest error of an array, as a share of what ten steps changed in it. All are flat."""
    assert found.keys() == expected.keys() == start.keys()
    norms = {path: np.linalg.norm(expected[path] - start[path]) for path in start}
    return max(np.linalg.norm(found[path] - expected[path]) / max(norms[path], 1e-4) for path in start)


@pytest.mark.parametrize(
    ("case", "model", "loop"),
    [
        *(
            pytest.param(case, model, False, marks=() if case in FAST else pytest.mark.slow)
            for case in CASES
            for model in ("sharp_normed" if case in OF_NORMED else "sharp_unet+learnable",)
        ),
        ("all", "sharp_unet+learnable", True),
        pytest.param("average", "sharp_normed", True, marks=pytest.mark.slow),
    ],
)
def test_ten_steps_are_those_of_numpy(tiny_models, normed, dataset, case, model, loop):
    config = dataclasses.replace(CONFIG, **TEN, **CASES[case])
    program, finished, _ = fit_ten(config, model, dataset, loop)
    params, stats, rates = by_hand(config, model, dataset, program)
    start, state = program.init(0), finished[-1].progress.state.scored()
    # Adam divides gradients by their size: where they are all but 0, rounding decides on the sign of a step.
    assert error(flat(state.params), params, flat(start.params)) < 0.005
    assert error(flat(state.stats), stats, flat(start.stats)) < 0.005
    np.testing.assert_allclose([epoch.row["learning_rate"] for epoch in finished], rates, rtol=1e-12)


def test_the_averaged_weights_are_those_that_are_scored_kept_and_returned(normed, dataset):
    config = dataclasses.replace(CONFIG, **TEN, **CASES["average"])
    program, finished, result = fit_ten(config, normed, dataset, loop=False)
    assert result.best_epoch == 5
    state = finished[-1].progress.state
    chex.assert_trees_all_equal(
        (result.params, result.stats), jax.device_get((state.average.params, state.average.stats))
    )
    loss, counts = train.evaluate(program, state.scored(), SPLIT.test)
    assert float(loss.mean()) == pytest.approx(result.rows[-1]["test_loss"], rel=1e-6)
    np.testing.assert_array_equal(counts, result.counts)
    last, _ = train.evaluate(program, state, SPLIT.test)
    assert float(last.mean()) != pytest.approx(result.rows[-1]["test_loss"], rel=1e-3)


def test_a_constant_is_averaged_to_itself(normed, dataset):
    """optax's average of it would drift: in float32 its factors do not sum to 1."""
    config = dataclasses.replace(CONFIG, **TEN, ema=0.9999)
    _, finished, _ = fit_ten(config, normed, dataset, loop=False)
    stats = finished[-1].progress.state.scored().stats
    np.testing.assert_allclose(stats["std"], finished[-1].progress.state.stats["std"], rtol=1e-6)


def test_without_a_schedule_every_step_has_the_rate_of_the_plateau():
    for name in "plateau", "constant":
        np.testing.assert_array_equal(schedule.rates(Config(schedule=name), 1e-4, 7, 5), np.full(5, 1e-4))


@pytest.mark.parametrize("name", ["cosine", "poly"])
def test_a_schedule_falls_from_the_warm_up_to_the_last_step(name):
    config = Config(schedule=name, warmup=2.0, epochs=10)
    rates = np.concatenate([schedule.rates(config, 0.1, epoch, 7) for epoch in range(1, 11)])
    np.testing.assert_allclose(np.diff(rates[:14]), 0.1 / 14)
    assert rates[13] == rates[14] == 0.1
    assert (np.diff(rates[14:]) < 0).all()
    assert 0 < rates[-1] < 0.01
    assert schedule.rates(config, 0.1, 6, 7)[0] == pytest.approx(0.05 if name == "cosine" else 0.1 * 0.5**0.9, rel=0.4)


def test_class_weights_in_inverse_proportion_to_the_pixels_of_the_training_images():
    dataset = squares(classes=4)
    dataset.masks[:, :2] = 255  # ignored
    dataset.masks[dataset.masks == 2] = 1  # no pixel of class 2
    config = dataclasses.replace(CONFIG, class_weights="inverse")
    weights = train.class_weights(dataset, config, ALL[:5])
    pixels = np.array([(dataset.masks[:5] == label).sum() for label in range(4)])
    assert weights.dtype == np.float32
    assert weights[2] == 0
    np.testing.assert_allclose((weights * pixels)[[0, 1, 3]], pixels.sum() / 3, rtol=1e-6)


def test_class_weights_are_those_of_the_fold_without_compiling_again(tiny_models, dataset):
    config = dataclasses.replace(CONFIG, class_weights="inverse", epochs=1)
    program = make(config, "unet", dataset)
    rows = []
    for split in (SPLIT, Split(ALL[4:], ALL[:4], ALL[:4])):
        _, result = run(train.fit(program, split, config, binary=True, seed=0))
        rows.append(result.rows)
    assert program.train_step._cache_size() == program.eval_step._cache_size() == 1
    assert rows[0] != rows[1]


@pytest.mark.parametrize("streamed", [False, True])
def test_class_weights_reach_the_losses_of_tiles(tiny_models, streamed):
    dataset = prepared.prepare(
        crop_runs.examples(), name="crops", classes=("background", "square"), data=crop_runs.DATA
    )
    config = dataclasses.replace(CONFIG, data=crop_runs.DATA, class_weights="inverse")
    devices = jax.devices()[:1]
    program = epochs.build(config, "unet", dataset, None if streamed else epochs.put(dataset, devices), devices)
    state, images = program.init(0), np.arange(len(dataset.ids))

    def measured(*weights):
        weighted = program.weighting(np.array(weights, np.float32))
        return train.evaluate_whole(weighted, state.params, state.stats, images)[0]

    background, foreground = measured(1, 0), measured(0, 1)
    np.testing.assert_allclose(measured(3, 5), 3 * background + 5 * foreground, rtol=1e-5)
    assert (background > 0).all()
    assert (foreground > 0).any()
