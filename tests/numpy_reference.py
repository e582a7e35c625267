"""keras-vis's algorithm as a plain loop in float64 NumPy, gradients by finite differences.

It is written from the description of the algorithm, and shares nothing with the package. Images
are `(spatial..., channels)` here.
"""

from __future__ import annotations

import math
import string

import numpy as np

ACTIVATIONS = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "relu": lambda x: np.maximum(x, 0),
}


def dense(kernel, bias, activation="linear"):
    kernel, bias = np.float64(kernel), np.float64(bias)
    return lambda x: ACTIVATIONS[activation](x @ kernel + bias)


def conv(kernel, bias, activation="linear", stride=1):
    """A convolution without padding; `kernel` is `(spatial..., channels in, channels out)`."""
    kernel, bias = np.float64(kernel), np.float64(bias)
    rank = kernel.ndim - 2
    k, s = string.ascii_lowercase[:rank], string.ascii_uppercase[:rank]

    def call(x):
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:rank], range(rank))
        windows = windows[(slice(None, None, stride),) * rank]
        return ACTIVATIONS[activation](
            np.einsum(f"{s}y{k},{k}yz->{s}z", windows, kernel, optimize=True) + bias
        )

    return call


def flatten(x):
    return x.reshape(-1)


def network(*layers):
    def call(x):
        for layer in layers:
            x = layer(x)
        return x

    return call


def activation_maximization(net, filters):
    def loss(x):
        outputs = net(x)
        return -sum(outputs[..., f].mean() for f in filters)

    return loss


def total_variation(x, beta=2.0):
    axes = range(x.ndim - 1)
    inner = (slice(None, -1),) * (x.ndim - 1)
    squares = 0
    for axis in axes:
        ahead = tuple(slice(1, None) if a == axis else slice(None, -1) for a in axes)
        squares = squares + (x[ahead] - x[inner]) ** 2
    return np.sum(squares ** (beta / 2)) / x.size


def lp_norm(x, p=6.0):
    if math.isinf(p):
        return x.max() / x.size
    return np.sum(np.abs(x) ** p) ** (1 / p) / x.size


def gradient(function, x, h=1e-5):
    """Central differences."""
    grads = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[place] = h
        grads[place] = (function(x + step) - function(x - step)) / (2 * h)
    return grads


def deprocess(x, input_range, epsilon=1e-7):
    low, high = input_range
    x = (x - x.mean()) / (x.std() + epsilon)
    return low + (high - low) * np.clip(0.5 + 0.1 * x, 0, 1)


def minimize(
    seed,
    losses,
    max_iter,
    input_range=(0, 255),
    norm_grads=True,
    grad_modifier=lambda grads: grads,
    pre=lambda x: x,
    post=lambda x: x,
    epsilon=1e-7,
):
    """The picture, and for each iteration losses, overall loss, gradients and image.

    `losses` is a list of `(function of an image, weight)`.
    """
    x = np.float64(seed)
    cache = np.zeros(x.shape)
    best_loss, best = math.inf, None
    history = []
    for _ in range(max_iter):
        x = pre(x)
        values = [weight * loss(x) for loss, weight in losses]
        overall = sum(values)
        grads = gradient(lambda at: sum(weight * loss(at) for loss, weight in losses), x)
        if norm_grads:
            grads = grads / np.sqrt(np.sum(grads**2))
        grads = grad_modifier(grads)
        history.append((values, overall, grads, x))
        if overall < best_loss:
            best_loss, best = overall, x
        cache = 0.95 * cache + 0.05 * grads**2
        x = post(x - grads / np.sqrt(cache + epsilon))
    return deprocess(best, input_range), history
