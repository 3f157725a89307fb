"""How many multiply-adds in a second this processor can do at best, by the engine's own kernels.

The measure is a 1x1 convolution of 1024 positions from 256 channels to 256: large enough that
starting it costs nothing, small enough that its weights stay in the second-level cache. No layer of
a detector does better; depthwise convolutions, which read much and multiply little, do far worse.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edgedet.packages import import_openvino

_SIDE, _CHANNELS = 32, 256
_MULTIPLY_ADDS = _SIDE * _SIDE * _CHANNELS * _CHANNELS

_LEAST_CALLS, _MOST_CALLS = 5, 60
_SECONDS = 0.5


def measured_peak(engine: str, precision: str, threads: int) -> float:
    """Multiply-adds per second of the fastest of many calls.

    Args:
        engine: `litert` or `openvino`.
        precision: `int8`; anything else is measured as float32.
        threads: threads of the engine.

    Raises:
        ImportError: the engine is not installed.
    """
    quantized = precision == "int8"
    call = (_litert if engine == "litert" else _openvino)(quantized, threads)
    call()
    best, begun = float("inf"), time.perf_counter()
    for number in range(_MOST_CALLS):
        best = min(best, call())
        if number >= _LEAST_CALLS and time.perf_counter() - begun > _SECONDS:
            break
    return _MULTIPLY_ADDS / best


def _litert(quantized: bool, threads: int) -> Callable[[], float]:
    """Seconds of one call."""
    interpreter: Any = importlib.import_module("ai_edge_litert.interpreter").Interpreter(
        model_content=convolution_model(quantized), num_threads=threads
    )
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    interpreter.set_tensor(entry["index"], np.ones(entry["shape"], entry["dtype"]))

    def call() -> float:
        started = time.perf_counter()
        interpreter.invoke()
        return time.perf_counter() - started

    return call


def convolution_model(quantized: bool) -> bytes:
    """The convolution as a TensorFlow Lite model, in int8 or float32."""
    schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
    flatbuffers: Any = importlib.import_module("flatbuffers")
    element = np.int8 if quantized else np.float32
    random = np.random.default_rng(0)
    kernel = random.integers(-127, 128, (_CHANNELS, 1, 1, _CHANNELS)).astype(element)
    bias = np.zeros(_CHANNELS, np.int32 if quantized else np.float32)

    types = schema.TensorType
    kind = types.INT8 if quantized else types.FLOAT32
    image = (1, _SIDE, _SIDE, _CHANNELS)
    # The accumulator's unit is the product of the input's and the kernel's.
    scales = {"image": 0.02, "kernel": 0.01, "bias": 0.0002, "out": 1.0}
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT() for _ in range(3)]
    model.buffers[1].data = np.frombuffer(kernel.tobytes(), np.uint8)
    model.buffers[2].data = np.frombuffer(bias.tobytes(), np.uint8)
    graph = schema.SubGraphT()
    graph.tensors = []
    for name, shape, buffer in (
        ("image", image, 0),
        ("kernel", kernel.shape, 1),
        ("bias", bias.shape, 2),
        ("out", image, 0),
    ):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
        tensor.type = types.INT32 if quantized and name == "bias" else kind
        if quantized:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scales[name]], [0]
        graph.tensors.append(tensor)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version = 3 if quantized else 1
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 1, 2], [3]
    operator.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    operator.builtinOptions = options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideH = options.strideW = 1
    graph.operators, graph.inputs, graph.outputs = [operator], [0], [3]
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _openvino(quantized: bool, threads: int) -> Callable[[], float]:
    """Seconds of one call, by OpenVINO's own profiler."""
    openvino = import_openvino()
    operators: Any = importlib.import_module("openvino.opset13")
    random = np.random.default_rng(0)
    image = operators.parameter([1, _CHANNELS, _SIDE, _SIDE], np.float32)
    steps = random.integers(-127, 128, (_CHANNELS, _CHANNELS, 1, 1)).astype(np.float32)
    kernel = operators.constant(steps / 127)
    read = image

    def rounded(values: Any, bound: float) -> Any:
        low, high = (operators.constant(np.float32(end)) for end in (-bound, bound))
        return operators.fake_quantize(values, low, high, low, high, 255)

    if quantized:
        read, kernel = rounded(image, 1.27), rounded(kernel, 1.0)
    out = operators.convolution(read, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    if quantized:
        # Without it the convolution would end in float32, and be bound by writing that.
        out = rounded(out, 30.0)
    compiled = openvino.Core().compile_model(
        openvino.Model([out], [image], "peak"),
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "PERF_COUNT": True,
        },
    )
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(np.ones(image.shape, np.float32)))

    def call() -> float:
        request.infer()
        # Not the conversions around it.
        return max(
            float(node.real_time.total_seconds())
            for node in request.get_profiling_info()
            if node.node_type == "Convolution"
        )

    return call
