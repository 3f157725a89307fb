"""Parameters and multiply-adds of Keras models: per layer, per level, per part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras

from edgedet.errors import InvalidInputError

PARTS = ("backbone", "pyramid", "class head", "box head", "segmentation head")
_HEADS = {"class_": "class head", "box_": "box head", "segmentation_": "segmentation head"}
_POOLS = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
_PYRAMIDS = ("fpn_", "bifpn_", "nas_fpn_")

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


@dataclass(frozen=True)
class LayerCount:
    """What one layer costs at one place of a network; a shared layer has several.

    Attributes:
        name: of the layer.
        kind: class of the layer.
        part: one of `PARTS`.
        level: of its output, which has stride 2**level; None for what is no map.
        parameters: trainable weights; 0 from a shared layer's second place on.
        multiply_adds: for one image.
        output: shape of its output without the batch.
    """

    name: str
    kind: str
    part: str
    level: int | None
    parameters: int
    multiply_adds: int
    output: tuple[int | None, ...]


@dataclass(frozen=True)
class Count:
    """The cost of a network, for one image.

    Attributes:
        layers: every layer at every place, in the order of computation.
        untrained: weights that are not trained, such as moving statistics.
    """

    layers: tuple[LayerCount, ...]
    untrained: int

    @property
    def parameters(self) -> int:
        """Trainable weights."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the convolutions and dense layers (the papers' FLOPs)."""
        return sum(layer.multiply_adds for layer in self.layers)

    def by_part(self) -> dict[str, tuple[int, int]]:
        """(parameters, multiply-adds) of each of `PARTS` that the network has."""
        return _summed((layer.part, layer) for layer in self.layers)

    def by_level(self) -> dict[int, tuple[int, int]]:
        """(parameters, multiply-adds) by level; a shared layer's parameters go to its first."""
        levels = ((layer.level, layer) for layer in self.layers if layer.level is not None)
        return dict(sorted(_summed(levels).items()))


def _summed(layers: Iterable[tuple[Any, LayerCount]]) -> dict[Any, tuple[int, int]]:
    sums: dict[Any, tuple[int, int]] = {}
    for key, layer in layers:
        parameters, multiply_adds = sums.get(key, (0, 0))
        sums[key] = (parameters + layer.parameters, multiply_adds + layer.multiply_adds)
    return sums


def count(model: keras.Model) -> Count:
    """Count a built functional or sequential model of images; nested models are looked into.

    Multiply-adds are those of convolutions and dense layers alone, as papers count them: no
    activation, normalization, pooling, bias or elementwise operation. Those are all of Keras's:
    plain, depthwise, separable and transposed in one to three dimensions, `Dense` and
    `EinsumDense`. Layers that work by layers of their own, such as attention, are not looked into.

    Raises:
        InvalidInputError: the model is no graph of layers, or its maps have no known size.
    """
    shape = _functional(model).inputs[0].shape
    seen: set[int] = set()
    layers = tuple(_walk(model, int(shape[1]) if len(shape) == 4 and shape[1] else None, seen))
    total = sum(math.prod(weight.shape) for weight in model.weights)
    return Count(layers, total - sum(layer.parameters for layer in layers))


def count_macs(model: keras.Model) -> int:
    """Multiply-adds of a model for one image (the papers' FLOPs); see `count`."""
    return count(model).multiply_adds


def _functional(model: keras.Model) -> Any:
    inner = getattr(model, "_functional", model)  # a Sequential keeps its graph there
    if not hasattr(inner, "_nodes_by_depth"):
        raise InvalidInputError(f"{model.name} is no graph of layers: its cost can't be counted.")
    return inner


def _walk(model: keras.Model, side: int | None, seen: set[int]) -> Iterator[LayerCount]:
    by_depth = _functional(model)._nodes_by_depth
    # Pooled to one pixel, a map still belongs to its level: so do squeeze-and-excite's.
    pooled: dict[int, int | None] = {}
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            operation = node.operation
            if isinstance(operation, keras.Model):
                yield from _walk(operation, side, seen)
                continue
            if not isinstance(operation, keras.Layer) or node.is_input:
                continue
            output = tuple(node.output_tensors[0].shape)
            level = _level(output, side)
            sources = [id(tensor) for tensor in node.input_tensors]
            if isinstance(operation, _POOLS):
                pooled[id(node.output_tensors[0])] = level = _level(
                    tuple(node.input_tensors[0].shape), side
                )
            elif all(source in pooled for source in sources):
                pooled[id(node.output_tensors[0])] = level = pooled[sources[0]]
            fresh = id(operation) not in seen
            seen.add(id(operation))
            trainable = operation.trainable_weights if fresh else []
            yield LayerCount(
                operation.name,
                type(operation).__name__,
                _part(operation.name),
                level,
                sum(math.prod(weight.shape) for weight in trainable),
                _multiply_adds(operation, node.input_tensors[0].shape, output),
                output[1:],
            )


def _part(name: str) -> str:
    for prefix, part in _HEADS.items():
        if name.startswith(prefix) or (name.startswith("exit_") and f"_{prefix}" in name):
            return part
    return "pyramid" if name.startswith(_PYRAMIDS) else "backbone"


def _level(output: tuple[int | None, ...], side: int | None) -> int | None:
    if len(output) != 4 or not side or not output[1]:
        return None
    return round(math.log2(side / output[1]))


def _multiply_adds(layer: keras.Layer, source: Any, output: tuple[int | None, ...]) -> int:
    if isinstance(layer, keras.layers.Dense):
        return int(source[-1]) * _product(layer, output[1:])
    if isinstance(layer, keras.layers.EinsumDense):
        # One for each value of all indices: the input's, and those that only the kernel has.
        indices, kernel_indices = layer.equation.partition("->")[0].split(",")
        sides = zip(kernel_indices, layer.kernel.shape, strict=True)
        added = math.prod(side for index, side in sides if index not in indices)
        return _product(layer, tuple(source[1:])) * added
    if not isinstance(layer, (*_CONVOLUTIONS, *_DEPTHWISE, *_SEPARABLE, *_TRANSPOSED)):
        return 0
    channels_at = -1 if layer.data_format == "channels_last" else 1
    kernel = math.prod(layer.kernel_size)
    inputs, outputs = int(source[channels_at]), int(output[channels_at] or 0)
    places = _product(layer, output[1:]) // outputs
    if isinstance(layer, _TRANSPOSED):
        return _product(layer, tuple(source[1:])) * kernel * outputs
    if isinstance(layer, _SEPARABLE):
        middle = inputs * layer.depth_multiplier
        return places * middle * (kernel + outputs)
    if isinstance(layer, _DEPTHWISE):
        return places * outputs * kernel
    return places * outputs * kernel * (inputs // layer.groups)


def _product(layer: keras.Layer, sides: tuple[int | None, ...]) -> int:
    if None in sides:
        raise InvalidInputError(f"The size of {layer.name}'s map is not known: fix the input size.")
    return math.prod(side for side in sides if side is not None)
