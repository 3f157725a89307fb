"""Two heads that read one map, computed side by side where the map is small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np

from edgedet.converters.preparation.folding import operation_of
from edgedet.converters.preparation.network import Array, Network, Operation

# On small maps an operator's start costs more than its arithmetic. Up to this many multiply-adds
# for each operator saved, the heads of M0 measured as fast side by side as apart, in LiteRT's INT8
# and in OpenVINO.
_MULTIPLY_ADDS_PER_OPERATOR = 150_000

# Of the widest channel's range; what is narrower is not widened further.
_LEAST_SHARE = 1 / 64


@dataclass(frozen=True)
class _Separable:
    """A depthwise 3x3 and a 1x1 convolution, and the activation behind them, if any."""

    depthwise: Operation
    pointwise: Operation
    activation: Operation | None

    @property
    def last(self) -> Operation:
        return self.activation or self.pointwise


def join_heads(network: Network) -> None:
    """Compute two chains of separable convolutions that read one map as one, on small maps.

    The first convolutions, read from one map, become one full 3x3 convolution; the others get
    kernels that are zero between the two halves; the last ones, the predictors, stay two, behind
    one depthwise convolution.

    Args:
        network: with normalizations folded.
    """
    readers = network.readers()
    for source in list(readers):
        starts = [reader for reader in readers[source] if reader is not None]
        if len(starts) != 2 or len(readers[source]) != 2 or starts[0] is starts[1]:
            continue
        left, right = (_chain(start, readers) for start in starts)
        if _alike(left, right) and _worthwhile(left, right, source.area):
            _join(network, source, left, right)


def _chain(start: Operation, readers: dict[Operation, list[Operation | None]]) -> list[_Separable]:
    chain: list[_Separable] = []
    operation: Operation | None = start
    while operation is not None and _is_plain_depthwise(operation):
        (pointwise, *others) = readers[operation]
        if others or pointwise is None or not pointwise.is_pointwise_convolution:
            break
        if not pointwise.is_linear_convolution:
            break
        following = readers[pointwise]
        activation = following[0] if len(following) == 1 else None
        if activation is None or not activation.is_a(keras.layers.Activation):
            chain.append(_Separable(operation, pointwise, None))
            break
        chain.append(_Separable(operation, pointwise, activation))
        operation = readers[activation][0] if len(readers[activation]) == 1 else None
    return chain


def _is_plain_depthwise(operation: Operation) -> bool:
    return (
        operation.is_a(keras.layers.DepthwiseConv2D)
        and operation.is_linear_convolution
        and tuple(operation.config["kernel_size"]) == (3, 3)
        and tuple(operation.config["strides"]) == (1, 1)
        and tuple(operation.config["dilation_rate"]) == (1, 1)
        and operation.config["padding"] == "same"
        and operation.config["depth_multiplier"] == 1
    )


def _alike(left: Sequence[_Separable], right: Sequence[_Separable]) -> bool:
    """Whether both have activations of one kind everywhere but at the end."""
    if len(left) != len(right) or len(left) < 2:
        return False

    def kinds(chain: Sequence[_Separable]) -> list[object]:
        return [
            stage.activation and (stage.activation.config["activation"], stage.activation.kind)
            for stage in chain
        ]

    found = kinds(left)
    return found == kinds(right) and None not in found[:-1] and found[-1] is None


def _worthwhile(left: Sequence[_Separable], right: Sequence[_Separable], area: int) -> bool:
    pairs = list(zip(left, right, strict=True))
    parts = [
        part for pair in pairs for stage in pair for part in (stage.depthwise, stage.pointwise)
    ]
    apart = sum(part.kernel.size for part in parts)
    into = [sum(stage.pointwise.kernel.shape[2] for stage in pair) for pair in pairs]
    out = [sum(stage.pointwise.kernel.shape[3] for stage in pair) for pair in pairs]
    # The first reads the one map, with a full 3x3 kernel.
    together = 9 * left[0].pointwise.kernel.shape[2] * out[0]
    together += sum(width * (9 + wide) for width, wide in zip(into[1:], out[1:], strict=True))
    # Swish is two operators, most other activations none.
    active = 2 if left[0].activation and left[0].activation.config["activation"] == "silu" else 0
    saved = (3 + active) + (2 + active) * (len(pairs) - 2) + 1
    return bool(area * (together - apart) <= saved * _MULTIPLY_ADDS_PER_OPERATOR)


def _join(
    network: Network, source: Operation, left: Sequence[_Separable], right: Sequence[_Separable]
) -> None:
    x = source
    for index, pair in enumerate(zip(left, right, strict=True)):
        name = f"{pair[0].last.name}_and_{pair[1].last.name}"
        if index:
            _equalize(pair)
        depthwise = [stage.depthwise for stage in pair]
        pointwise = [stage.pointwise for stage in pair]
        if index == 0:
            x = _full(x, pair, f"{name}_conv")
        else:
            x = _depthwise(x, depthwise, f"{name}_depthwise")
            if index == len(left) - 1:
                for half, stage in enumerate(pair):
                    _read_half(stage.pointwise, x, half, depthwise)
                return
            kernel = np.zeros([1, 1, *np.sum([c.kernel.shape[2:] for c in pointwise], axis=0)])
            rows, columns = pointwise[0].kernel.shape[2:]
            kernel[..., :rows, :columns] = pointwise[0].kernel
            kernel[..., rows:, columns:] = pointwise[1].kernel
            x = _convolution(x, kernel, [c.bias for c in pointwise], pointwise[0], f"{name}_conv")
        activation = pair[0].activation
        assert activation is not None
        x = replace(activation, name=name, inputs=[x], layer=None)


def _equalize(pair: Sequence[_Separable]) -> None:
    """Give all channels between the convolutions of both halves about the same range.

    INT8 stores both halves in steps of one size. Nothing lies between a depthwise convolution and
    its 1x1, so a factor can move from one to the other (Nagel et al. 2019, section 4.1); the sum of
    a kernel's absolute values bounds what it can make of inputs in one range.
    """
    bounds = [np.abs(stage.depthwise.kernel).sum(axis=(0, 1, 3)) for stage in pair]
    common = float(np.concatenate(bounds).max())
    for stage, bound in zip(pair, bounds, strict=True):
        # A channel that is nearly nothing stays so.
        factor = common / np.maximum(bound, _LEAST_SHARE * common)
        depthwise, pointwise = stage.depthwise, stage.pointwise
        kernel = depthwise.kernel * factor[:, None]
        depthwise.weights = [kernel, *(bias * factor for bias in depthwise.weights[1:])]
        pointwise.weights = [pointwise.kernel / factor[:, None], *pointwise.weights[1:]]
        depthwise.layer = pointwise.layer = None


def _full(x: Operation, pair: Sequence[_Separable], name: str) -> Operation:
    kernels, biases = [], []
    for stage in pair:
        depthwise, pointwise = stage.depthwise.kernel[..., 0], stage.pointwise.kernel[0, 0]
        kernels.append(depthwise[..., None] * pointwise)
        biases.append(stage.depthwise.bias @ pointwise + stage.pointwise.bias)
    return _convolution(x, np.concatenate(kernels, -1), biases, pair[0].pointwise, name)


def _convolution(
    x: Operation, kernel: Array, biases: Sequence[Array], like: Operation, name: str
) -> Operation:
    layer = keras.layers.Conv2D(kernel.shape[3], kernel.shape[:2], padding="same")
    weights = [kernel, np.concatenate(biases)]
    return operation_of(layer, name, [x], weights, {"dtype": like.config["dtype"]}, x.area)


def _depthwise(x: Operation, parts: Sequence[Operation], name: str) -> Operation:
    layer = keras.layers.DepthwiseConv2D(3, padding="same")
    weights = [
        np.concatenate([part.kernel for part in parts], axis=2),
        np.concatenate([part.bias for part in parts]),
    ]
    return operation_of(layer, name, [x], weights, {"dtype": parts[0].config["dtype"]}, x.area)


def _read_half(
    pointwise: Operation, x: Operation, half: int, depthwise: Sequence[Operation]
) -> None:
    """Let a predictor read the one half of both heads' map."""
    width = sum(part.kernel.shape[2] for part in depthwise)
    start = depthwise[0].kernel.shape[2] if half else 0
    kernel = np.zeros((1, 1, width, pointwise.kernel.shape[3]))
    kernel[:, :, start : start + pointwise.kernel.shape[2]] = pointwise.kernel
    pointwise.weights = [kernel, *pointwise.weights[1:]]
    pointwise.inputs, pointwise.layer = [x], None
