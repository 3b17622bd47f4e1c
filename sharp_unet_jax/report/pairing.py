"""Which models of a sweep stand side by side, and what they are called where there is little room."""

from sharp_unet_jax.report import statistics
from sharp_unet_jax.report.records import Sweep


def families(sweep: Sweep) -> list[list[str]]:
    """Models with finished runs, as the config orders them: a plain one with all its sharp twins, others alone."""
    models = statistics.models(sweep)
    made: dict[str, list[str]] = {}
    for model in models:
        plain = statistics.plain(model)
        made.setdefault(plain if plain in models else model, []).append(model)
    return [sorted(family, key=lambda model: model != plain) for plain, family in made.items()]


def sides(sweep: Sweep) -> list[list[str]]:
    """What a panel shows: a plain model and one of its sharp twins, or a model that has none."""
    return [
        side
        for family in families(sweep)
        for side in ([[family[0], twin] for twin in family[1:]] if len(family) > 1 else [family])
    ]


def has_kernels(sweep: Sweep) -> bool:
    """Whether it compares kernels of the sharp block, as `sharp_unet+scaled`."""
    return sum("+" in model for model in statistics.models(sweep)) > 1


def shown(sweep: Sweep) -> dict[str, str]:
    """Of each model with finished runs its name on axes: "scaled" for "sharp_unet+scaled" where kernels are compared
    in one network, else the name itself."""
    models = statistics.models(sweep)
    one = len({model.partition("+")[0] for model in models if "+" in model}) == 1 and has_kernels(sweep)
    return {model: kernel(model) if one and "+" in model else model for model in models}


def reference(sweep: Sweep) -> str:
    """The model that kernels are compared with: the paper's Laplacian, or else the first."""
    kernels = [model for model in statistics.models(sweep) if "+" in model]
    return "sharp_unet+laplacian" if "sharp_unet+laplacian" in kernels else kernels[0]


def kernel(model: str) -> str:
    """ "laplacian of gaussian, reflect" for "sharp_unet+laplacian_of_gaussian+reflect"."""
    return model.partition("+")[2].replace("+", ", ").replace("_", " ")


def published(model: str) -> str:
    """The name the paper's tables have for it: "sharp_unet" for "sharp_unet+laplacian", which is the same network."""
    return model.removesuffix("+laplacian")
