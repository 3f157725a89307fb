"""ONNX: from a SavedModel to one self-describing `.onnx` file: float32, float16 weights or INT8."""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.archive.onnx import append_spec
from edgedet.converters.conversion import (
    Converted,
    ReportedInputs,
    Request,
    check_parity,
    compared_heads,
    layer_name,
    with_provenance,
)
from edgedet.converters.onnx_int8 import quantized
from edgedet.converters.saved_model import Exported, explained
from edgedet.errors import MissingDependencyError
from edgedet.quantization.sensitivity import Running

# New enough for every operator of the networks, old enough for the clients in use.
_OPSET = 17

# A float16 of fewer values than this would not pay for the operator that expands it.
_SMALL = 16
_HALF_LIMITS = (-65504.0, 65504.0)

# At the end of tf2onnx's names, and of those of tensors.
_NUMBER = re.compile(r"(__\d+)+|:\d+$")

_PACKAGES = ("onnx", "tf2onnx", "onnxruntime")


def require(request: Request) -> None:
    """Raise `MissingDependencyError` unless all that converts to ONNX is installed."""
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(
                f"Converting {request.source} to onnx needs {package}, which is not installed; "
                'install it with `pip install "edgedet[convert]"`.'
            )


def convert(request: Request, exported: Exported) -> Converted:
    """Convert a network to `request.precision`, one of `FORMATS["onnx"]`.

    Raises:
        EdgeDetError: tf2onnx can't convert it, or the result computes something else.
    """
    source, precision = request.source, request.precision
    batch = exported.variant.batch
    calibration = request.pictures if precision == "int8" else None
    packages = ("tf2onnx", "onnx", "onnxruntime") if precision == "int8" else ("tf2onnx", "onnx")
    spec = with_provenance(request, exported.spec, packages, calibration, batch=batch)
    with explained(source, "tf2onnx"):
        model = exported.once("onnx", lambda: to_model(exported))
        serialized = model.SerializeToString(deterministic=True)
        original = run = _run(serialized)
        found = original(exported.probe)
    # What is rounded may differ; what it is made from may not.
    check_parity(replace(request, precision="float32"), exported, found)
    if precision != "float32":
        with explained(source, "ONNX Runtime"):
            if calibration is None:
                model = with_half_weights(model)
            else:
                inputs = ReportedInputs(calibration, spec, "Calibrating", request.report, batch)
                model = quantized(model, inputs, spec, request.settings)
            serialized = model.SerializeToString(deterministic=True)
            run = _run(serialized)
            found = run(exported.probe)
    if precision == "float16":
        check_parity(request, exported, found)
    kinds = Counter(node.op_type for node in model.graph.node)
    return Converted(
        spec=spec,
        files={".onnx": append_spec(serialized, spec)},
        operators=dict(kinds.most_common()),
        calibration=calibration,
        heads=compared_heads(request, spec, batch, original, run),
    )


def to_model(exported: Exported) -> Any:
    """The SavedModel as a checked `onnx.ModelProto` with the shape of every tensor."""
    import onnx
    import tensorflow as tf
    import tf2onnx

    # The variables live as long as what was loaded does.
    loaded = tf.saved_model.load(str(exported.directory))
    signature = loaded.signatures["serving_default"]
    image = tf.TensorSpec(exported.probe.shape, tf.float32, name="image")
    network = tf.function(lambda image: signature(image=image), input_signature=[image])
    model, _ = tf2onnx.convert.from_function(network, input_signature=[image], opset=_OPSET)
    _simplify(model)
    _rename(model.graph, exported.layers)
    model.graph.name, model.graph.doc_string = exported.spec.name, ""
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def _simplify(model: Any) -> None:
    """Say the same in what newer clients keep: up-sampling's mode, and the operator sets used."""
    import onnx

    for node in model.graph.node:
        modes = {attribute.name: attribute for attribute in node.attribute}
        mode = modes.get("coordinate_transformation_mode")
        # Deprecated since opset 13. For whole factors, which all of ours are, floor of the
        # asymmetric place is the same pixel.
        if node.op_type == "Resize" and mode is not None and mode.s == b"tf_half_pixel_for_nn":
            mode.s = b"asymmetric"
            nearest = modes.get("nearest_mode") or node.attribute.add()
            nearest.CopyFrom(onnx.helper.make_attribute("nearest_mode", "floor"))
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _rename(graph: Any, layers: frozenset[str]) -> None:
    """Name nodes and tensors after Keras's layers, and put the constants in the order of use.

    tf2onnx's own names end in a number that counts on through the whole process.
    """
    names = {tensor.name: tensor.name for tensor in (*graph.input, *graph.output)}
    taken = {*names, ""}

    def free(name: str) -> str:
        candidates = itertools.chain([name], (f"{name}.{number}" for number in itertools.count(2)))
        chosen = next(candidate for candidate in candidates if candidate not in taken)
        taken.add(chosen)
        return chosen

    constants = {constant.name: constant for constant in graph.initializer}
    used = []
    for node in graph.node:
        # A fused convolution is named after nothing; its weights still are.
        origins = [_NUMBER.sub("", name) for name in (node.name, *node.input[1:])]
        known = [layer_name(name, layers) for name in origins]
        node.name = free(next((name for name in known if "/" in name), node.op_type))
        for name in node.input:
            if name in constants and name not in names:
                names[name] = free(f"{node.name}/constant")
                used.append(constants[name])
        for name in node.output:
            names.setdefault(name, name and free(f"{node.name}/output"))
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]
    kept = [type(constant).FromString(constant.SerializeToString()) for constant in used]
    for constant in kept:
        constant.name = names[constant.name]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]  # of the old names; inferred again


def with_half_weights(model: Any) -> Any:
    """A copy of a model whose weights lie in the file as float16.

    It computes in float32 all the same: engines expand the weights when they load. ONNX Runtime has
    hardly any float16 kernels for CPUs, and a network of float16 operators is slower there.
    """
    import onnx

    copy = type(model).FromString(model.SerializeToString())
    casts = []
    for constant in copy.graph.initializer:
        values = onnx.numpy_helper.to_array(constant)
        if values.dtype != np.float32 or values.size < _SMALL:
            continue
        name = constant.name
        half = np.clip(values, *_HALF_LIMITS).astype(np.float16)
        constant.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}/float16"))
        casts.append(
            onnx.helper.make_node(
                "Cast", [constant.name], [name], name=f"{name}/cast", to=onnx.TensorProto.FLOAT
            )
        )
    nodes = [type(node).FromString(node.SerializeToString()) for node in copy.graph.node]
    del copy.graph.node[:]
    copy.graph.node.extend([*casts, *nodes])
    onnx.checker.check_model(copy, full_check=True)
    return copy


def _run(model: bytes) -> Running:
    """A serialized model on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(tensor: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        return dict(zip(names, session.run(names, {"image": tensor}), strict=True))

    return run
