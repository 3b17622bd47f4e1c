"""Runs that predict together."""

import dataclasses

import pytest

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference.ensemble import Ensemble
from tests.inference.test_export import fresh_run


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize(("field", "value"), [("skip_kernel", "unsharp"), ("precision", "bfloat16"), ("data.fit", "")])
def test_runs_of_other_settings_have_no_mean(field, value):
    one = fresh_run()
    name, given = field.partition(".")[0], value or dataclasses.replace(one.config.data, fit="letterbox")
    other = dataclasses.replace(one, config=dataclasses.replace(one.config, **{name: given}))
    assert Ensemble((one, one)).runs == (one, one)
    with pytest.raises(InputError, match=f"differ in {field}, and have no mean: load runs of one sweep"):
        Ensemble((one, other))
    with pytest.raises(InputError, match="at least one run"):
        Ensemble(())
