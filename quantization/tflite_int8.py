"""A float `.tflite` model to INT8 as `QuantizationSettings` say."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgedet.errors import InvalidInputError
from edgedet.quantization.bias_correction import bias_corrected
from edgedet.quantization.equalization import equalized
from edgedet.quantization.ranges import fit_ranges, observe
from edgedet.quantization.settings import QuantizationSettings
from edgedet.quantization.tflite_graph import TfliteGraph
from edgedet.spec import ModelSpec

# Added to names that occur again.
_NUMBER = re.compile(r"\.\d+$")


@dataclass(frozen=True)
class Quantized:
    """An INT8 model and the float model to compare it with.

    Attributes:
        model: INT8 flatbuffer.
        reference: the float model it approximates tensor by tensor: the given one, equalized if
            that was asked for.
    """

    model: bytes
    reference: bytes


def quantized(
    source: Path,
    model: bytes,
    inputs: Iterable[npt.NDArray[np.float32]],
    spec: ModelSpec,
    settings: QuantizationSettings,
) -> bytes:
    """Quantize a float `.tflite` model to INT8, input and outputs included.

    Args:
        source: the file it comes from, for messages.
        model: float flatbuffer; its tensors are called `layer` or `layer/operation`.
        inputs: calibration inputs [1, height, width, 3].
        spec: the model's spec.
        settings: how to quantize.

    Raises:
        InvalidInputError: the model lacks a layer that is to be kept.
    """
    return quantize_with(source, model, inputs, spec, settings).model


def quantize_with(
    source: Path,
    model: bytes,
    inputs: Iterable[npt.NDArray[np.float32]],
    spec: ModelSpec,
    settings: QuantizationSettings,
) -> Quantized:
    """Do what `quantized` does, and return the float model behind the result too."""
    kept = kept_tensors(source, TfliteGraph(model), settings.keep)
    if isinstance(inputs, Iterator):  # they are run several times
        inputs = list(inputs)
    reference = equalized(model, inputs) if settings.equalization else model
    observation = observe(reference, inputs, spec, histograms=settings.ranges != "fitted")
    graph = TfliteGraph(reference)
    graph.set_ranges(fit_ranges(reference, observation, spec, settings.ranges))
    ranged = graph.to_bytes()
    result = quantize_ranged(ranged, kept)
    if settings.bias_correction:
        result = quantize_ranged(bias_corrected(ranged, result, inputs), kept)
    return Quantized(result, reference)


def kept_tensors(source: Path, graph: TfliteGraph, keep: Iterable[str]) -> set[str]:
    """Names of the results of all operators that belong to one of the layers `keep`.

    Raises:
        InvalidInputError: an entry is no layer of the model.
    """
    wanted = set(keep)
    found: set[str] = set()
    names: set[str] = set()
    for index in range(len(graph.operators)):
        layers = operator_layers(graph, index)
        if wanted & set(layers):
            found |= wanted & set(layers)
            names |= {graph.name(tensor) for tensor in graph.operators[index].outputs}
    if missing := sorted(wanted - found):
        raise InvalidInputError(
            f"{source}: there is no layer {missing[0]!r} to keep in float; "
            "take the names from the conversion's report."
        )
    return names


def operator_layers(graph: TfliteGraph, operator: int) -> tuple[str, ...]:
    """The layers that the operator of an index came from: of its result, then of its constants."""
    entry = graph.operators[operator]
    activations = set(graph.activations)
    constants = [tensor for tensor in entry.inputs if tensor not in activations]
    names = [graph.name(tensor) for tensor in (*entry.outputs, *constants)]
    # A constant called after no layer, as `arith.constant3` is, may be shared by many.
    named = [name for name in names if "/" in name or name in graph.outputs]
    layers = [_NUMBER.sub("", name.split("/")[0]) for name in named or names[:1]]
    return tuple(dict.fromkeys(layers))


def quantize_ranged(model: bytes, kept: Collection[str] = ()) -> bytes:
    """Quantize a float `.tflite` model whose activations have ranges, input and outputs included.

    Args:
        model: float flatbuffer.
        kept: names of results that stay float, with the operators that compute them.
    """
    import tensorflow as tf

    # What TFLiteConverter itself calls after calibration; there is no public way to give it ranges
    # of one's own.
    from tensorflow.lite.python.convert import mlir_quantize

    return bytes(
        mlir_quantize(
            model,
            fully_quantize=True,
            input_data_type=tf.int8,
            output_data_type=tf.int8,
            denylisted_nodes=set(kept) or None,
        )
    )
