"""Bias and ReLU: the lowering for each platform, and gradients that cost XLA less than the derived ones."""

import jax
from jax import Array

from sharp_unet_jax.ops import cpu_pointwise, definitions, gpu_pointwise
from sharp_unet_jax.ops.platform import by_platform


@jax.custom_vjp
def add_bias(x: Array, bias: Array) -> Array:
    """Add a bias (C,) to x (N, H, W, C), both of one dtype."""
    return definitions.add_bias(x, bias)


def _add_bias_forward(x: Array, bias: Array) -> tuple[Array, None]:
    return add_bias(x, bias), None


def _add_bias_backward(_: None, g: Array) -> tuple[Array, Array]:
    return g, bias_gradient(g)


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


def bias_gradient(g: Array) -> Array:
    """Return the gradient of a bias: g (N, H, W, C) -> (C,), summed in float32, in the dtype of g."""
    return by_platform(g, cuda=gpu_pointwise.bias_gradient, default=definitions.bias_gradient)


@jax.custom_vjp
def relu(x: Array) -> Array:
    """max(x, 0), any shape. The gradient at 0 is 0, as with `jax.nn.relu`.

    The gradient is computed from the result. x need not be kept for it, and a GPU's convolution can apply bias and ReLU
    as it writes its result.
    """
    return by_platform(x, cpu=cpu_pointwise.relu, default=definitions.relu)


def _relu_forward(x: Array) -> tuple[Array, Array]:
    y = relu(x)
    return y, y


def _relu_backward(y: Array, g: Array) -> tuple[Array]:
    return (by_platform(y, g, cpu=cpu_pointwise.relu_gradient, default=definitions.relu_gradient),)


relu.defvjp(_relu_forward, _relu_backward)
