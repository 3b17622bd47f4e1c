"""Changes of a command line's `--config.FIELD=VALUE`, a line each."""

import typing
from pathlib import Path

import numpy as np

from sharp_unet_jax.config import Augment, Config, Data
from tests.fuzz.mutators.content import ELSEWHERE, Mutator, pick

FIELDS = (
    *(name for name in typing.get_type_hints(Config) if name not in ("data", "augment")),
    *(f"data.{name}" for name in typing.get_type_hints(Data)),
    *(f"augment.{name}" for name in typing.get_type_hints(Augment)),
)
VALUES = (
    "0", "1", "2", "-1", "0.5", "1.0000001", "1e308", "-1e308", "1e-320", "1e400", "nan", "-inf", "inf", "0x10",
    "1_000", "٣", "true", "True", "none", "None", "x", "9223372036854775807", "9223372036854775808", "99999999999",
    "unet", "sharp_unet,unet", "unet,unet", "../../escaped", "gs://x", "file:///x", "~nobody", "{", "{}", "{[1]:1}",
    "{1:2}", "{'dice':nan}", "{'dice':1e308,'cross_entropy':1e308}", "{'dice':-1}", "{'dice':True}", "{'dice':'1'}",
    "{'dice':1j}", "{'dice':10**9}", "()", ",", "16,16", "16", "16,16,16", "-16,16", "99999999999,16", "100000,100000",
    "a,b", "16,1e3", "é", "=cmd|x", "phantom", "phantom/large", "phantom/x", "folder", "imagenet", "/dev/zero",
    "/dev/null", ".",
    "", " ", "\n", "\x1b[31m", "\udcff", "9" * 5000, "x" * 5000, "(" * 3000, "{" * 300, str(ELSEWHERE),
)  # fmt: skip
STRANGE = (
    "--config.", "--config.=", "--config..=1", "--config.data=1", "--config.data.=1", "--config.seed.x=1",
    "--config.seed", "--config", "--x", "-", "--", "x", "--config.data.size", "--config.DATA.size=1,1",
    "--config.__class__=1", "",
)  # fmt: skip


def override(path: Path, random: np.random.Generator) -> None:
    """Set one field or two to values that their users may not have thought of."""
    lines = [f"--config.{pick(random, FIELDS)}={pick(random, VALUES)}" for _ in range(pick(random, [1, 1, 1, 2]))]
    path.write_text("\0".join(lines), encoding="utf-8", errors="surrogateescape")


def strange(path: Path, random: np.random.Generator) -> None:
    """Give an argument that is none."""
    path.write_text(pick(random, STRANGE), encoding="utf-8")


ARGUMENTS: tuple[Mutator, ...] = (*(override,) * 9, strange)
