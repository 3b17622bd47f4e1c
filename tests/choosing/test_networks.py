"""The search for networks to average."""

import itertools

import numpy as np
import pytest

from sharp_unet_jax.choosing import networks

GROUPS = [f"g{index}" for index in range(8)]


def scorer(seed):
    """Return random scores of the mean of networks, of each image."""
    rng, known = np.random.default_rng(seed), {}
    return lambda names: known.setdefault(names, 0.5 + 0.05 * len(names) + 0.2 * rng.random(len(GROUPS)))


@pytest.mark.parametrize("seed", range(5))
def test_every_mean_of_four_networks_is_tried(seed):
    scores, names = scorer(seed), list("abcd")
    found = networks.search(names, scores, GROUPS)
    every = [subset for n in range(1, 5) for subset in itertools.combinations(names, n)]
    highest = max(every, key=lambda subset: scores(subset).mean())
    assert found in (highest, (networks.best(names, scores),))
    assert networks.best(names, scores) == max(names, key=lambda name: scores((name,)).mean())


def additive(values):
    """Score each image by the sum of what its networks are worth, the same for all images but for a little."""
    return lambda names: np.array([sum(values[name] for name in names) + 0.001 * len(names) * k for k in range(8)])


def test_a_mean_is_kept_that_gains_on_all_images():
    assert networks.search(list("abc"), additive({"a": 0.1, "b": 0.3, "c": -0.2}), GROUPS) == ("a", "b")


def test_the_best_network_stays_alone_without_a_gain():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, 8)
    noise -= noise.mean()
    alone, together = np.full(8, 0.5), 0.51 + noise
    assert networks.search(list("ab"), lambda names: together if len(names) > 1 else alone, GROUPS) == ("a",)
    assert networks.search(list("ab"), lambda names: alone, GROUPS) == ("a",)


def test_more_than_four_networks_join_one_by_one():
    tried = []
    values = dict(zip("abcdef", (0.1, -0.1, 0.3, 0.0, 0.05, -0.2), strict=True))

    def scores(names):
        tried.append(names)
        return additive(values)(names)

    assert networks.search(list("abcdef"), scores, GROUPS) == ("a", "c", "d", "e")  # 0.001 each for the next two
    assert max(map(len, tried)) == 5  # no network is worth adding to four
    assert len(set(tried)) == 6 + 5 + 4 + 3 + 2


def test_images_without_a_score_are_left_out():
    def scores(names):
        each = additive({"a": 0.3, "b": 0.1})(names)
        each[0] = np.nan
        return each

    assert networks.search(list("ab"), scores, GROUPS) == ("a", "b")
    assert networks.search(list("ab"), lambda names: np.full(8, np.nan), GROUPS) == ("a",)
