"""The lines of SciPy in a model card that clean masks as `cleaning.clean` does: exported files hold no such loops."""

from sharp_unet_jax.config import Data
from sharp_unet_jax.data.resize import resized, resolution
from sharp_unet_jax.decision import Rule

_FILL = """
def fill(mask):  # background inside a class becomes that class; inside several, the nearest one
    filled, smallest = mask.copy(), np.full(mask.shape, mask.size)
    for label in range(1, {classes}):
        regions, _ = ndimage.label(mask != label)
        sizes = np.bincount(regions.ravel())
        for outside in (0, regions[0], regions[-1], regions[:, 0], regions[:, -1]):
            sizes[outside] = mask.size
        inside = (mask == 0) & (sizes[regions] < smallest)
        filled[inside], smallest[inside] = label, sizes[regions][inside]
    return filled

"""

_DROP = """
def drop(mask):  # pieces of a class that are too small, or not its largest, become background
{pixels}    kept = mask.copy()
    for label in range(1, {classes}):
        pieces, number = ndimage.label(mask == label, np.ones((3, 3)))
        sizes = np.bincount(pieces.ravel(), minlength=number + 1)
        sizes[0] = 0
        dropped = {dropped}
        dropped[0] = False
        kept[dropped[pieces]] = 0
    return kept

"""


def section(rule: Rule, classes: int, data: Data) -> str:
    """Return the part of a model card that turns `mask` into that of `rule`; "" where the threshold is all of it.

    Args:
        rule: that of the masks.
        classes: number of classes with the background.
        data: how the runs see images. Of runs on crops `mask` is that of an image, (h, w), else of several, (N, h, w).
    """
    if not rule.cleans:
        return ""
    wanted = [f"(sizes < {rule.smallest} * pixels)"] * bool(rule.smallest)
    wanted += ["(np.arange(number + 1) != sizes.argmax())"] * rule.largest
    code, call = "", "{}"
    if rule.fill and classes > 2:
        code, call = _FILL.format(classes=classes), "fill({})"
    elif rule.fill:
        call = "ndimage.binary_fill_holes({}).astype(np.uint8)"
    if wanted:
        pixels = _pixels(data) if rule.smallest else ""
        code += _DROP.format(classes=classes, pixels=pixels, dropped=" | ".join(wanted))
        again = rule.fill and classes > 2  # a piece that went may leave a hole in another class
        call = call.format("drop(fill({}))") if again else f"drop({call})"
    if data.fit == "crop":
        last = f"mask = {call.format('mask.astype(np.uint8)')}"
    else:
        last = f"mask = np.stack([{call.format('one')} for one in np.asarray(mask)])"
    return (
        "\nThe file knows only the threshold. The rest of the rule of masks, for `mask` as above:\n\n"
        f"```python\nimport numpy as np\nfrom scipy import ndimage\n\n{code}\n{last}\n```\n"
    )


def _pixels(data: Data) -> str:
    """Return the lines that set `pixels`, those of the mask to one at the resolution of training."""
    height, width = data.size
    if data.fit == "crop":
        more = ": more if you resized it" if resized(data) else ""
        return f"    pixels = 1  # of the mask to one at {resolution(data)}{more}\n"
    inside = f"{height} * {width}"
    if data.fit == "letterbox":
        sides = f"round(min({height}, h * {width} / w))", f"round(min({width}, w * {height} / h))"
        inside = " * ".join(f"max(1, {side})" for side in sides)
    return f"    h, w = mask.shape\n    pixels = h * w / ({inside})  # of the mask to one that the network sees\n"
