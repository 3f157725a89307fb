"""Networks that end in raw heads, one convolution each, the same in every format.

They find much in any picture, and take milliseconds to make: what is appended to a network can be
tested on them as well as on a trained one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet import archive
from edgedet.packages import import_openvino
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

SPEC = ModelSpec(
    "noise", InputSpec(64, 64), AnchorSpec(3, 4), ("cat", "sea lion", "bird"), (1, 2, 3)
)
# ImageNet's mean and deviation, which differ from channel to channel.
PER_CHANNEL = replace(
    SPEC, input=InputSpec(64, 64, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
)

Weights = dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""Kernel [height, width, 3, channels] and bias [channels] of each head."""

SUFFIXES = {"tflite": (".tflite",), "openvino": (".xml", ".bin"), "onnx": (".onnx",)}


def picture(width: int, height: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Smooth colours."""
    rng = np.random.default_rng(seed)
    grid = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))


def weights(spec: ModelSpec, class_bias: float = -2.5, size_bias: float = 0.0) -> Weights:
    """Kernels that cover the square a place stands for."""
    rng = np.random.default_rng(0)
    made = {}
    for level in spec.anchors.levels:
        side = 2**level
        biases = {"class": [class_bias] * spec.num_classes, "box": [0, 0, size_bias, size_bias]}
        for head, bias in biases.items():
            channels = spec.anchors.per_location * len(bias)
            kernel = rng.normal(0, 1 / side, (side, side, 3, channels))
            if head == "box":
                kernel /= 6
            offsets = np.tile(np.array(bias, np.float32), spec.anchors.per_location)
            made[f"{head}_{level}"] = kernel.astype(np.float32), offsets
    return made


def finished(
    form: str, spec: ModelSpec = SPEC, heads: Weights | None = None, **options: Any
) -> dict[str, bytes]:
    """The files of a network, by suffix, as the converter writes them."""
    make: Callable[..., dict[str, bytes]] = {
        "tflite": _tflite,
        "openvino": _openvino,
        "onnx": _onnx,
    }[form]
    return make(spec, heads or weights(spec), **options)


def written(files: dict[str, bytes], directory: Path, stem: str) -> Path:
    """Write files; the one that names the model."""
    for suffix, content in files.items():
        (directory / f"{stem}{suffix}").write_bytes(content)
    return directory / f"{stem}{next(iter(files))}"


def _onnx(spec: ModelSpec, heads: Weights, batch: int = 1) -> dict[str, bytes]:
    import onnx

    float32, make = onnx.TensorProto.FLOAT, onnx.helper.make_node
    height, width = spec.input.height, spec.input.width
    image = onnx.helper.make_tensor_value_info("image", float32, [batch, height, width, 3])
    nodes = [make("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2])]
    constants, outputs = [], []
    for name, (kernel, bias) in heads.items():
        side = kernel.shape[0]
        constants.append(onnx.numpy_helper.from_array(kernel.transpose(3, 2, 0, 1), f"{name}_w"))
        constants.append(onnx.numpy_helper.from_array(bias, f"{name}_b"))
        inputs = ["planes", f"{name}_w", f"{name}_b"]
        nodes.append(make("Conv", inputs, [f"{name}_maps"], strides=[side, side]))
        nodes.append(make("Transpose", [f"{name}_maps"], [name], perm=[0, 2, 3, 1]))
        shape = [batch, height // side, width // side, len(bias)]
        outputs.append(onnx.helper.make_tensor_value_info(name, float32, shape))
    graph = onnx.helper.make_graph(nodes, spec.name, [image], outputs, constants)
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return {".onnx": archive.onnx.append_spec(model.SerializeToString(), spec)}


def _openvino(spec: ModelSpec, heads: Weights, half: bool = False) -> dict[str, bytes]:
    import tempfile

    openvino = import_openvino()
    ops = openvino.opset9
    image = ops.parameter([1, spec.input.height, spec.input.width, 3], np.float32, "image")
    image.output(0).set_names({"image"})
    planes = ops.transpose(image, np.int64([0, 3, 1, 2]))
    results = []
    for name, (kernel, bias) in heads.items():
        side = [kernel.shape[0]] * 2
        maps = ops.convolution(
            planes, kernel.transpose(3, 2, 0, 1).copy(), side, [0, 0], [0, 0], [1, 1]
        )
        maps = ops.transpose(ops.add(maps, bias[:, None, None]), np.int64([0, 2, 3, 1]))
        maps.output(0).set_names({name})
        results.append(ops.result(maps))
    model = openvino.Model(results, [image], spec.name)
    model.set_rt_info(spec.to_json(), list(archive.openvino.RT_INFO_PATH))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.xml"
        openvino.save_model(model, str(path), compress_to_fp16=half)
        xml, binary = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    return {".xml": archive.openvino.add_digest(xml, binary), ".bin": binary}


def _tflite(spec: ModelSpec, heads: Weights) -> dict[str, bytes]:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph, signature = schema.ModelT(), schema.SubGraphT(), schema.SignatureDefT()
    model.version, model.subgraphs, model.signatureDefs = 3, [graph], [signature]
    model.buffers, graph.tensors, graph.operators = [schema.BufferT()], [], []
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version, model.operatorCodes = 1, [code]

    def tensor(name: str, shape: tuple[int, ...], values: Any = None) -> int:
        entry = schema.TensorT()
        entry.name, entry.shape, entry.type = name.encode(), list(shape), schema.TensorType.FLOAT32
        entry.buffer = 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            model.buffers.append(buffer)
            entry.buffer = len(model.buffers) - 1
        graph.tensors.append(entry)
        return len(graph.tensors) - 1

    def named(name: str, index: int) -> Any:
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        return entry

    height, width = spec.input.height, spec.input.width
    image = tensor("image", (1, height, width, 3))
    graph.inputs, graph.outputs = [image], []
    signature.signatureKey, signature.inputs = b"serving_default", [named("image", image)]
    signature.outputs = []
    for name, (kernel, bias) in heads.items():
        side, channels = kernel.shape[0], len(bias)
        operator = schema.OperatorT()
        filters = kernel.transpose(3, 0, 1, 2)
        operator.inputs = [
            image,
            tensor(f"{name}_w", filters.shape, filters),
            tensor(f"{name}_b", (channels,), bias),
        ]
        operator.outputs = [tensor(name, (1, height // side, width // side, channels))]
        operator.opcodeIndex = 0
        operator.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
        operator.builtinOptions = schema.Conv2DOptionsT()
        operator.builtinOptions.padding = schema.Padding.VALID
        operator.builtinOptions.strideH = operator.builtinOptions.strideW = side
        operator.builtinOptions.dilationHFactor = operator.builtinOptions.dilationWFactor = 1
        graph.operators.append(operator)
        graph.outputs += operator.outputs
        signature.outputs.append(named(name, operator.outputs[0]))
    builder = flatbuffers.Builder(2**20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return {".tflite": archive.append_spec(bytes(builder.Output()), spec)}
