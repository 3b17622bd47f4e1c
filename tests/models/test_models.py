"""Networks: parameter counts of the paper, equal twins, images of any size, and the interface of encoders."""

import functools
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sharp_unet_jax import models, ops
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.models import segmenter
from sharp_unet_jax.models.resnet import Basic

PARAMETERS = {
    "unet": 7_760_097,
    "wide_unet": 9_131_106,
    "ternausnet16": 23_748_241,
    "unet_resnet50": 32_521_105,
}
PARAMETERS |= {
    "sharp_unet": PARAMETERS["unet"],
    "wide_sharp_unet": PARAMETERS["wide_unet"],
    "sharp_ternausnet16": PARAMETERS["ternausnet16"],
    "sharp_unet_resnet50": PARAMETERS["unet_resnet50"],
}


def abstract(name, **options):
    return built_once(name, models.MODELS[name], **options)


@functools.cache
def built_once(name, network, **options):
    """Return the shapes of a network, which tests only read; some tests give its name to another `network`."""
    return nnx.eval_shape(lambda: models.build(name, rngs=nnx.Rngs(0), **options))


def picture(height=16, width=24):
    return jnp.asarray(np.random.default_rng(0).uniform(size=(1, height, width, 3)), jnp.float32)


def parameters(model) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_are_the_papers(name):
    assert parameters(abstract(name)) == PARAMETERS[name]


# Counts are torchvision's, less those of the classifiers.
@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("ternausnet16", 14_714_688),
        ("ternausnet19", 20_024_384),
        ("unet_resnet18", 11_689_512 - 513_000),
        ("unet_resnet34", 21_797_672 - 513_000),
        ("unet_resnet50", 25_557_032 - 2_049_000),
    ],
)
def test_encoders_have_torchvisions_parameter_counts(name, encoder):
    assert parameters(abstract(name).encoder) == encoder


@pytest.mark.parametrize("name", [name for name in models.MODELS if "sharp" in name and "learnable" not in name])
def test_every_network_has_a_sharp_twin_of_its_size(name):
    plain = name.partition("+")[0].replace("sharp_", "")
    assert parameters(abstract(name)) == parameters(abstract(plain))


@pytest.mark.parametrize("name", models.MODELS)
def test_the_registry_says_what_a_name_means(name):
    """Names follow a rule, which nothing in the library may know."""
    found, (base, *filtered) = models.describe(name, skip_kernel="unsharp", skip_padding="reflect"), name.split("+")
    assert found["network"] == base.replace("sharp_", "")
    assert found["skip"] == ("sharp" if "sharp" in base else "plain")
    assert models.MODELS[found["network"]].skip == "plain"
    assert models.describe(found["network"])["encoder"] == found["encoder"]
    if filtered:
        kernel, padding = filtered[0], "reflect" if "reflect" in filtered else "zero"
    else:
        kernel, padding = "unsharp", "reflect"
    if "sharp" not in base:
        assert found["kernel"] is None
    else:
        assert (found["kernel"]["name"], found["kernel"]["padding"]) == (kernel, padding)


@pytest.mark.parametrize(
    ("kernel", "total", "scale"),
    [("laplacian", 0, 72**0.5), ("unsharp", 1, 29**0.5), ("random", 0, 8.44985), ("learnable", 0, 72**0.5)],
)
def test_a_kernel_is_described_by_its_sum_and_scale(kernel, total, scale):
    found = models.describe("sharp_unet", skip_kernel=kernel)["kernel"]
    assert json.dumps(found["sum"]) == json.dumps(float(total))  # neither -0.0 nor 1e-8
    assert found["scale"] == pytest.approx(scale, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "side", "kernel", "padding", "fits"),
    [
        ("sharp_unet", 16, "laplacian_of_gaussian", "reflect", False),  # 2 pixels at stride 8, 5x5 reflects 2
        ("sharp_unet", 17, "laplacian_of_gaussian", "reflect", True),
        ("sharp_unet", 16, "laplacian", "reflect", True),
        ("sharp_unet", 16, "laplacian_of_gaussian", "zero", True),
        ("unet", 16, "laplacian_of_gaussian", "reflect", True),
        ("sharp_unet+laplacian_of_gaussian+reflect", 16, "laplacian", "zero", False),
        ("sharp_unet_resnet18", 32, "laplacian_of_gaussian", "reflect", False),  # stride 16
    ],
)
def test_images_too_small_to_reflect_are_refused_before_training(name, side, kernel, padding, fits):
    """An image that the check accepts runs through the network."""
    options = {"skip_kernel": kernel, "skip_padding": padding}
    if fits:
        models.check_size(name, (side, 64), kernel, padding)
        x = jax.ShapeDtypeStruct((1, side, 64, 3), jnp.float32)
        jax.eval_shape(lambda m, x: m(x), abstract(name, **options), x)
    else:
        with pytest.raises(InputError, match=f"at {side}x64 pixels the coarsest sharp block .* sees 2 pixels, too few"):
            models.check_size(name, (side, 64), kernel, padding)


@pytest.mark.parametrize("name", ["sharp_unet", "sharp_ternausnet16", "sharp_unet_resnet18", "sharp_unet_resnet50"])
@pytest.mark.parametrize(
    ("height", "width"),
    [(33, 47), (1, 1), *(pytest.param(*size, marks=pytest.mark.slow) for size in ((32, 64), (16, 16), (17, 100)))],
)
def test_logits_have_the_images_size(name, height, width):
    model = abstract(name, num_classes=4, in_channels=1)
    logits = jax.eval_shape(lambda m, x: m(x), model, jax.ShapeDtypeStruct((2, height, width, 1), jnp.float32))
    assert (logits.shape, logits.dtype) == ((2, height, width, 4), jnp.float32)


@pytest.mark.usefixtures("tiny_models")
def test_padding_repeats_the_edge_and_is_cropped():
    model = models.build("sharp_unet", rngs=nnx.Rngs(0))
    image = picture(15, 21)
    padded = jnp.pad(image, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")
    np.testing.assert_allclose(model(image), model(padded)[:, :15, :21], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["unet", "ternausnet16", "ternausnet19", "unet_resnet18", "unet_resnet50"])
def test_encoders_have_the_stride_and_widths_that_they_declare(name):
    model = abstract(name)
    maps = jax.eval_shape(lambda m, x: m.encoder(x), model, jax.ShapeDtypeStruct((2, 64, 96, 3), jnp.float32))
    finest = {"unet": 1}.get(name, 2)
    strides = [finest * 2**level for level in range(5)]
    assert model.stride == strides[-1]
    pairs = zip(strides, model.encoder.widths, strict=True)
    assert [m.shape for m in maps] == [(2, 64 // stride, 96 // stride, width) for stride, width in pairs]
    skipped = segmenter.skipped(model.encoder, model.decoder, (64, 96, 3))
    assert skipped == {level: m.shape[1:] for level, m in enumerate(maps[:-1])}


@pytest.mark.usefixtures("tiny_models")
def test_images_are_normalised_before_the_first_convolution():
    model = models.build("unet", rngs=nnx.Rngs(0))
    image, mean, std = picture(), jnp.array([0.4, 0.5, 0.1]), jnp.array([0.2, 0.3, 0.7])
    normalised = (image - mean.reshape(1, 1, 1, 3)) / std.reshape(1, 1, 1, 3)
    expected = model(normalised)
    model.mean[...], model.std[...] = mean, std
    np.testing.assert_allclose(model(image), expected, rtol=1e-5, atol=1e-6)


@pytest.fixture
def short_resnets(monkeypatch):
    """Give ResNet-18 one block per stage: the same code compiles in half the time."""
    for name in ("unet_resnet18", "sharp_unet_resnet18"):
        short = models.MODELS[name]._replace(parts=models._resnet(Basic, (1, 1, 1, 1)))
        monkeypatch.setitem(models.MODELS, name, short)


@pytest.mark.usefixtures("short_resnets")
def test_training_moves_running_statistics_but_not_those_of_a_frozen_encoder():
    model = models.build("unet_resnet18", rngs=nnx.Rngs(0))

    @nnx.jit
    def step(model, image):
        model(image, jnp.ones(1), freeze_encoder=True)

    def moved(part):
        return [bool(leaf.any()) for leaf in jax.tree.leaves(nnx.state(part, lambda path, _: path[-1] == "mean"))]

    assert not any(moved(model))
    step(model, picture(32, 32))
    assert not any(moved(model.encoder))
    assert all(moved(model.decoder))


def concatenate(level, x, below):
    return jnp.concatenate([below, x], axis=-1)


@pytest.mark.usefixtures("tiny_models")
def test_twins_share_weights_and_differ_in_the_skips_alone():
    plain, sharp = (models.build(name, rngs=nnx.Rngs(7)) for name in ("unet", "sharp_unet"))
    chex.assert_trees_all_equal(*(nnx.to_pure_dict(nnx.state(m, nnx.Param)) for m in (plain, sharp)))
    image = picture()
    maps = plain.encoder(image)
    np.testing.assert_allclose(plain(image), plain.decoder(maps, concatenate), rtol=1e-6, atol=1e-7)
    sharpened = [ops.depthwise(x, jnp.asarray(ops.KERNELS["laplacian"])) for x in maps[:-1]]
    expected = plain.decoder([*sharpened, maps[-1]], concatenate)
    np.testing.assert_allclose(sharp(image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("classes", "to_probabilities"), [(1, jax.nn.sigmoid), (3, jax.nn.softmax)])
def test_several_heads_answer_with_their_mean_probability_or_the_last_one(classes, to_probabilities):
    heads = list(jnp.asarray(np.random.default_rng(0).normal(0, 5, (3, 2, 4, 5, classes)), jnp.float32))
    expected = np.mean([to_probabilities(each) for each in heads], axis=0)
    np.testing.assert_allclose(to_probabilities(segmenter.mean_of_heads(heads)), expected, rtol=1e-5, atol=1e-7)
    extreme = segmenter.mean_of_heads([jnp.full((1, 1, 1, classes), 90.0), jnp.full((1, 1, 1, classes), 110.0)])
    assert np.isfinite(extreme).all()
    encoder, skip = (lambda x, _: [x]), segmenter.PlainSkip()
    encoder.stride = 1
    for head, answer in (("last", heads[-1]), ("mean", segmenter.mean_of_heads(heads))):
        model = segmenter.Segmenter(encoder, skip, lambda *_: heads, in_channels=3, head=head)
        np.testing.assert_array_equal(model(jnp.zeros((2, 4, 5, 3))), answer)
        chex.assert_trees_all_equal(model.outputs(jnp.zeros((2, 4, 5, 3))), heads)


@pytest.mark.parametrize("kernel", ["laplacian", "learnable"])
def test_a_network_says_how_the_filtered_map_joins(kernel):
    x, below = (jnp.asarray(np.random.default_rng(seed).normal(size=(1, 6, 5, 2)), jnp.float32) for seed in (0, 1))
    sharp = segmenter.SharpSkip({3: 2}, kernel=kernel, padding="zero")
    sharpened = ops.depthwise(x, jnp.asarray(ops.KERNELS["laplacian"]))
    for join in (segmenter.concatenated, jnp.subtract):
        chex.assert_trees_all_close(sharp(3, x, below, join), join(below, sharpened), rtol=1e-5, atol=1e-5)
        chex.assert_trees_all_equal(segmenter.PlainSkip()(3, x, below, join), join(below, x))


@pytest.mark.usefixtures("tiny_models")
def test_the_decoder_uses_every_skip():
    model = models.build("unet", rngs=nnx.Rngs(0))
    maps = model.encoder(picture())
    gradients = jax.grad(lambda maps: model.decoder(maps, concatenate).sum())(maps)
    assert all(jnp.abs(gradient).max() > 0 for gradient in gradients)


@pytest.mark.parametrize("kernel", [name for name in ops.KERNELS if name != "learnable"])
def test_fixed_kernels_add_no_parameters(kernel):
    assert parameters(abstract("sharp_unet", skip_kernel=kernel)) == PARAMETERS["sharp_unet"]


@pytest.mark.usefixtures("tiny_models")
def test_a_kernel_in_the_name_overrides_the_configs():
    named = models.build("sharp_unet+scaled+reflect", skip_kernel="unsharp", rngs=nnx.Rngs(0))
    asked = models.build("sharp_unet", skip_kernel="scaled", skip_padding="reflect", rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(named(picture()), asked(picture()))


@pytest.mark.usefixtures("tiny_models")
def test_a_learnable_kernel_starts_at_the_laplacian_and_has_a_gradient():
    learnable = models.build("sharp_unet", skip_kernel="learnable", rngs=nnx.Rngs(0))
    fixed = models.build("sharp_unet", rngs=nnx.Rngs(0))
    assert parameters(learnable) - parameters(fixed) == 9 * 4  # a kernel for each channel of the one skip
    image = picture()
    np.testing.assert_allclose(learnable(image), fixed(image), rtol=1e-4, atol=1e-5)
    graph, params, rest = nnx.split(learnable, nnx.Param, ...)
    gradients = jax.grad(lambda p: (nnx.merge(graph, p, rest)(image) ** 2).mean())(params)
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients["skip"]))


@pytest.mark.usefixtures("tiny_models")
def test_bfloat16_computes_in_bfloat16_and_keeps_parameters_in_float32():
    model = models.build("sharp_unet", rngs=nnx.Rngs(0), dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model))} == {jnp.dtype("float32")}
    image = picture()
    assert {m.dtype for m in model.encoder(image.astype(jnp.bfloat16))} == {jnp.dtype("bfloat16")}
    reference = models.build("sharp_unet", rngs=nnx.Rngs(0))(image)
    # bfloat16 has 8 bits of mantissa: the logits agree to a few per cent of their standard deviation.
    np.testing.assert_allclose(model(image), reference, atol=0.1 * float(jnp.std(reference)))


@pytest.mark.usefixtures("tiny_models", "short_resnets")
@pytest.mark.parametrize("name", ["sharp_unet", "sharp_unet_resnet18"])
def test_parameters_and_gradients_are_float32_where_64_bits_are_the_default(name):
    with jax.enable_x64(True):
        model = nnx.eval_shape(lambda: models.build(name, rngs=nnx.Rngs(0)))  # not one of 32 bits
        graph, params, rest = nnx.split(model, nnx.Param, ...)

        def loss(params, rest):
            model = nnx.merge(graph, params, rest, copy=True)
            return jnp.mean(model(jnp.zeros((1, 32, 32, 3), jnp.float32), jnp.ones(1)))

        gradients = jax.eval_shape(jax.grad(loss), params, rest)
        assert {leaf.dtype for leaf in jax.tree.leaves((params, rest, gradients))} == {jnp.dtype("float32")}


def test_initialisation_is_that_of_keras():
    convolution = models.layers.Conv(32, 64, rngs=nnx.Rngs(0))
    limit = np.sqrt(6 / (9 * 32 + 9 * 64))
    assert float(jnp.abs(convolution.kernel[...]).max()) == pytest.approx(limit, rel=1e-3)
    assert float(convolution.kernel[...].std()) == pytest.approx(limit / np.sqrt(3), rel=0.01)
    assert not convolution.bias[...].any()


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="no model 'sharp_une'; did you mean 'sharp_unet'"):
        models.build("sharp_une", rngs=nnx.Rngs(0))
    for wrong in ({"skip_kernel": "laplace"}, {"skip_padding": "same"}):
        with pytest.raises(
            InputError, match=r"skip_kernel is one of laplacian, .*, skip_padding zero or reflect: not la"
        ):
            models.build("sharp_unet", rngs=nnx.Rngs(0), **wrong)
