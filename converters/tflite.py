"""TFLite: from a SavedModel to one self-describing `.tflite` file, float or INT8."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgedet.archive.tflite_metadata import with_metadata
from edgedet.converters.conversion import (
    CALIBRATED,
    COMPARED_IMAGES,
    Converted,
    ReportedInputs,
    Request,
    check_parity,
    layer_name,
    with_provenance,
)
from edgedet.converters.saved_model import Exported, explained, to_flatbuffer
from edgedet.converters.tflite_int16 import quantized_int16x8
from edgedet.errors import EdgeDetError
from edgedet.quantization.interpreters import running_interpreter
from edgedet.quantization.sensitivity import (
    HeadFidelity,
    LayerFidelity,
    compare_heads,
    compare_layers,
    worst_layers,
)
from edgedet.quantization.tflite_graph import TfliteGraph
from edgedet.quantization.tflite_int8 import quantize_with
from edgedet.spec import ModelSpec


def require(request: Request) -> None:
    """TensorFlow and LiteRT are all that this format needs."""


def convert(request: Request, exported: Exported) -> Converted:
    """Convert a network to `request.precision`, one of `FORMATS["tflite"]`.

    Raises:
        EdgeDetError: TensorFlow Lite can't convert it, or the result computes something else.
    """
    precision, pictures, spec = request.precision, request.pictures, exported.spec
    batch = exported.variant.batch
    original, model = _flatbuffers(request, exported)
    graph = TfliteGraph(model)
    _check_graph(request.source, graph, model, spec)
    heads: list[HeadFidelity] = []
    layers: list[LayerFidelity] = []
    if pictures is not None and precision != "float32":
        few = pictures.part(COMPARED_IMAGES)
        inputs = ReportedInputs(few, spec, "Comparing with float", request.report, batch)
        compared = list(inputs)
        heads = compare_heads(original, model, compared, spec)
        if precision == "int8":
            layers = worst_layers(compare_layers(original, model, compared))
    calibration = pictures if precision in CALIBRATED else None
    spec = with_provenance(request, spec, (), calibration, batch=batch)
    return Converted(
        spec=spec,
        files={".tflite": with_metadata(model, spec, nms=False)},
        operators=graph.operator_counts(),
        calibration=calibration,
        heads=heads,
        layers=layers,
    )


def _flatbuffers(request: Request, exported: Exported) -> tuple[bytes, bytes]:
    """The float32 model, and the model of the precision asked for.

    Where layers were equalized, the float32 model is the equalized one: their activations compare.
    """
    source, precision, spec = request.source, request.precision, exported.spec
    original = exported.once("tflite", lambda: _float32(source, exported))
    check_parity(replace(request, precision="float32"), exported, _outputs(original, exported))
    if precision == "float32":
        return original, original
    if precision not in CALIBRATED:
        return original, _renamed(to_flatbuffer(source, exported, precision), exported)
    assert request.pictures is not None
    inputs = ReportedInputs(
        request.pictures, spec, "Calibrating", request.report, exported.variant.batch
    )
    if precision == "int16x8":
        return original, _renamed(quantized_int16x8(source, original, inputs), exported)
    with explained(source):
        result = quantize_with(source, original, inputs, spec, request.settings)
    return result.reference, _renamed(result.model, exported)


def _float32(source: Path, exported: Exported) -> bytes:
    return _renamed(to_flatbuffer(source, exported, "float32"), exported)


def _outputs(model: bytes, exported: Exported) -> dict[str, npt.NDArray[np.float32]]:
    """What a float model computes for the probe."""
    interpreter = running_interpreter(model)
    graph = TfliteGraph(model)
    interpreter.set_tensor(graph.inputs[0], exported.probe)
    interpreter.invoke()
    return {name: interpreter.get_tensor(tensor) for name, tensor in graph.outputs.items()}


def _renamed(model: bytes, exported: Exported) -> bytes:
    """The model with short tensor names: outputs as in the signature, others `layer/operation`."""
    graph = TfliteGraph(model)
    outputs = {tensor: name for name, tensor in graph.outputs.items()}
    names: dict[int, str] = {}
    taken = set(outputs.values())
    # Activations first: a constant of the same origin gets the number.
    for tensor in dict.fromkeys((*graph.activations, *graph.tensors)):
        name = outputs.get(tensor) or layer_name(graph.name(tensor), exported.layers)
        if tensor not in outputs:
            base, count = name, 1
            while name in taken:
                count += 1
                name = f"{base}.{count}"
            taken.add(name)
        names[tensor] = name
    names[graph.inputs[0]] = "image"
    graph.rename(names)
    return graph.to_bytes()


def _check_graph(source: Path, graph: TfliteGraph, model: bytes, spec: ModelSpec) -> None:
    """Raise unless the model has builtin operators only, the spec's outputs, and runs."""
    foreign = sorted({op.kind for op in graph.operators} & {"FLEX", "CUSTOM"})
    if foreign:
        raise EdgeDetError(
            f"{source}: the conversion left {foreign[0]} operators, which no "
            "plain TensorFlow Lite runs; please report this."
        )
    wanted = {*spec.class_outputs, *spec.box_outputs}
    if set(graph.outputs) != wanted:
        raise EdgeDetError(f"{source}: the converted network lacks the spec's outputs.")
    try:
        running_interpreter(model).invoke()
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise EdgeDetError(
            f"{source}: TensorFlow Lite converted it but can't run the result ({reason}); "
            "please report this."
        ) from error
