"""Choices on inner validation images: each fold on its own, and all folds together. No test image is read here."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharp_unet_jax.choosing import gains, networks, rules
from sharp_unet_jax.choosing.scores import Part, Pool
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.storage.contents import Gain

Cell = tuple[int, int]  # repeat, fold


class Decided(NamedTuple):
    """Networks whose mean predicts, and the rule of their masks."""

    networks: tuple[str, ...]
    rule: Rule


class Taken(NamedTuple):
    """A choice, before it is scored on test images."""

    of_all: Decided  # of all folds together
    gain: Gain  # of it, on the images that it was taken on
    folds: dict[Cell, Decided]  # of each fold on its own
    without: dict[Cell, Decided]  # what the choice of each fold is compared with


def of_network(name: str, parts: Mapping[Cell, Part], plain: Rule) -> Taken:
    """Return the choice of the rule of a network, compared with `plain`; `parts` are folds that it has finished."""
    before = Decided((name,), plain)
    folds = {cell: Decided((name,), _rule(Pool([part]), (name,), plain)) for cell, part in parts.items()}
    pool = Pool(list(parts.values()))
    of_all = Decided((name,), _rule(pool, (name,), plain))
    return Taken(of_all, _gain(pool, of_all, before), folds, dict.fromkeys(parts, before))


def of_networks(alone: Mapping[str, Taken], parts: Mapping[Cell, Part], plain: Rule) -> Taken:
    """Return the choice of the networks to average, by the rule `plain`, and then of the rule of their mean.

    It is compared with the best network, by the rule that this network has chosen.

    Args:
        alone: the choice of each network on its own.
        parts: folds that all networks have finished.
        plain: the threshold of the config.
    """
    folds, without = {}, {}
    for cell, part in parts.items():
        own = {name: taken.folds[cell] for name, taken in alone.items()}
        folds[cell], without[cell] = _networks(Pool([part]), own, plain)
    pool = Pool(list(parts.values()))
    of_all, best = _networks(pool, {name: taken.of_all for name, taken in alone.items()}, plain)
    return Taken(of_all, _gain(pool, of_all, best), folds, without)


def _networks(pool: Pool, alone: Mapping[str, Decided], plain: Rule) -> tuple[Decided, Decided]:
    """Return the choice of networks and rule, and that of the best network on its own."""

    def scores(of: tuple[str, ...]) -> NDArray[np.float64]:
        return pool.scores(of, [plain])[0]

    names = list(alone)
    best = alone[networks.best(names, scores)]
    found = networks.search(names, scores, pool.groups)
    return (best if len(found) == 1 else Decided(found, _rule(pool, found, plain))), best


def _rule(pool: Pool, of: tuple[str, ...], plain: Rule) -> Rule:
    return rules.search(
        plain, rules.ladder(pool.masks), pool.binary, lambda candidates: pool.scores(of, candidates), pool.groups
    )


def _gain(pool: Pool, decided: Decided, before: Decided) -> Gain:
    (after,), (without,) = (pool.scores(each.networks, [each.rule]) for each in (decided, before))
    return gains.over_images(after, without, pool.groups, len(pool.parts))
