"""The look of figures."""

import io

import matplotlib
from matplotlib.figure import Figure

from sharp_unet_jax import palette
from sharp_unet_jax.report import style
from sharp_unet_jax.report.records import Kernel, Model

PLAIN = Model("one", "unet", "plain", None)
SHARP = PLAIN._replace(skip="sharp", kernel=Kernel("laplacian", "zero", 0.0, 8.485))


def test_a_line_is_solid_for_sharp_skips_and_dashed_for_plain_ones_whatever_the_name():
    looks = style.lines({"sharp_a": PLAIN, "b": SHARP})
    assert [look["linestyle"] for look in looks.values()] == [style.DASHED, style.SOLID]
    assert [look["color"] for look in looks.values()] == list(palette.MODELS[:2])


def test_more_models_than_colours_are_told_apart_by_their_lines():
    looks = style.lines({str(number): PLAIN for number in range(9)})
    assert len({str(look) for look in looks.values()}) == 9
    assert looks["7"] == {"color": looks["0"]["color"], "linestyle": style.DOTTED}


def test_a_name_with_dollar_signs_is_no_formula():
    """Matplotlib would raise an error for one that it cannot read; folders and classes may have such names."""
    with matplotlib.rc_context(style.RC):
        figure = Figure()
        figure.suptitle("a$b^$")
        figure.savefig(io.BytesIO(), format="svg")
