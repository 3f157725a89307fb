"""TFLite: `TFLite_Detection_PostProcess` behind the raw heads, and an input that MediaPipe fills.

The operator is TensorFlow Lite's own custom one (`detection_postprocess.cc`), which LiteRT, its
predecessors and MediaPipe carry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.anchors import all_anchors
from edgedet.archive.tflite_metadata import one_normalization, with_metadata
from edgedet.boxes import LOG_SIZE_LIMIT
from edgedet.converters.nms.options import NmsOptions, check_batch
from edgedet.spec import ModelSpec

OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")

_NO_BOUND = np.finfo(np.float32).max

# The uint8 input and the network's INT8 one count as the same up to this share of a step.
_SAME_STEP = 0.01


def embed(files: Mapping[str, bytes], spec: ModelSpec, options: NmsOptions) -> dict[str, bytes]:
    """`.tflite` with the suppression inside (see `edgedet.converters.nms.embed`)."""
    graph = _Graph(files[".tflite"])
    heads = graph.outputs()
    check_batch(graph.shape(heads[spec.class_outputs[0]])[0])
    graph.take_grey_levels(spec)
    scores = graph.joined("scores", [heads[name] for name in spec.class_outputs], spec.num_classes)
    codes = graph.joined("codes", [heads[name] for name in spec.box_outputs], 4)
    graph.set_outputs(
        graph.detections(
            graph.bounded(codes),
            graph.computed("LOGISTIC", "scores/probability", [scores], graph.shape(scores)),
            spec,
            options,
        )
    )
    return {".tflite": with_metadata(graph.to_bytes(), spec, nms=True)}


class _Graph:
    """A model's only subgraph, to which operators are added."""

    def __init__(self, model: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._model: Any = schema.ModelT.InitFromPackedBuf(model, 0)
        self._subgraph: Any = self._model.subgraphs[0]
        self._signature: Any = self._model.signatureDefs[0]

    def outputs(self) -> dict[str, int]:
        """Tensor by output name."""
        return {entry.name.decode(): int(entry.tensorIndex) for entry in self._signature.outputs}

    def shape(self, tensor: int) -> tuple[int, ...]:
        """A tensor's shape."""
        return tuple(int(side) for side in self._subgraph.tensors[tensor].shape)

    def take_grey_levels(self, spec: ModelSpec) -> None:
        """Let the input be what MediaPipe gives: uint8, or float32 of one mean and deviation.

        A normalization per channel, which MediaPipe lacks, moves into the graph.
        """
        types = self._schema.TensorType
        network = int(self._subgraph.inputs[0])
        tensor = self._subgraph.tensors[network]
        shape, one = self.shape(network), one_normalization(spec)
        if tensor.type == types.FLOAT32 and one:
            return
        tensor.name, operators = b"image/normalized", self._subgraph.operators
        self._subgraph.operators = []
        if tensor.type == types.INT8 and one:
            scale, zero = _grey_levels(tensor.quantization, spec)
            image = self._tensor(
                "image", shape, types.UINT8, _quantization(self._schema, scale, zero)
            )
            self._operator("QUANTIZE", [image], [network])
        else:
            grey = image = self._tensor("image", shape, types.FLOAT32)
            if tensor.type != types.FLOAT32:
                self._subgraph.tensors[grey].name = b"image/grey"
                step = _quantization(self._schema, 1.0, 0)
                image = self._tensor("image", shape, types.UINT8, step)
                self._operator("DEQUANTIZE", [image], [grey])
            mean, std = (np.array(one, np.float32) for one in (spec.input.mean, spec.input.std))
            factor, offset = self._constant("image/factor", 1 / std), -mean / std
            scaled = self.computed("MUL", "image/scaled", [grey, factor], shape)
            real = network
            if tensor.type != types.FLOAT32:
                real = self._tensor("image/real", shape, types.FLOAT32)
            self._operator("ADD", [scaled, self._constant("image/offset", offset)], [real])
            if real != network:
                self._operator("QUANTIZE", [real], [network])
        self._subgraph.operators += operators
        self._subgraph.inputs = [image]
        self._signature.inputs[0].tensorIndex = image

    def joined(self, name: str, tensors: Sequence[int], columns: int) -> int:
        """The maps of all levels as one float32 tensor [1, anchors, columns]."""
        rows = [self._rows(f"{name}_{place}", one, columns) for place, one in enumerate(tensors)]
        if len(rows) == 1:
            return rows[0]
        shape = (1, sum(self.shape(one)[1] for one in rows), columns)
        return self.computed("CONCATENATION", name, rows, shape, axis=1)

    def bounded(self, codes: int) -> int:
        """Box codes whose sizes stay finite, as `edgedet.boxes.decode` bounds them."""
        bounds = np.array([_NO_BOUND, _NO_BOUND, LOG_SIZE_LIMIT, LOG_SIZE_LIMIT], np.float32)
        greatest = self._constant("codes/greatest", bounds)
        return self.computed("MINIMUM", "codes/bounded", [codes, greatest], self.shape(codes))

    def detections(
        self, codes: int, scores: int, spec: ModelSpec, options: NmsOptions
    ) -> list[int]:
        """The custom operator's four outputs."""
        from flatbuffers import flexbuffers

        settings = {
            "max_detections": options.max_detections,
            "max_classes_per_detection": 1,
            "detections_per_class": options.max_detections,
            "use_regular_nms": True,  # per class
            "nms_score_threshold": float(options.score_threshold),
            "nms_iou_threshold": float(options.iou_threshold),
            "num_classes": spec.num_classes,
            **{f"{side}_scale": 1.0 for side in "yxhw"},
        }
        count = options.max_detections
        shapes = ((1, count, 4), (1, count), (1, count), (1,))
        results = [
            self._tensor(name, shape, self._schema.TensorType.FLOAT32)
            for name, shape in zip(OUTPUTS, shapes, strict=True)
        ]
        anchors = self._constant("anchors", _normalized_anchors(spec))
        operator = self._operator("CUSTOM", [codes, scores, anchors], results)
        operator.customOptions = np.frombuffer(bytes(flexbuffers.Dumps(settings)), np.uint8)
        return results

    def set_outputs(self, tensors: Sequence[int]) -> None:
        """Make tensors the model's outputs, in the signature under their own names."""
        self._subgraph.outputs = list(tensors)
        self._signature.outputs = []
        for tensor in tensors:
            entry = self._schema.TensorMapT()
            entry.name, entry.tensorIndex = self._subgraph.tensors[tensor].name, tensor
            self._signature.outputs.append(entry)

    def computed(
        self, kind: str, name: str, inputs: Sequence[int], shape: Sequence[int], **options: Any
    ) -> int:
        """The float32 output of a new operator."""
        output = self._tensor(name, shape, self._schema.TensorType.FLOAT32)
        self._operator(kind, inputs, [output], **options)
        return output

    def to_bytes(self) -> bytes:
        """The model as a flatbuffer."""
        import flatbuffers

        builder = flatbuffers.Builder(2**20)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _rows(self, name: str, tensor: int, columns: int) -> int:
        """A map [1, rows, columns, anchors * width] as float32 [1, all anchors, width]."""
        entry = self._subgraph.tensors[tensor]
        shape = (1, int(np.prod(self.shape(tensor))) // columns, columns)
        reshaped = self._tensor(f"{name}/rows", shape, entry.type, entry.quantization)
        sides = self._constant(f"{name}/shape", np.array(shape, np.int32))
        self._operator("RESHAPE", [tensor, sides], [reshaped], newShape=list(shape))
        if entry.type == self._schema.TensorType.FLOAT32:
            return reshaped
        return self.computed("DEQUANTIZE", f"{name}/real", [reshaped], shape)

    def _tensor(self, name: str, shape: Sequence[int], kind: int, quantization: Any = None) -> int:
        entry = self._schema.TensorT()
        entry.name, entry.shape, entry.type, entry.buffer = name.encode(), list(shape), kind, 0
        entry.quantization, entry.hasRank = quantization, True
        self._subgraph.tensors.append(entry)
        return len(self._subgraph.tensors) - 1

    def _constant(self, name: str, values: npt.NDArray[Any]) -> int:
        types = self._schema.TensorType
        kind = types.INT32 if values.dtype.kind == "i" else types.FLOAT32
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        tensor = self._tensor(name, values.shape, kind)
        self._subgraph.tensors[tensor].buffer = len(self._model.buffers) - 1
        return tensor

    def _operator(
        self, kind: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any
    ) -> Any:
        entry = self._schema.OperatorT()
        entry.opcodeIndex, entry.inputs, entry.outputs = (
            self._code(kind),
            list(inputs),
            list(outputs),
        )
        if table := _OPTIONS.get(kind):
            entry.builtinOptionsType = getattr(self._schema.BuiltinOptions, table)
            entry.builtinOptions = getattr(self._schema, f"{table}T")()
            for name, value in options.items():
                setattr(entry.builtinOptions, name, value)
        self._subgraph.operators.append(entry)
        return entry

    def _code(self, kind: str) -> int:
        builtin = getattr(self._schema.BuiltinOperator, kind)
        version = _VERSIONS.get(kind, 1)
        for index, code in enumerate(self._model.operatorCodes):
            known = max(code.builtinCode, code.deprecatedBuiltinCode)
            if (known, code.version, code.customCode or b"") == (
                builtin,
                version,
                _CUSTOM.get(kind, b""),
            ):
                return index
        code = self._schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version, code.customCode = version, _CUSTOM.get(kind)
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1


_CUSTOM = {"CUSTOM": b"TFLite_Detection_PostProcess"}

# The first that knows the types in use.
_VERSIONS = {"DEQUANTIZE": 3, "QUANTIZE": 2}

_OPTIONS = {
    "ADD": "AddOptions",
    "CONCATENATION": "ConcatenationOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions",
    "QUANTIZE": "QuantizeOptions",
    "RESHAPE": "ReshapeOptions",
}


def _normalized_anchors(spec: ModelSpec) -> npt.NDArray[np.float32]:
    """Anchors [N, 4] as the operator wants them: `cy, cx, h, w` in shares of the input's sides."""
    height, width = spec.input.height, spec.input.width
    anchors = all_anchors(spec)[:, [1, 0, 3, 2]].astype(np.float64)
    return (anchors / [height, width, height, width]).astype(np.float32)


def _grey_levels(quantization: Any, spec: ModelSpec) -> tuple[float, int]:
    """Step and zero point of grey levels that stand for what the normalization makes of them.

    Where the network's own INT8 step is the same but for rounding it is taken over: then the
    operator between the two only relabels.
    """
    mean, std = spec.input.mean[0], spec.input.std[0]
    scale, zero = float(quantization.scale[0]), int(quantization.zeroPoint[0]) + 128
    if abs(scale * std - 1) < _SAME_STEP and abs(zero - mean) <= 1:
        return scale, zero
    return 1 / std, int(np.clip(np.round(mean), 0, 255))


def _quantization(schema: Any, scale: float, zero_point: int) -> Any:
    entry = schema.QuantizationParametersT()
    entry.scale, entry.zeroPoint = [scale], [zero_point]
    return entry
