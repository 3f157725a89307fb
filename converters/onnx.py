"""ONNX: from a SavedModel to one self-describing `.onnx` file in float32."""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.archive.onnx import append_spec
from edgedet.converters.conversion import (
    Converted,
    Request,
    check_parity,
    layer_name,
    with_provenance,
)
from edgedet.converters.saved_model import Exported, explained
from edgedet.errors import MissingDependencyError

# New enough for every operator of the networks, old enough for the clients in use.
_OPSET = 17

# At the end of tf2onnx's names, and of those of tensors.
_NUMBER = re.compile(r"(__\d+)+|:\d+$")

_PACKAGES = ("onnx", "tf2onnx", "onnxruntime")


def require(source: Path) -> None:
    """Raise `MissingDependencyError` unless all that converts to ONNX is installed."""
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(
                f"Converting {source} to onnx needs {package}, which is not installed; install it "
                'with `pip install "edgedet[convert]"`.'
            )


def convert(request: Request, exported: Exported) -> Converted:
    """Convert a network to `request.precision`, one of `FORMATS["onnx"]`.

    Raises:
        EdgeDetError: tf2onnx can't convert it, or the result computes something else.
    """
    spec = with_provenance(request, exported.spec, ("tf2onnx", "onnx"))
    with explained(request.source, "tf2onnx"):
        model = to_model(exported)
        serialized = model.SerializeToString(deterministic=True)
        found = _outputs(serialized, exported.probe)
    check_parity(request, exported, found)
    kinds = Counter(node.op_type for node in model.graph.node)
    return Converted(
        spec=spec,
        files={".onnx": append_spec(serialized, spec)},
        operators=dict(kinds.most_common()),
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


def _outputs(model: bytes, probe: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    """What a serialized model computes for the probe."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": probe}), strict=True))
