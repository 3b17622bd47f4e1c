"""Early stopping, plateau and best weights against Keras's callbacks, on histories that Hypothesis makes up."""

import dataclasses
import os
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharp_unet_jax.config import Config
from sharp_unet_jax.data.folds import Split
from sharp_unet_jax.training import decisions, step, train
from tests.training.fits import CONFIG, run

os.environ["KERAS_BACKEND"] = "jax"
import keras

# Multiples of 1/64 are added and subtracted without rounding, in float32 too: no tie depends on the order of the terms.
SIXTY_FOURTHS = st.integers(0, 64).map(lambda number: number / 64)
DELTAS = st.sampled_from([0.0, 1 / 64, 3 / 64])
SETTINGS = st.fixed_dictionaries(
    {
        "monitor": st.sampled_from(["loss", "soft_jaccard"]),
        "patience": st.integers(1, 7),
        "min_delta": DELTAS,
        "plateau_patience": st.integers(1, 4),
        "plateau_min_delta": DELTAS,
        "plateau_factor": st.sampled_from([0.1, 0.5]),
        "min_learning_rate": st.sampled_from([0.0, 4e-4, 2e-3]),
    }
)


@given(history=st.lists(SIXTY_FOURTHS, min_size=1, max_size=30), settings=SETTINGS)
def test_a_run_ends_as_with_keras_callbacks(history, settings):
    config = dataclasses.replace(CONFIG, epochs=len(history), **settings)
    rates, epochs, weights = of_keras(history, config)
    program, ours = scripted(history)
    test = np.array([3, 4])
    _, result = run(train.fit(program, Split(np.arange(3), test, test), config, binary=True, seed=0))
    np.testing.assert_allclose(ours, rates, rtol=1e-6)
    assert len(result.rows) == epochs
    assert int(result.params) == result.best_epoch == weights


def of_keras(history, config):
    """Return the learning rate of each epoch, the number of epochs, and the weights: the number of an epoch."""
    optimizer = types.SimpleNamespace(learning_rate=config.learning_rate)
    model = types.SimpleNamespace(optimizer=optimizer, stop_training=False)
    model.get_weights = lambda: model.weights
    model.set_weights = lambda weights: setattr(model, "weights", weights)
    type_of = {"monitor": "val_score", "mode": "min" if config.monitor == "loss" else "max"}
    callbacks = (
        keras.callbacks.EarlyStopping(
            **type_of, patience=config.patience, min_delta=config.min_delta, restore_best_weights=True
        ),
        keras.callbacks.ReduceLROnPlateau(
            **type_of,
            factor=config.plateau_factor,
            patience=config.plateau_patience,
            min_delta=config.plateau_min_delta,
            min_lr=config.min_learning_rate,
        ),
    )
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(history):
        rates.append(optimizer.learning_rate)
        model.weights = epoch + 1
        for callback in callbacks:
            callback.on_epoch_end(epoch, {"val_score": value})
        if model.stop_training:
            break
    for callback in callbacks:
        callback.on_train_end()
    return rates, len(rates), model.weights


def scripted(history):
    """Return a program whose losses and soft Jaccards are those of `history`, and the learning rates it is given.

    Its parameters are the number of epochs.
    """
    script, rates = iter(history), []

    def epoch(state, index, weight, learning_rate, frozen, draw):
        rates.extend(learning_rate)  # one step per epoch
        return state._replace(params=state.params + 1), np.ones(len(index))

    def evaluate(state, index):
        value = next(script)
        counts = np.tile(np.array([[1, 1, 1], [1, 2, 2]]), (*index.shape, 1, 1))
        return (
            np.full(index.shape, value, np.float32),
            counts,
            np.tile(np.float32([value, 1, value]), (*index.shape, 1)),
        )

    init = lambda seed: step.State(np.zeros(()), {}, ())  # noqa: E731
    program = types.SimpleNamespace(
        init=init, train=epoch, evaluate=evaluate, batch_size=4, eval_batch_size=4, dataset=None
    )
    return program, rates


@pytest.mark.parametrize(("monitor", "best"), [("loss", 3), ("jaccard", 1), ("soft_jaccard", 2)])
def test_the_monitor_decides(monitor, best):
    columns = {"validation_loss": (3, 2, 1), "validation_jaccard": (3, 2, 1), "validation_soft_jaccard": (1, 2, 1)}
    rows = [{name: values[epoch] for name, values in columns.items()} for epoch in range(3)]
    assert decisions.decide(rows, Config(monitor=monitor)).best_epoch == best


def test_the_plateau_settings_act_with_their_schedule_alone():
    rows, of_plateau = [{"validation_loss": 1.0}] * 5, {"plateau_patience": 1, "patience": 9}
    assert decisions.decide(rows, Config(**of_plateau)).learning_rate == pytest.approx(1e-7)
    for schedule in "constant", "cosine", "poly":
        assert decisions.decide(rows, Config(**of_plateau, schedule=schedule)) == (1, 1e-3)


def test_an_epoch_without_a_score_is_never_better_than_one_with():
    nan, config = float("nan"), Config(monitor="jaccard")
    for scores, best in (((nan,), 1), ((nan, 0.0), 2), ((0.0, nan), 1), ((nan, nan), 1)):
        assert decisions.decide([{"validation_jaccard": score} for score in scores], config).best_epoch == best
