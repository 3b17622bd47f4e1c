"""The pairing of a sweep's models for comparison, and their short names for figures.

Both follow from a model's network, skip and kernel in the records; a model's name is never parsed.
"""

from collections.abc import Sequence
from itertools import combinations

from sharp_unet_jax.report.records import Kernel, Sweep

PAPER_KERNEL = ("laplacian", "zero")  # name and padding of the kernel in the paper's sharp blocks


def plain_twin(sweep: Sweep, model: str) -> str | None:
    """Return the plain model of a sharp model's network; None for a plain model, or where the sweep has no such one."""
    if sweep.models[model].skip == "plain":
        return None
    of_network = (other for other, each in sweep.models.items() if each.network == sweep.models[model].network)
    return next((other for other in of_network if sweep.models[other].skip == "plain"), None)


def families(sweep: Sweep) -> list[list[str]]:
    """Return the models in the config's order: a plain model first with all its sharp twins, any other on its own."""
    members: dict[str, list[str]] = {}
    for model in sweep.models:
        members.setdefault(plain_twin(sweep, model) or model, []).append(model)
    return [sorted(family, key=lambda model: model != first) for first, family in members.items()]


def panels(sweep: Sweep) -> list[list[str]]:
    """Return the models of each panel of a figure: a plain model and one sharp twin, or one model without twins."""
    return [
        panel
        for family in families(sweep)
        for panel in ([[family[0], twin] for twin in family[1:]] if len(family) > 1 else [family])
    ]


def pairs(sweep: Sweep, models: Sequence[str]) -> list[tuple[str, str]]:
    """Return every two of `models`, a sharp model before its plain twin, else in the order given."""
    return [(b, a) if plain_twin(sweep, b) == a else (a, b) for a, b in combinations(models, 2)]


def twins(sweep: Sweep) -> list[tuple[str, str]]:
    """Return every sharp model and its plain twin."""
    return [(first, second) for first, second in pairs(sweep, list(sweep.models)) if plain_twin(sweep, first) == second]


def one_a_network(sweep: Sweep) -> list[tuple[str, str]]:
    """Return `twins` where there are several networks and each has a single sharp twin, else []."""
    pairs = twins(sweep)
    return pairs if 1 < len(pairs) == len({plain for _, plain in pairs}) else []


def twin_names(sweep: Sweep) -> dict[tuple[str, str], str]:
    """Return the name of each of `twins`: its plain model's where that and one kernel say it all, else both models'."""
    pairs, kernels = twins(sweep), {model.kernel for model in sweep.models.values() if model.kernel}
    clear = len(kernels) == 1 and len({plain for _, plain in pairs}) == len(pairs)
    return {(sharp, plain): plain if clear else f"{sharp} minus {plain}" for sharp, plain in pairs}


def kernel_variants(sweep: Sweep) -> list[str]:
    """Return the sharp models of the first network whose sharp models differ in kernel; [] if none does."""
    of_network: dict[str, dict[str, Kernel]] = {}
    for name, model in sweep.models.items():
        if model.kernel:
            of_network.setdefault(model.network, {})[name] = model.kernel
    return next((list(kernels) for kernels in of_network.values() if len(set(kernels.values())) > 1), [])


def reference_kernel(sweep: Sweep) -> str:
    """Return the model that the other kernels are compared with: the one with the paper's kernel, else the first."""
    variants = kernel_variants(sweep)
    return next((model for model in variants if has_paper_kernel(sweep, model)), variants[0])


def has_paper_kernel(sweep: Sweep, model: str) -> bool:
    """Return whether a model's sharp blocks are the paper's; True for a plain model, which has none."""
    kernel = sweep.models[model].kernel
    return kernel is None or (kernel.name, kernel.padding) == PAPER_KERNEL


def kernel_name(kernel: Kernel) -> str:
    """Return a kernel's name for reading, such as "laplacian of gaussian, reflect"; zero padding goes unsaid."""
    name = kernel.name.replace("_", " ")
    return name if kernel.padding == "zero" else f"{name}, {kernel.padding}"


def short_names(sweep: Sweep) -> dict[str, str]:
    """Return each model's name on axes: the kernel's where kernels are compared and it is unique, else the model's."""
    kernels = {name: sweep.models[name].kernel for name in kernel_variants(sweep)}
    names = {model: kernel_name(kernel) for model, kernel in kernels.items() if kernel}
    unique = {model for model, name in names.items() if list(names.values()).count(name) == 1}
    return {model: names[model] if model in unique else model for model in sweep.models}
