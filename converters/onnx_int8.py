"""ONNX INT8: quantizing and dequantizing operators in a float network, weights per channel.

ONNX Runtime's quantizer writes them; the ranges are ours. Its calibrators keep every activation of
every picture in memory, and know nothing of what the values of a detection head mean.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.converters.conversion import ReportedInputs
from edgedet.quantization.histograms import Histogram
from edgedet.quantization.ranges import CLASS_FLOOR, CLASS_MARGIN, likely_anchors
from edgedet.quantization.sensitivity import Running
from edgedet.quantization.settings import QuantizationSettings
from edgedet.spec import ModelSpec

Ranges = dict[str, tuple[float, float]]
"""(low, high) by tensor name, low <= 0 <= high."""

# Box codes of pictures to come may go further than those measured.
_BOX_MARGIN = 1.25
# Left out on either side by "percentile" ranges.
_RARE = 1e-4
# From here down a swish is within 0.015 of zero.
_SWISH_FLOOR = -6.0
_LEAST_SPAN = 1e-6

# What may lie between a head's convolution and its output, and changes no value.
_MOVES = ("Transpose", "Reshape")

# Those that ONNX Runtime has INT8 kernels for.
_KINDS = (
    *("Conv", "Add", "Mul", "Sigmoid", "Clip", "Relu", "MaxPool", "Resize"),
    *("GlobalAveragePool", "AveragePool", "Transpose", "Reshape", "Concat"),
)


def quantized(
    model: Any, inputs: ReportedInputs, spec: ModelSpec, settings: QuantizationSettings
) -> Any:
    """A float32 `onnx.ModelProto` in INT8: weights per channel, activations per tensor.

    Input and outputs stay float32 and are quantized inside.

    Args:
        model: from `edgedet.converters.onnx.to_model`, whose nodes are called `layer/operation`;
            it is not changed.
        inputs: of the calibration pictures.
        spec: of the network.
        settings: how to quantize; there is no equalization.
    """
    ranges = _ranges(model, inputs, spec, settings.ranges)
    image = next(iter(inputs))
    result = _with_quantizers(model, ranges, image, settings.keep)
    if settings.bias_correction:
        corrected = _with_corrected_biases(model, result, inputs)
        result = _with_quantizers(corrected, ranges, image, settings.keep)
    return result


def _with_quantizers(
    model: Any, ranges: Ranges, image: npt.NDArray[np.float32], keep: tuple[str, ...]
) -> Any:
    import onnx
    from onnxruntime import quantization

    class OnePicture(quantization.CalibrationDataReader):  # type: ignore[misc]
        """The quantizer must calibrate; each range that it finds is overridden."""

        def __init__(self) -> None:
            self.left = iter([{"image": image}])

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            return next(self.left, None)

    overrides = {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in ranges.items()
    }
    kept = [node.name for node in model.graph.node if node.name.partition("/")[0] in keep]
    with tempfile.TemporaryDirectory(prefix="edgedet-") as directory:
        target = Path(directory) / "model.onnx"
        quantization.quantize_static(
            _copy(model),
            target,
            OnePicture(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(_KINDS),
            per_channel=True,
            # On x86 the kernels for all but convolutions take unsigned activations only.
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=kept,
            extra_options={"TensorQuantOverrides": overrides},
        )
        return onnx.load(target)


def _ranges(
    model: Any, inputs: Iterable[npt.NDArray[np.float32]], spec: ModelSpec, method: str
) -> Ranges:
    """Range of every activation, without the parts that make no difference.

    The heads' are those of `quantization.ranges.fit_ranges` whatever the method.
    """
    extremes: Ranges = {}
    likely: Ranges = {}
    histograms: dict[str, Histogram] = {}
    run = _watching(model)
    for tensor in inputs:
        values = run(tensor)
        for name, value in values.items():
            _widen(extremes, name, value)
            if method != "fitted":
                histograms.setdefault(name, Histogram()).add(value)
        for class_name, box_name in zip(spec.class_outputs, spec.box_outputs, strict=True):
            logits = values[class_name].reshape(-1, spec.num_classes)
            _widen(likely, box_name, values[box_name].reshape(-1, 4)[likely_anchors(logits)])
    ranges = dict(extremes)
    for name, histogram in histograms.items():
        if name != "image":
            ranges[name] = (
                histogram.percentile(_RARE) if method == "percentile" else histogram.least_squares()
            )
    for name in _swish_inputs(model.graph):
        low, high = ranges[name]
        ranges[name] = max(low, _SWISH_FLOOR), high
    for name in spec.class_outputs:
        low, high = extremes[name]
        fitted = max(low, CLASS_FLOOR), high + CLASS_MARGIN
        ranges.update(dict.fromkeys(_same_values(model.graph, name), fitted))
    for name in spec.box_outputs:
        low, high = extremes[name]
        least, greatest = (_BOX_MARGIN * limit for limit in likely[name])
        fitted = max(low, least), min(high, greatest)
        ranges.update(dict.fromkeys(_same_values(model.graph, name), fitted))
    return {name: (low, max(high, low + _LEAST_SPAN)) for name, (low, high) in ranges.items()}


def _widen(ranges: Ranges, name: str, value: npt.NDArray[np.float32]) -> None:
    least, greatest = ranges.get(name, (0.0, 0.0))
    ranges[name] = min(least, float(value.min())), max(greatest, float(value.max()))


def _same_values(graph: Any, output: str) -> list[str]:
    """A head's output and the tensors that it is moved from."""
    made_by = {name: node for node in graph.node for name in node.output}
    names = [output]
    while (node := made_by.get(names[-1])) is not None and node.op_type in _MOVES:
        names.append(node.input[0])
    return names


def _swish_inputs(graph: Any) -> list[str]:
    """Tensors that are multiplied by their own sigmoid and read by nothing else."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = []
    for name, nodes in readers.items():
        kinds = {node.op_type: node for node in nodes}
        if len(nodes) == 2 and kinds.keys() == {"Sigmoid", "Mul"}:
            gate = kinds["Sigmoid"].output[0]
            if set(kinds["Mul"].input) == {name, gate} and len(readers[gate]) == 1:
                found.append(name)
    return found


def _with_corrected_biases(
    model: Any, result: Any, inputs: Iterable[npt.NDArray[np.float32]]
) -> Any:
    """A copy of a float model whose biases take off the mean error that INT8 gives each channel.

    All convolutions are corrected at once (Nagel et al. 2019, section 4.2, corrects one after the
    other): what earlier layers give later ones is taken off there again.

    Args:
        model: the float model.
        result: the same in INT8; the convolutions' outputs have the same names.
        inputs: network inputs.
    """
    import onnx

    copy = _copy(model)
    constants = {constant.name: constant for constant in copy.graph.initializer}
    known = {name for node in result.graph.node for name in node.output}
    convolutions = {
        node.output[0]: node
        for node in copy.graph.node
        if node.op_type == "Conv" and len(node.input) == 3 and node.output[0] in known
    }
    names = list(convolutions)
    errors: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in names}
    exact, found = _watching(model, names), _watching(result, names)
    for tensor in inputs:
        expected, rounded = exact(tensor), found(tensor)
        for name in names:
            error = (expected[name] - rounded[name]).mean(axis=(0, 2, 3), dtype=np.float64)
            errors[name].append(error)
    for name, node in convolutions.items():
        bias = onnx.numpy_helper.to_array(constants[node.input[2]])
        corrected = (bias + np.mean(errors[name], axis=0)).astype(np.float32)
        # A bias of its own: heads share theirs across levels.
        node.input[2] = f"{name}/bias"
        copy.graph.initializer.append(onnx.numpy_helper.from_array(corrected, node.input[2]))
    return copy


def _watching(model: Any, wanted: Iterable[str] | None = None) -> Running:
    """Run a network and tell what it computes inside, by tensor name, its input included.

    Args:
        model: an `onnx.ModelProto`.
        wanted: names of float tensors; all whose shape is known by default.
    """
    import onnx
    import onnxruntime

    watched = _copy(model)
    real = onnx.TensorProto.FLOAT
    if wanted is None:
        described = [
            value for value in watched.graph.value_info if value.type.tensor_type.elem_type == real
        ]
    else:
        described = [onnx.helper.make_tensor_value_info(name, real, None) for name in wanted]
    known = {value.name for value in watched.graph.output}
    watched.graph.output.extend(value for value in described if value.name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]

    def run(tensor: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        computed = session.run(names, {"image": tensor})
        return {"image": tensor, **dict(zip(names, computed, strict=True))}

    return run


def _copy(model: Any) -> Any:
    return type(model).FromString(model.SerializeToString())
