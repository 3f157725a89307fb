"""What `.onnx` and `.xml` files say of themselves, for machines without the engine too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgedet import archive
from edgedet.archive.model_file import StoredTensor
from edgedet.errors import InvalidInputError
from edgedet.runtime.engines import TensorInfo, check_input, check_names, check_outputs
from edgedet.spec import ModelSpec

_WEIGHTED = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class StoredModel:
    """A model that is described and not run.

    Attributes:
        name: the engine that runs such files.
        spec: what the file says about itself.
        input_info: the image tensor.
        class_info: class logits, finest level first.
        box_info: box codes, finest level first.
        precision: type in which most convolutions multiply; None where the engine decides.
    """

    name: str
    spec: ModelSpec
    input_info: TensorInfo
    class_info: tuple[TensorInfo, ...]
    box_info: tuple[TensorInfo, ...]
    precision: str | None = None


def read_stored(path: Path) -> StoredModel | None:
    """Describe a file without its engine; None for formats that need theirs.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: a damaged file, one without a model spec, or one that doesn't fit it.
    """
    if path.suffix.lower() == ".onnx":
        return read_onnx(path)[0]
    if path.suffix.lower() == ".xml":
        spec, xml, _ = archive.openvino.read_model(path)
        network = archive.openvino.read_network(path, xml)
        return _described(path, "openvino", spec, network.inputs, network.outputs)
    return None


def read_onnx(path: Path) -> tuple[StoredModel, bytes]:
    """Describe an `.onnx` file whose tensors fit its spec, and give its bytes.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: a damaged file, one without a model spec, or one that doesn't fit it.
    """
    spec, model = archive.onnx.read_model(path)
    graph = archive.onnx.read_graph(path, model)
    described = _described(path, "onnxruntime", spec, graph.inputs, graph.outputs)
    return replace(described, precision=_precision(graph)), model


def _precision(graph: archive.onnx.Graph) -> str | None:
    """What most convolutions multiply: ONNX Runtime runs on the CPU what the file says."""
    made_by = {name: node.kind for node in graph.nodes for name in node.outputs}
    found: Counter[str] = Counter()
    for node in graph.nodes:
        if node.kind.startswith(("QLinear", "ConvInteger", "MatMulInteger")):
            found["int8"] += 1
        elif node.kind in _WEIGHTED and len(node.inputs) > 1:
            weights = node.inputs[1]
            if made_by.get(weights) == "DequantizeLinear":
                found["int8"] += 1
            elif made_by.get(weights) == "Cast":
                # Stored as float16, expanded when the model loads.
                found["float32"] += 1
            elif weights in graph.constants:
                found[graph.tensors[weights].dtype] += 1
    return found.most_common(1)[0][0] if found else None


def _described(
    path: Path,
    engine: str,
    spec: ModelSpec,
    inputs: Sequence[StoredTensor],
    outputs: Sequence[StoredTensor],
) -> StoredModel:
    if len(inputs) != 1:
        raise InvalidInputError(
            f"{path} has {len(inputs)} inputs instead of one image; convert the model again."
        )
    image = _info(inputs[0])
    check_input(path, spec, image)
    found = {tensor.name: _info(tensor) for tensor in outputs}
    check_names(path, spec, found)
    classes = tuple(found[name] for name in spec.class_outputs)
    boxes = tuple(found[name] for name in spec.box_outputs)
    check_outputs(path, spec, classes, boxes)
    return StoredModel(engine, spec, image, classes, boxes)


def _info(tensor: StoredTensor) -> TensorInfo:
    try:
        dtype = np.dtype(tensor.dtype)
    except TypeError:
        dtype = np.dtype(object)  # of no type that NumPy has
    return TensorInfo(tensor.name, tensor.shape, dtype)
