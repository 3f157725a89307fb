"""Layers that inference can do without: normalizations, regularizers, separable convolutions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from edgedet.converters.preparation.network import Network, Operation
from edgedet.models.dropblock import DropBlock
from edgedet.models.layers import StochasticDepth

_TRAINING_ONLY = (
    StochasticDepth,
    DropBlock,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianNoise,
)


def drop_regularizers(network: Network) -> None:
    """Leave out what acts during training only."""
    for operation in network.operations():
        if operation.is_a(*_TRAINING_ONLY):
            network.replace(operation, operation.inputs[0])


def split_separable(network: Network) -> None:
    """Make each `SeparableConv2D` a depthwise and a 1x1 convolution."""
    for operation in network.operations():
        if not operation.is_a(keras.layers.SeparableConv2D):
            continue
        whole, (depthwise, pointwise, *bias) = operation.config, operation.weights
        common = {key: whole[key] for key in ("dtype", "data_format", "trainable")}
        first = operation_of(
            keras.layers.DepthwiseConv2D(
                whole["kernel_size"],
                strides=whole["strides"],
                padding=whole["padding"],
                dilation_rate=whole["dilation_rate"],
                depth_multiplier=whole["depth_multiplier"],
                use_bias=False,
            ),
            f"{operation.name}_depthwise",
            operation.inputs,
            [depthwise],
            common,
            operation.area,
        )
        second = operation_of(
            keras.layers.Conv2D(
                whole["filters"], 1, use_bias=whole["use_bias"], activation=whole["activation"]
            ),
            f"{operation.name}_pointwise",
            [first],
            [pointwise, *bias],
            common,
            operation.area,
        )
        network.replace(operation, second)


def fold_normalizations(network: Network) -> None:
    """Fold each batch normalization into the convolution that it alone reads."""
    readers = network.readers()
    calls: dict[Any, int] = {}
    for operation in readers:
        calls[operation.layer] = calls.get(operation.layer, 0) + 1
    for operation in list(readers):
        if not operation.is_a(keras.layers.BatchNormalization):
            continue
        (convolution,) = operation.inputs
        alone = readers[convolution] == [operation] and convolution.is_linear_convolution
        if not alone or operation.config["axis"] not in (-1, 3, [3]):
            continue
        if convolution.layer is not None and calls[convolution.layer] > 1:
            # Heads share convolutions over the levels, and have normalizations of their own.
            convolution.name = operation.name
        factor, shift = _affine(operation)
        convolution.scaled(factor, shift)
        network.replace(operation, convolution)


def _affine(normalization: Operation) -> tuple[Any, Any]:
    weights = list(normalization.weights)
    gamma = weights.pop(0) if normalization.config["scale"] else 1.0
    beta = weights.pop(0) if normalization.config["center"] else 0.0
    mean, variance = weights
    factor = gamma / np.sqrt(variance + normalization.config["epsilon"])
    return factor, beta - mean * factor


def operation_of(
    layer: keras.layers.Layer,
    name: str,
    inputs: list[Operation],
    weights: list[Any],
    changes: dict[str, Any],
    area: int,
) -> Operation:
    """A new operation: the layer's configuration with `changes`, and these weights."""
    config = {**layer.get_config(), **changes}
    return Operation(name, type(layer), config, list(inputs), area, weights=weights)
