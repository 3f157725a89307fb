"""What works on each pixel by itself goes before nearest up-sampling, where pixels are fewer."""

from __future__ import annotations

import keras

from edgedet.converters.preparation.network import Network, Operation
from edgedet.models.layers import NearestUpsampling

_BY_PIXEL = (keras.layers.Activation, keras.layers.ReLU, keras.layers.BatchNormalization)


def work_before_upsampling(network: Network) -> None:
    """Move 1x1 convolutions and activations that read an up-sampled map alone before it."""
    moved = True
    while moved:
        moved = False
        readers = network.readers()
        for operation in list(readers):
            if not _by_pixel(operation):
                continue
            (upsampling,) = operation.inputs
            if not upsampling.is_a(NearestUpsampling) or readers[upsampling] != [operation]:
                continue
            network.replace(operation, upsampling)
            operation.inputs, upsampling.inputs = upsampling.inputs, [operation]
            operation.area = operation.inputs[0].area
            moved = True
            break


def _by_pixel(operation: Operation) -> bool:
    if operation.is_a(keras.layers.Activation) and operation.config["activation"] == "softmax":
        return False
    return operation.is_pointwise_convolution or operation.is_a(*_BY_PIXEL)
