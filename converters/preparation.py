"""Rewrite a trained Keras network into the same function with fewer operators.

TensorFlow Lite's converter folds batch normalization into convolutions, and a fusion weight into
the convolution right before it. It cannot carry a weight backwards through an up-sampling, nor
drop stochastic depth's layers early: that is done here.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from edgedet.models.dropblock import DropBlock
from edgedet.models.layers import NearestUpsampling, StochasticDepth, WeightedFusion


class ConstantFusion(keras.layers.Layer):  # type: ignore[misc]
    """Sum of the inputs, each times a constant; a factor of exactly 1 costs nothing."""

    def __init__(self, factors: list[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factors = factors

    def call(self, inputs: list[Any]) -> Any:
        """Return the weighted sum."""
        terms = [
            tensor if factor == 1.0 else tensor * factor
            for tensor, factor in zip(inputs, self.factors, strict=True)
        ]
        return sum(terms[1:], terms[0])

    def compute_output_shape(self, input_shape: list[Any]) -> Any:
        """The shape of any one input."""
        return input_shape[0]


def prepare_for_export(model: keras.Model) -> keras.Model:
    """Return a copy of `model` that computes the same outputs, for inference only.

    The weights of each fusion are multiplied into the batch normalization that ends an input's
    convolution, across up-sampling, so that the fusion becomes a plain sum.
    """
    fusions: dict[str, list[float]] = {}
    scales: dict[str, float] = {}
    for layer in model.layers:
        if not isinstance(layer, WeightedFusion):
            continue
        factors = _factors(layer)
        for index, tensor in enumerate(layer.input):
            normalization = _only_feeding(tensor)
            if normalization is not None and factors[index] != 0.0:
                scales[normalization.name] = factors[index]
                factors[index] = 1.0
        fusions[layer.name] = factors

    def replaced(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, WeightedFusion):
            return ConstantFusion(fusions[layer.name], name=layer.name)
        if isinstance(layer, (StochasticDepth, DropBlock)):
            return keras.layers.Identity(name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    prepared = keras.models.clone_model(model, clone_function=replaced)
    for layer in prepared.layers:
        original = model.get_layer(layer.name)
        if not layer.weights:
            continue
        weights = original.get_weights()
        if layer.name in scales:
            gamma, beta, mean, variance = weights
            weights = [gamma * scales[layer.name], beta * scales[layer.name], mean, variance]
        layer.set_weights(weights)
    return prepared


def _factors(fusion: WeightedFusion) -> list[float]:
    weights = np.asarray(fusion.get_weights()[0], np.float64)
    if fusion.method == "softmax":
        raised = np.exp(weights - weights.max())
        return [float(value) for value in raised / raised.sum()]
    weights = np.maximum(weights, 0.0)
    return [float(value) for value in weights / (weights.sum() + fusion.epsilon)]


def _only_feeding(tensor: Any) -> keras.layers.BatchNormalization | None:
    """The batch normalization whose output reaches a fusion and nothing else, if there is one."""
    layer = tensor._keras_history.operation
    while _single_reader(layer) and isinstance(layer, NearestUpsampling):
        layer = layer.input._keras_history.operation
    scalable = isinstance(layer, keras.layers.BatchNormalization) and layer.scale and layer.center
    return layer if scalable and _single_reader(layer) else None


def _single_reader(layer: keras.layers.Layer) -> bool:
    return len(layer._inbound_nodes) == 1 and len(layer._outbound_nodes) == 1
