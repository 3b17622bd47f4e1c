"""A choice.json made by hand, with the digests of a sweep's runs, for tests of what applies it."""

import json

from sharp_unet_jax.decision import Rule

GAIN = {"jaccard": 0.5, "gain": None, "low": None, "high": None, "images": 6, "groups": 3, "runs": 2}


def chosen(rule, networks, cells, by_fold=None):
    """Return the choice of `rule` for the mean of `networks`; `by_fold` has the rules of single folds, by name."""
    folds = {cell: (by_fold or {}).get(cell, rule) for cell in cells}
    return {
        "networks": list(networks),
        "rule": rule._asdict(),
        "validation": GAIN,
        "folds": {cell: {"networks": list(networks), "rule": one._asdict()} for cell, one in folds.items()},
        "test": GAIN,
    }


def write(workdir, rules, ensemble=None, by_fold=None):
    """Write choice.json for all finished runs in `workdir`.

    `rules` are by model, `ensemble` is a pair (networks, rule) or None, `by_fold` are the rules of single folds of all
    models, by "repeatR-foldF".
    """
    records = [json.loads(path.read_text()) for path in sorted(workdir.glob("runs/*/*/record.json"))]
    cells = sorted({record["run"].partition("/")[2] for record in records})
    choice = {
        "weights_sha256": {record["run"]: record["weights_sha256"] for record in records},
        "models": {model: chosen(Rule(*rule), [model], cells, by_fold) for model, rule in rules.items()},
        "ensemble": ensemble and chosen(Rule(*ensemble[1]), ensemble[0], cells),
    }
    (workdir / "choice.json").write_text(json.dumps(choice))
    return choice
