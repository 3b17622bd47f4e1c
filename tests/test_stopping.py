"""When a run ends, and which schedules let it go on: compared with the training's own rules."""

import typing

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sharp_unet_jax import stopping
from sharp_unet_jax.config import Config
from sharp_unet_jax.training import decisions, schedule, train

SCHEDULES = typing.get_args(typing.get_type_hints(Config)["schedule"])
EPOCHS = st.integers(1, 8)


@given(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=12, max_size=12), EPOCHS, EPOCHS, st.integers(1, 4))
def test_a_run_goes_on_if_and_only_if_a_larger_number_gives_it_more_epochs(losses, few, more, patience):
    few, more = sorted((few, more))

    def end(epochs):
        """Return the progress at the end of a run, which stops as Keras's EarlyStopping does."""
        config, progress = Config(epochs=epochs, patience=patience), train.Progress(None, {}, [], 0, 0.1)
        while not progress.over(config):
            rows = [*progress.rows, {"validation_loss": losses[len(progress.rows)]}]
            progress = train.Progress(None, {}, rows, *decisions.decide(rows, config))
        return progress

    short, long = end(few), end(more)
    assert len(short.rows) <= few
    capped = stopping.capped(len(short.rows), short.best_epoch, patience, few)
    assert (len(long.rows) > len(short.rows)) == (capped and more > few)


@given(EPOCHS, EPOCHS, st.sampled_from([0.0, 0.3]))
def test_schedules_that_let_a_run_go_on_have_the_same_learning_rates(few, more, warmup):
    for name in SCHEDULES:
        rates = [
            np.concatenate([schedule.rates(Config(epochs=epochs, schedule=name, warmup=warmup), 0.1, epoch, 3)
                            for epoch in range(1, min(few, more) + 1)])
            for epochs in (few, more)
        ]  # fmt: skip
        same = np.array_equal(*rates)
        assert same if stopping.may_go_on(name) or few == more else not same
