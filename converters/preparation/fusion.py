"""Weighted fusions as sums: their weights, constant now, go into the convolutions around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from edgedet.converters.preparation.folding import operation_of
from edgedet.converters.preparation.network import Network, Operation
from edgedet.models.layers import NearestUpsampling, WeightedFusion

# What gives f times its result for f times its input, f > 0.
_HOMOGENEOUS = (
    NearestUpsampling,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.Identity,
)
_SUMS = (keras.layers.Add, keras.layers.Average)


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

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "factors": list(self.factors)}


def fix_fusion_weights(network: Network) -> None:
    """Make the weights of fusions constants, and leave out what a fusion weighs with zero."""
    for operation in network.operations():
        if not operation.is_a(WeightedFusion):
            continue
        factors = _factors(operation)
        kept = [index for index, factor in enumerate(factors) if factor != 0.0] or [0]
        operation.inputs = [operation.inputs[index] for index in kept]
        operation.kind = ConstantFusion
        operation.config = {
            "dtype": operation.config["dtype"],
            "factors": [factors[index] for index in kept],
        }
        operation.weights, operation.layer = [], None


def _factors(fusion: Operation) -> list[float]:
    (weights,) = fusion.weights
    if fusion.config["method"] == "softmax":
        raised = np.exp(weights - weights.max())
        return [float(value) for value in raised / raised.sum()]
    weights = np.maximum(weights, 0.0)
    return [float(value) for value in weights / (weights.sum() + fusion.config["epsilon"])]


def absorb_fusion_weights(network: Network) -> None:
    """Multiply the weights of fusions into the convolutions that made their inputs.

    A weight goes backwards through up-sampling, pooling, rectifiers and sums. Where others read
    the same map, it is taken out of their convolutions and fusions again; of a map that several
    fusions weigh, the weight at the largest of them is absorbed. What can't be absorbed is
    multiplied before up-sampling.
    """
    readers = network.readers()
    edges = [
        (fusion, index)
        for fusion in network.operations()
        if fusion.is_a(ConstantFusion)
        for index in range(len(fusion.inputs))
    ]
    for fusion, index in sorted(edges, key=lambda edge: -edge[0].area):
        factor = fusion.config["factors"][index]
        if factor in (0.0, 1.0):
            continue
        changes = _scaling(fusion.inputs[index], (fusion, index), factor, readers)
        if changes is None:
            continue
        for change in changes:
            change()
        _set_factor(fusion, index, 1.0)
    _multiply_before_upsampling(network)
    for fusion in network.operations():
        if fusion.is_a(ConstantFusion) and fusion.config["factors"] == [1.0]:
            network.replace(fusion, fusion.inputs[0])


Changes = list[Callable[[], None]]
Readers = dict[Operation, list[Operation | None]]


def _scaling(
    source: Operation, towards: tuple[Operation, int] | Operation, factor: float, readers: Readers
) -> Changes | None:
    """What makes `source` return `factor` times its result, for `towards` alone to notice.

    None if it can't be done. Nothing is changed yet.
    """
    if source.is_linear_convolution:
        changes: Changes = [lambda: source.scaled(factor)]
    elif source.is_a(*_HOMOGENEOUS) or _rectifies(source):
        found = _scaling(source.inputs[0], source, factor, readers)
        if found is None:
            return None
        changes = found
    elif source.is_a(*_SUMS):
        changes = []
        for term in source.inputs:
            found = _scaling(term, source, factor, readers)
            if found is None or source.inputs.count(term) > 1:
                return None
            changes += found
    else:
        return None
    for reader, index in _others(source, towards, readers):
        found = _unscaling(reader, index, factor, readers)
        if found is None:
            return None
        changes += found
    return changes


def _others(
    source: Operation, towards: tuple[Operation, int] | Operation, readers: Readers
) -> Iterator[tuple[Operation | None, int]]:
    """The readers of `source` but the one, with the place it has among their inputs."""
    target = towards if isinstance(towards, tuple) else (towards, 0)
    seen: set[Operation | None] = set()
    for reader in readers[source]:
        if reader in seen:
            continue
        seen.add(reader)
        if reader is None:
            yield None, 0
            continue
        for index, read in enumerate(reader.inputs):
            if read is source and (reader, index) != target and reader is not towards:
                yield reader, index


def _unscaling(
    reader: Operation | None, index: int, factor: float, readers: Readers
) -> Changes | None:
    """What makes `reader` return what it did, now that its input is `factor` times greater."""
    if reader is None:
        return None
    if reader.is_a(ConstantFusion):
        before = reader.config["factors"][index]
        # A factor of 1 was absorbed already.
        if before == 1.0:
            return None
        return [lambda: _set_factor(reader, index, reader.config["factors"][index] / factor)]
    if reader.is_a(keras.layers.Conv2D, keras.layers.DepthwiseConv2D):
        if reader.is_a(keras.layers.Conv2DTranspose, keras.layers.SeparableConv2D):
            return None
        return [lambda: _divide_kernel(reader, factor)]
    if reader.is_a(*_HOMOGENEOUS) or _rectifies(reader):
        changes: Changes = []
        for following, place in _others(reader, reader, readers):
            found = _unscaling(following, place, factor, readers)
            if found is None:
                return None
            changes += found
        return changes
    return None


def _rectifies(operation: Operation) -> bool:
    return operation.is_a(keras.layers.Activation) and operation.config["activation"] == "relu"


def _set_factor(fusion: Operation, index: int, factor: float) -> None:
    factors = list(fusion.config["factors"])
    # Equal weights of one map must leave exactly 1, and 1 / 3 * 3 is not always that.
    factors[index] = 1.0 if abs(factor - 1.0) < 1e-12 else factor
    fusion.config = {**fusion.config, "factors": factors}


def _divide_kernel(convolution: Operation, factor: float) -> None:
    convolution.weights = [convolution.kernel / factor, *convolution.weights[1:]]
    convolution.layer = None


def _multiply_before_upsampling(network: Network) -> None:
    readers = network.readers()
    for fusion in list(readers):
        if not fusion.is_a(ConstantFusion):
            continue
        for index, factor in enumerate(fusion.config["factors"]):
            source = fusion.inputs[index]
            if factor in (0.0, 1.0) or not source.is_a(NearestUpsampling):
                continue
            if readers[source] != [fusion]:
                continue
            scaled = operation_of(
                ConstantFusion([factor]),
                f"{source.name}_weight",
                source.inputs,
                [],
                {"dtype": fusion.config["dtype"]},
                source.inputs[0].area,
            )
            scaled.listed = True
            source.inputs = [scaled]
            _set_factor(fusion, index, 1.0)
