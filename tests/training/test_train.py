"""A run: batches that cover every image, and the decisions of Keras's callbacks."""

import dataclasses
import types

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

import sharp_unet_jax
from sharp_unet_jax import metrics
from sharp_unet_jax.data.folds import Split
from sharp_unet_jax.storage import checkpoint
from sharp_unet_jax.training import epochs, network, step, train
from tests.conftest import squares
from tests.training.fits import ALL, CONFIG, make, run


@given(n=st.integers(1, 40), size=st.integers(1, 9), extra=st.integers(0, 3))
def test_batches_cover_every_index_once_in_order(n, size, extra):
    indices = np.arange(100, 100 + n)
    index, weight = train.batches(indices, size, size + extra)
    assert index.shape == weight.shape == (-(-n // size), size + extra)
    np.testing.assert_array_equal(index[weight > 0], indices)
    np.testing.assert_array_equal(weight.sum(axis=1), [size] * (n // size) + [n % size] * (n % size > 0))


@given(n=st.integers(1, 50), seed=st.integers(0, 2**32 - 1), epoch=st.integers(1, 200))
def test_shuffled_is_a_permutation(n, seed, epoch):
    indices = np.arange(n) * 3
    np.testing.assert_array_equal(np.sort(train.shuffled(indices, seed, epoch)), indices)


def test_shuffled_depends_on_seed_and_epoch_and_nothing_else():
    orders = [tuple(train.shuffled(ALL, seed, epoch).tolist()) for seed in (0, 1) for epoch in (1, 2)]
    assert len(set(orders)) == 4
    # A change here changes every published run.
    assert orders[0] == (7, 10, 4, 11, 5, 1, 9, 8, 6, 2, 0, 3)


def test_a_network_with_batch_normalisation_learns_and_predicts_as_it_was_scored(normed, dataset, tmp_path):
    config = dataclasses.replace(CONFIG, epochs=40, patience=40, plateau_patience=40, learning_rate=1e-2)
    program = make(config, normed, dataset)
    split = Split(ALL[:9], ALL[9:], ALL[9:])
    _, result = run(train.fit(program, split, config, binary=True, seed=0))
    assert result.rows[result.best_epoch - 1]["test_jaccard"] > 0.7
    checkpoint.save(tmp_path / "c", {"params": result.params, "stats": result.stats})
    segmenter = sharp_unet_jax.build(normed, rngs=nnx.Rngs(5), weights=str(tmp_path / "c"))
    for index, counts in zip(split.test, result.counts, strict=True):  # one image at a time, from the saved weights
        logits = segmenter(jnp.asarray(dataset.images[index : index + 1], jnp.float32) / 255)
        np.testing.assert_array_equal(
            network.counts(logits, jnp.asarray(dataset.masks[index : index + 1]), 0.5)[0], counts
        )


def test_the_encoder_is_frozen_for_as_many_epochs_as_asked(normed, dataset, monkeypatch):
    config = dataclasses.replace(CONFIG, frozen_epochs=2, epochs=3)
    program = make(config, normed, dataset)
    used, original = [], epochs.Program.train

    def spy(self, state, index, weight, learning_rate, frozen, draw):
        used.append(frozen)
        return original(self, state, index, weight, learning_rate, frozen, draw)

    monkeypatch.setattr(epochs.Program, "train", spy)
    run(train.fit(program, Split(ALL[:4], ALL[8:], ALL[8:]), config, binary=True, seed=0))
    assert used == [True, True, False]


@pytest.mark.parametrize(
    ("classes", "channels", "precision"),
    [pytest.param(2, 3, "float32", marks=pytest.mark.slow), (3, 1, "float32"), (2, 3, "bfloat16")],
)
def test_a_network_learns(tiny_models, classes, channels, precision):
    dataset = squares(classes=classes, channels=channels)
    changes = {"epochs": 60, "patience": 60, "plateau_patience": 60, "learning_rate": 1e-2, "precision": precision}
    config = dataclasses.replace(CONFIG, **changes)
    program = make(config, "sharp_unet", dataset)
    split = Split(ALL[:9], ALL[9:], ALL[9:])
    epochs, result = run(train.fit(program, split, config, binary=classes == 2, seed=0))
    assert result.rows == [epoch.row for epoch in epochs]
    frequency = np.bincount(dataset.masks.ravel()) / dataset.masks.size
    constant = -(frequency * np.log(frequency)).sum()  # the lowest loss of a prediction that ignores the image
    assert result.rows[-1]["train_loss"] < 0.75 * constant
    assert max(row["test_jaccard"] for row in result.rows) > 0.8
    assert result.counts.shape == (3, classes, 3)


def test_the_same_seed_gives_the_same_bits(program):
    split = Split(ALL[:8], ALL[8:10], ALL[10:])
    (_, one), (_, two), (_, other) = (run(train.fit(program, split, CONFIG, binary=True, seed=s)) for s in (5, 5, 6))
    chex.assert_trees_all_equal(one.params, two.params)
    assert one.rows == two.rows
    assert one.rows != other.rows


def test_ignored_pixels_are_neither_trained_on_nor_scored(tiny_models, dataset):
    """Letterbox padding is labelled so."""
    masks = dataset.masks.copy()
    masks[:, :4] = metrics.IGNORE
    boxed = dataclasses.replace(dataset, masks=masks)
    split = Split(ALL[:8], ALL[8:], ALL[8:])
    _, result = run(train.fit(make(CONFIG, "unet", boxed), split, CONFIG, binary=True, seed=0))
    assert (result.counts[..., 1].sum(axis=-1) == 12 * 24).all()
    assert (result.counts[..., 2].sum(axis=-1) == 12 * 24).all()
    weight = np.ones(4, np.float32)
    steps = []
    for data in (boxed, dataset):
        program = make(CONFIG, "unet", data)
        steps.append(
            float(program.train_step(False, program.init(0), program.pairs, ALL[:4], weight, np.float32(0))[1])
        )
    assert steps[0] != steps[1]  # with labels those pixels count


def test_the_kept_weights_are_those_of_the_best_epoch(program):
    """Later steps reuse the memory of earlier states; the kept weights must not be in it."""
    config = dataclasses.replace(CONFIG, epochs=8, learning_rate=0.3, patience=8)
    split = Split(ALL[:8], ALL[8:], ALL[8:])
    _, result = run(train.fit(program, split, config, binary=True, seed=1))
    assert result.best_epoch < len(result.rows)
    state = program.init(0)._replace(params=result.params, stats=result.stats)
    loss, counts = train.evaluate(program, state, split.test)
    assert loss.mean() == pytest.approx(result.rows[result.best_epoch - 1]["test_loss"], rel=1e-6)
    np.testing.assert_array_equal(counts, result.counts)


def test_the_soft_jaccard_of_the_validation_images_is_in_every_row_if_it_decides(tiny_models, dataset):
    config = dataclasses.replace(CONFIG, monitor="soft_jaccard", epochs=4, learning_rate=3e-2)
    program, split = make(config, "unet", dataset), Split(ALL[:6], ALL[6:9], ALL[9:])
    _, result = run(train.fit(program, split, config, binary=True, seed=0))
    scores = [row["validation_soft_jaccard"] for row in result.rows]
    assert result.best_epoch == 1 + int(np.argmax(scores))
    state = program.init(0)._replace(params=result.params, stats=result.stats)
    assert max(scores) == pytest.approx(metrics.soft_jaccard(train.evaluate(program, state, split.validation)[2], 4))


def scripted(validation_losses):
    """Return a program with the given validation losses, whose parameters are the number of epochs, and its rates."""
    script = iter(validation_losses)
    rates = []

    def epoch(state, index, weight, learning_rate, frozen, draw):
        rates.extend(learning_rate)  # one step per epoch
        return state._replace(params=state.params + 1), np.ones(len(index))

    def evaluate(state, index):
        losses = np.full(index.shape, next(script), np.float32)
        return losses, np.tile(np.array([[1, 1, 1], [1, 2, 2]]), (*index.shape, 1, 1))

    init = lambda seed: step.State(np.zeros(()), {}, ())  # noqa: E731
    program = types.SimpleNamespace(
        init=init, train=epoch, evaluate=evaluate, batch_size=4, eval_batch_size=4, dataset=None
    )
    return program, rates


def fit_scripted(validation_losses, **changes):
    program, rates = scripted(validation_losses)
    test = np.array([3, 4])
    config = dataclasses.replace(CONFIG, **changes)
    return *run(train.fit(program, Split(np.arange(3), test, test), config, binary=True, seed=0)), rates


def test_stopping_keeps_the_weights_of_the_lowest_validation_loss():
    _, result, _ = fit_scripted([3, 1, 2, 2, 2, 0], epochs=10, patience=3, plateau_patience=9)
    assert (result.best_epoch, len(result.rows), int(result.params)) == (2, 5, 2)


def test_an_equal_loss_is_no_improvement():
    _, result, _ = fit_scripted([1, 1, 1, 0], epochs=10, patience=2, plateau_patience=9)
    assert (result.best_epoch, len(result.rows)) == (1, 3)


def test_a_run_ends_with_its_epochs():
    _, result, _ = fit_scripted([3, 2, 1], epochs=3)
    assert (result.best_epoch, len(result.rows)) == (3, 3)


def test_the_learning_rate_drops_on_a_plateau_and_waits_again():
    _, _, rates = fit_scripted([1, 2, 2, 2, 2, 2, 2], epochs=7, patience=9, plateau_patience=2, plateau_factor=0.1)
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5], rtol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_validation_loss_that_is_no_number_ends_the_run(bad):
    with pytest.raises(train.DivergedError, match="validation loss became NaN or infinite in epoch 2") as raised:
        fit_scripted([1, bad], epochs=5)
    assert raised.value.epoch == 2


def test_a_training_loss_that_is_no_number_ends_the_run(program):
    split = Split(ALL[:8], ALL[8:], ALL[8:])
    config = dataclasses.replace(CONFIG, learning_rate=1e30, epochs=9)
    with pytest.raises(train.DivergedError, match="the training loss became NaN or infinite in epoch"):
        run(train.fit(program, split, config, binary=True, seed=0))
