"""Quantization-aware training: forwards it rounds as an INT8 file will, backwards it does not.

Weights are rounded per output channel, symmetrically; activations per tensor, in ranges measured
before training (Jacob et al. 2018, arXiv 1712.05877, section 3). An INT8 file has its batch
normalizations folded into the weights; per channel that changes nothing about the rounding, but
the normalizations must be constant, so they take their moving statistics here.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from edgedet.quantization.ranges import CLASS_FLOOR, CLASS_MARGIN, HARD_SWISH_FLOOR

Tensor = Any

_WEIGHTED = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
# What moves values or chooses among them keeps their step.
_MOVING = (
    keras.layers.Identity,
    keras.layers.Reshape,
    keras.layers.Cropping2D,
    keras.layers.ZeroPadding2D,
    keras.layers.MaxPooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Dropout,
)
_MOVING_NAMES = ("NearestUpsampling", "StochasticDepth", "DropBlock", "SpaceToDepth")
# The kernels compute these together with the convolution before them.
_FUSED_ACTIVATIONS = ("relu", "relu6")
# INT8's fixed range of a sigmoid.
_GATE = (0.0, 255.0 / 256.0)
_LEAST_SPAN = 1e-6


class FakeQuantized:
    """Calls a network as the INT8 file made of it will compute, differentiably.

    Args:
        network: a functional model, float32, whose class outputs have `class_` in their names.
        ranges: variable [`rounded`, 2] with the least and the greatest value of each rounded
            activation; `calibrate` fills it.
    """

    def __init__(self, network: keras.Model, ranges: Any) -> None:
        self._input = network.inputs[0]
        self._outputs = network.output
        self._nodes = _nodes(network)
        self._places = _places(self._nodes, self._input)
        self._classes = {
            self._places[source]
            for name, tensor in network.output.items()
            if "class_" in name and (source := _origin(tensor)) in self._places
        }
        self.ranges = ranges

    @staticmethod
    def count(network: keras.Model) -> int:
        """How many activations of a network are rounded."""
        return len(_places(_nodes(network), network.inputs[0]))

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The network's outputs for normalized images [B, H, W, 3]."""
        ranges = ops.convert_to_tensor(self.ranges)
        return self._run(images, lambda place, value: _rounded(value, ranges[place]), exact=False)

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Measure the ranges on normalized, unaugmented images [B, H, W, 3].

        Raises:
            ValueError: there are no images.
        """
        low = np.zeros(len(self._places), np.float32)
        high = np.zeros(len(self._places), np.float32)

        def observe(place: int, value: Tensor) -> Tensor:
            low[place] = min(low[place], float(ops.min(value)))
            high[place] = max(high[place], float(ops.max(value)))
            return value

        seen = False
        for images in batches:
            self._run(ops.convert_to_tensor(images), observe, exact=True)
            seen = True
        if not seen:
            raise ValueError("no images to calibrate with")
        self.ranges.assign(self._fitted(low, high))

    def _fitted(
        self, low: npt.NDArray[np.float32], high: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """The measured ranges without what makes no difference, as the converter fits them."""
        for place in self._classes:
            low[place] = max(low[place], CLASS_FLOOR)
            high[place] += CLASS_MARGIN
        readers = _readers(self._nodes)
        for tensor, place in self._places.items():
            kinds = [_activation(node.operation) for node in readers.get(tensor, ())]
            if kinds == ["hard_silu"]:
                low[place] = max(low[place], HARD_SWISH_FLOOR)
        for node in self._nodes:
            if _activation(node.operation) == "sigmoid":
                place = self._places[id(node.output_tensors[0])]
                low[place], high[place] = _GATE
        return np.stack([low, np.maximum(high, low + _LEAST_SPAN)], axis=1)

    def _run(self, images: Tensor, touch: Any, *, exact: bool) -> dict[str, Tensor]:
        """Run the graph; `touch(place, value)` gives what takes an activation's place."""
        values = {id(self._input): touch(self._places[id(self._input)], images)}
        for node in self._nodes:
            words, named = node.arguments.fill_in(values)
            operation = node.operation
            if "training" in inspect.signature(operation.call).parameters:
                named = {**named, "training": False}
            if exact:
                output = operation(*words, **named)
            elif isinstance(operation, _WEIGHTED):
                output = _with_rounded_weights(operation, words, named)
            elif _activation(operation) == "silu":
                gate = keras.quantizers.fake_quant_with_min_max_vars(ops.sigmoid(words[0]), *_GATE)
                output = words[0] * gate
            else:
                output = operation(*words, **named)
            (tensor,) = node.output_tensors
            if id(tensor) in self._places:
                output = touch(self._places[id(tensor)], output)
            values[id(tensor)] = output
        return {name: values[id(tensor)] for name, tensor in self._outputs.items()}


def _rounded(value: Tensor, span: Tensor) -> Tensor:
    fixed = ops.stop_gradient(span)
    return keras.quantizers.fake_quant_with_min_max_vars(value, fixed[0], fixed[1])


def _with_rounded_weights(layer: Any, words: Any, named: Any) -> Tensor:
    """What a layer computes with its kernel in 255 steps per output channel."""
    # Every variable of the layer: within a scope the others would be read past the one around it.
    others = [(v, v.value) for v in layer.variables if v is not layer.kernel]
    kernel = (layer.kernel, rounded_kernel(layer, layer.kernel.value))
    with keras.StatelessScope(state_mapping=[kernel, *others]):
        return layer(*words, **named)


def rounded_kernel(layer: Any, kernel: Tensor) -> Tensor:
    """A layer's kernel rounded to -127 ... 127 steps per output channel; same shape.

    Args:
        layer: Conv2D, DepthwiseConv2D or Dense.
        kernel: its kernel.
    """
    shape = tuple(kernel.shape)
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    channels = shape[-2] * shape[-1] if depthwise else shape[-1]
    flat = ops.reshape(kernel, (-1, channels))
    most = ops.stop_gradient(ops.maximum(ops.max(ops.abs(flat), axis=0), _LEAST_SPAN))
    rounded = keras.quantizers.fake_quant_with_min_max_vars(
        flat, -most, most, narrow_range=True, axis=-1
    )
    return ops.reshape(rounded, shape)


def _nodes(network: keras.Model) -> list[Any]:
    """The graph's nodes, each behind those it needs."""
    levels = network._nodes_by_depth
    return [
        node
        for depth in sorted(levels, reverse=True)
        for node in levels[depth]
        if not node.is_input
    ]


def _places(nodes: list[Any], image: Any) -> dict[int, int]:
    """Row of the ranges by the id of each rounded tensor, the image first."""
    readers = _readers(nodes)
    places = {id(image): 0}
    for node in nodes:
        (tensor,) = node.output_tensors
        operation = node.operation
        moving = isinstance(operation, _MOVING) or type(operation).__name__ in _MOVING_NAMES
        followers = [reader.operation for reader in readers.get(id(tensor), ())]
        normalized = isinstance(operation, keras.layers.Conv2D | keras.layers.DepthwiseConv2D) and (
            len(followers) == 1 and isinstance(followers[0], keras.layers.BatchNormalization)
        )
        fused = len(followers) == 1 and _activation(followers[0]) in _FUSED_ACTIVATIONS
        if not (moving or normalized or fused):
            places[id(tensor)] = len(places)
    return places


def _readers(nodes: list[Any]) -> dict[int, list[Any]]:
    readers: dict[int, list[Any]] = {}
    for node in nodes:
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(node)
    return readers


def _activation(operation: Any) -> str | None:
    """The name of an activation layer's function; None for other layers."""
    if isinstance(operation, keras.layers.ReLU):
        return "relu6" if operation.max_value == 6 else "relu"
    function = getattr(operation, "activation", None)
    if isinstance(operation, keras.layers.Activation) and function is not None:
        return str(getattr(function, "__name__", ""))
    return None


def _origin(tensor: Any) -> int:
    """Id of the tensor that reaches an output through layers that only name it."""
    operation, index, _ = tensor._keras_history
    while isinstance(operation, keras.layers.Identity):
        tensor = operation._inbound_nodes[index].input_tensors[0]
        operation, index, _ = tensor._keras_history
    return id(tensor)
