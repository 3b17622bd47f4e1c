"""Properties that all networks of related work share: equal twins, padding, three compilers, ONNX, Grad-CAM, memory.

The networks are narrow: they run the same code, and compile in seconds.
"""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sharp_unet_jax import models, ops
from sharp_unet_jax.advice import memory
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.inference import explain
from sharp_unet_jax.models import segmenter
from sharp_unet_jax.training import train
from tests.conftest import squares
from tests.inference.test_export import check_onnx, fresh_run
from tests.training.fits import ALL, CONFIG, make

# One line per network: its plain name, the arguments of its parts that make it narrow, and how often maps join.
RELATED = {
    "unetpp": ({"widths": (4, 6, 8)}, 3),
    "unetpp_deep": ({"widths": (4, 6, 8)}, 3),
    "multiresunet": ({"units": (12, 14, 18)}, 2),
    "attention_unet": ({"widths": (4, 4, 6, 6, 8), "ups": (4, 4, 6, 4), "gates": (4, 6, 8)}, 4),
    "kiunet": ({"widths": (3, 4, 5, 6)}, 4),
}
PLAIN = list(RELATED)
# One network that takes its time stands for the others where these are no special case.
ONE = [name if name == "unetpp" else pytest.param(name, marks=pytest.mark.slow) for name in PLAIN]
SHARP = [name for plain in PLAIN for name in (pytest.param(plain, marks=pytest.mark.slow), f"sharp_{plain}")]


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    for plain, (options, _) in RELATED.items():
        for name in (plain, f"sharp_{plain}"):
            network = models.MODELS[name]
            parts = functools.partial(network.parts, **options)
            monkeypatch.setitem(models.MODELS, name, network._replace(parts=parts))


def joins(name: str) -> int:
    return RELATED[name.removeprefix("sharp_")][1]


def picture(height=32, width=48):
    return jnp.asarray(np.random.default_rng(0).uniform(size=(2, height, width, 3)), jnp.float32)


def built(name, **options):
    return nnx.jit(lambda: models.build(name, rngs=nnx.Rngs(7), **options))()


def traced(function, *given):
    """Return the program of a function as text, which has names for its constants, and the constants."""
    program = jax.make_jaxpr(function)(*given)
    return str(program), [np.asarray(each).tolist() for each in program.consts]


@pytest.mark.parametrize("plain", ONE)
def test_twins_start_equal_and_differ_in_the_filter_alone(plain, monkeypatch):
    """Those that draw their weights, and without the filter those that use them, are the same programs as text."""
    builds = [lambda name=name: models.build(name, rngs=nnx.Rngs(7)) for name in (plain, f"sharp_{plain}")]
    drawn = [traced(lambda build=build: nnx.to_pure_dict(nnx.state(build()))) for build in builds]
    assert drawn[0] == drawn[1]
    twins = [nnx.eval_shape(build) for build in builds]

    def programs():
        return [traced(lambda model, x: model.outputs(x), model, picture()) for model in twins]

    ours, theirs = programs()
    assert ours != theirs
    monkeypatch.setattr(ops, "sharpen", lambda x, *_: x)
    monkeypatch.setattr(ops, "sharp_skip", lambda below, x, *_: jnp.concatenate([below, x], axis=-1))
    ours, theirs = programs()
    assert ours == theirs


class AllButOne(nnx.Module):
    """The sharp skips of a network, one of whose calls does not filter."""

    def __init__(self, skip, plain):
        self.skip, self.plain, self.calls = skip, plain, nnx.static([])

    def __call__(self, level, x, below, join=segmenter.concatenated):
        self.calls.append(level)
        return join(below, x) if len(self.calls) - 1 == self.plain else self.skip(level, x, below, join)


@pytest.mark.parametrize("plain", ONE)
def test_every_join_is_filtered_and_counts(plain):
    model, found = built(f"sharp_{plain}"), []
    for without in [None, *range(joins(plain))]:
        each = nnx.clone(model)
        each.skip = AllButOne(model.skip, without)
        found.append(jax.jit(lambda x, each=each: each.outputs(x)[-1])(picture()))
        assert len(each.skip.calls) == joins(plain)
    for without in found[1:]:
        assert np.abs(without - found[0]).max() > 1e-3


@pytest.mark.parametrize("plain", PLAIN)
def test_skips_get_the_encoders_map_of_their_level(plain):
    model = nnx.eval_shape(lambda: models.build(plain, rngs=nnx.Rngs(0)))
    shapes = [each.shape[1:] for each in jax.eval_shape(lambda model, x: model.encoder(x), model, picture(64, 96))]
    skipped = segmenter.skipped(model.encoder, model.decoder, (64, 96, 3))
    assert skipped == {level: shapes[level] for level in skipped}
    assert len(skipped) > 1


@pytest.mark.parametrize("size", [pytest.param((50, 70), marks=pytest.mark.slow), (17, 33)])
@pytest.mark.parametrize("name", SHARP)
def test_images_of_any_size_pass(name, size):
    model = nnx.eval_shape(lambda: models.build(name, num_classes=2, rngs=nnx.Rngs(7)))
    logits = jax.eval_shape(lambda model, x: model(x), model, picture(*size))
    assert (logits.shape, logits.dtype) == ((2, *size, 2), jnp.float32)


@pytest.mark.parametrize(
    "name", [name if name == "sharp_multiresunet" else pytest.param(name, marks=pytest.mark.slow) for name in SHARP]
)
def test_logits_of_odd_sizes_are_finite(name):
    assert np.isfinite(jax.jit(built(name))(picture(17, 33))).all()


@pytest.mark.parametrize("plain", PLAIN)
def test_the_decoder_names_the_layers_that_depend_on_the_classes(plain):
    """A run with other classes starts from all layers but these."""
    networks = [nnx.eval_shape(lambda n=n: models.build(plain, num_classes=n, rngs=nnx.Rngs(0))) for n in (1, 5)]
    one, five = (dict(nnx.to_flat_state(nnx.state(network))) for network in networks)
    changed = {".".join(map(str, path)) for path, leaf in one.items() if leaf.shape != five[path].shape}
    heads = tuple(f"decoder.{head}." for head in networks[0].decoder.heads)
    assert changed == {name for path in one if (name := ".".join(map(str, path))).startswith(heads)}
    assert len(changed) >= len(heads)


@pytest.mark.parametrize("plain", PLAIN)
@pytest.mark.slow
def test_padding_changes_neither_loss_nor_statistics_nor_the_step(plain):
    dataset, index = squares(), np.array([3, 5, 7])
    results = []
    for size in (3, 8):
        program = make(dataclasses.replace(CONFIG, batch_size=size), f"sharp_{plain}", dataset)
        batch = [array[0] for array in train.batches(index, size, size)]
        state, total = program.train_step(False, program.init(1), program.pairs, *batch, np.float32(1e-3))
        results.append(jax.device_get((state.stats, total, state.moments)))
    chex.assert_trees_all_close(*results, rtol=1e-3, atol=1e-6)
    assert np.isfinite(results[0][1])


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("plain", ONE)
def test_the_training_step_lowers_for_gpu_and_tpu(plain, precision):
    program = make(dataclasses.replace(CONFIG, precision=precision), f"sharp_{plain}", squares())
    batch = [array[0] for array in train.batches(ALL[:4], 4, 4)]
    state = jax.eval_shape(lambda: program.init(0))
    traced = program.train_step.trace(False, state, program.pairs, *batch, np.float32(1e-3))
    for platform in ("cuda", "tpu"):
        assert "stablehlo.convolution" in traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.filterwarnings("ignore")  # jax2onnx's own
@pytest.mark.parametrize("plain", ONE)
@pytest.mark.slow
def test_onnx_is_the_network(plain):
    """Three classes: onnxruntime refuses to normalise a single channel whose running mean is 0, as no run has it."""
    check_onnx([fresh_run(f"sharp_{plain}", num_classes=3, size=(32, 48))], (31, 17))


@pytest.mark.parametrize(
    "name", [pytest.param(f"sharp_{name}", marks=[] if name == "unetpp" else pytest.mark.slow) for name in PLAIN]
)
def test_grad_cam_has_a_map_at_each_join(name):
    run = fresh_run(name, size=(32, 48))
    image = np.uint8(255 * picture()[0])
    maps = explain.gradcam(run, image, 1, np.ones((32, 48), bool))
    assert maps.shape == (joins(name), 32, 48)
    assert np.isfinite(maps).all()
    assert len(explain.skips(run, image)) == joins(name)


@pytest.mark.parametrize("plain", ONE)
def test_the_memory_of_a_step_is_estimated(plain):
    one, two = (
        memory.need(Config(data=Data(size=size)), plain, channels=3, num_classes=1) for size in ((64, 64), (64, 128))
    )
    built = nnx.eval_shape(lambda: models.build(plain, rngs=nnx.Rngs(0)))
    assert one.state == two.state == 16 * sum(leaf.size for leaf in jax.tree.leaves(nnx.state(built, nnx.Param)))
    assert two.image == pytest.approx(2 * one.image, rel=0.05)
    assert one.multiple == built.stride
