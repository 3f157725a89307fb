"""Bias correction: take the mean error that rounded weights cause off the biases.

Rounding moves the weights of an output channel by some dW; with inputs of mean E[x] the channel's
mean moves by dW E[x], which its bias can take back (Nagel et al., Data-Free Quantization Through
Weight Equalization and Bias Correction, 2019, section 4.2). The means are measured, position by
position, so that the padding's zeros count as what they are.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from edgedet.quantization.interpreters import observing_interpreter
from edgedet.quantization.tflite_graph import TfliteGraph, paired_operators

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def bias_corrected(
    model: bytes, quantized: bytes, inputs: Iterable[npt.NDArray[np.float32]]
) -> bytes:
    """The float model with biases that make up for the rounded weights of the quantized one.

    Args:
        model: float `.tflite` flatbuffer, with ranges if they are to be kept.
        quantized: what the quantizer made of it.
        inputs: network inputs [1, height, width, 3].

    Returns:
        The float model to quantize instead.
    """
    graph, rounded = TfliteGraph(model), TfliteGraph(quantized)
    pairs = paired_operators(graph, rounded)
    convolutions = [
        index
        for index, operator in enumerate(graph.operators)
        if operator.kind in _CONVOLUTIONS and len(operator.inputs) == 3
    ]
    means = _means(
        model, graph, {graph.operators[index].inputs[0] for index in convolutions}, inputs
    )
    for index in convolutions:
        operator = graph.operators[index]
        exact = graph.constant(operator.inputs[1])
        found = rounded.weights(rounded.operators[pairs[index]].inputs[1])
        bias = graph.constant(operator.inputs[2])
        if exact is None or found is None or bias is None:
            continue
        taps = _mean_taps(
            means[operator.inputs[0]],
            (exact.shape[1], exact.shape[2]),
            graph.shape(operator.outputs[0])[1:3],
            *graph.window(index),
        )
        error = (found - exact).astype(np.float64)
        if operator.kind == "CONV_2D":
            if exact.shape[3] != taps.shape[2]:  # grouped
                continue
            moved = np.einsum("oyxi,yxi->o", error, taps)
        else:
            filters = exact.shape[3] // taps.shape[2]
            moved = np.einsum("yxo,yxo->o", error[0], np.repeat(taps, filters, axis=2))
        graph.set_constant(index, 2, (bias - moved).astype(np.float32))
    return graph.to_bytes()


def _means(
    model: bytes, graph: TfliteGraph, tensors: set[int], inputs: Iterable[npt.NDArray[np.float32]]
) -> dict[int, npt.NDArray[np.float64]]:
    """Mean of tensors over the pictures, [height, width, channels]."""
    interpreter = observing_interpreter(model)
    sums = {tensor: np.zeros(graph.shape(tensor)[1:]) for tensor in tensors}
    images = 0
    for value in inputs:
        interpreter.set_tensor(graph.inputs[0], value)
        interpreter.invoke()
        for tensor, total in sums.items():
            total += interpreter.get_tensor(tensor).sum(axis=0)
        images += len(value)
    if not images:
        raise ValueError("no calibration input")
    return {tensor: total / images for tensor, total in sums.items()}


def _mean_taps(
    mean: npt.NDArray[np.float64],
    kernel: tuple[int, int],
    output: tuple[int, ...],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    same: bool,
) -> npt.NDArray[np.float64]:
    """What each tap of a kernel sees on average over all places, [height, width, channels]."""
    before, after = [0, 0], [0, 0]
    for axis in (0, 1):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        missing = max(0, (output[axis] - 1) * strides[axis] + reach - mean.shape[axis])
        if same:
            before[axis], after[axis] = missing // 2, missing - missing // 2
    padded = np.pad(mean, ((before[0], after[0]), (before[1], after[1]), (0, 0)))
    taps = np.empty((*kernel, mean.shape[2]))
    for y in range(kernel[0]):
        for x in range(kernel[1]):
            top, left = y * dilations[0], x * dilations[1]
            seen = padded[
                top : top + output[0] * strides[0] : strides[0],
                left : left + output[1] * strides[1] : strides[1],
            ]
            taps[y, x] = seen.sum(axis=(0, 1)) / (output[0] * output[1])
    return taps
