"""TFLite with int16 activations and int8 weights, from a float flatbuffer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgedet.converters.saved_model import explained
from edgedet.quantization.tflite_graph import TfliteGraph


def quantized_int16x8(
    source: Path, model: bytes, inputs: Iterable[npt.NDArray[np.float32]]
) -> bytes:
    """Quantize a float model to int16 activations, int8 weights per channel and int64 biases.

    Input and outputs are float32. TensorFlow's quantizer measures the ranges itself: 16 bits are so
    many that rare values may have their part.

    Args:
        source: the file it comes from, for messages.
        model: float flatbuffer.
        inputs: calibration inputs [batch, height, width, 3].

    Raises:
        EdgeDetError: TensorFlow Lite can't quantize it.
    """
    with explained(source):
        import tensorflow as tf

        # What TFLiteConverter itself calls; from a SavedModel it would share biases again.
        from tensorflow.lite.python.optimize.calibrator import Calibrator

        quantizer = Calibrator(_with_own_biases(model))
        return bytes(
            quantizer.calibrate_and_quantize(
                lambda: ([tensor] for tensor in inputs),
                tf.float32,
                tf.float32,
                # The few operators without an int16 kernel, hard_swish among them, stay in float.
                allow_float=True,
                activations_type=tf.int16,
                bias_type=tf.int64,
            )
        )


def _with_own_biases(model: bytes) -> bytes:
    """The model, each convolution with a bias of its own.

    A head has one bias for all levels, whose inputs have other scales. The quantizer would scale it
    for the first and leave it wrong for the others.
    """
    graph = TfliteGraph(model)
    for index, operator in enumerate(graph.operators):
        if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and len(operator.inputs) > 2:
            bias = graph.constant(operator.inputs[2])
            if bias is not None:
                graph.set_constant(index, 2, bias)
    return graph.to_bytes()
