"""`ops.weighted_fusion` beside NumPy and LiteRT's own operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import ops
from edgedet.benchmarks.native_graphs import Graph, one_thread
from edgedet.benchmarks.native_peers import FloatArray, Peers
from edgedet.benchmarks.native_timing import Comparison, compare
from edgedet.errors import EdgeDetError

EPSILON = 1e-4
SIDE, CHANNELS = 64, 64
# Of every map, before and after.
_QUANTIZATION = (0.03, 5)
_OUT_QUANTIZATION = (0.025, -100)

# The nodes of a BiFPN: top-down with an up-sampled map, bottom-up with a down-sampled one.
NODES = {2: (1.0, 0.5), 3: (1.0, 1.0, 2.0)}
WEIGHTS = (1.1, 0.7, 0.4)


def measure_fusion(peers: Peers, quick: bool) -> Iterator[Comparison]:
    """Compare nodes of two and three inputs, float32 and int8, with relu6 and swish.

    LiteRT's graph has the normalized weights as constants, resizes or pools, multiplies and adds;
    relu6 is a part of its last addition.

    Raises:
        EdgeDetError: a peer's map is another than ours.
    """
    interpreter = peers.litert()
    random = np.random.default_rng(0)
    side, channels = (8, 16) if quick else (SIDE, CHANNELS)
    for count, sizes in NODES.items():
        shapes = [(int(side * size), int(side * size), channels) for size in sizes]
        floats = [random.normal(0, 1, shape).astype(np.float32) for shape in shapes]
        stored = [_quantized(values, *_QUANTIZATION) for values in floats]
        weights = np.array(WEIGHTS[:count], np.float32)
        for dtype, inputs in (("float32", floats), ("int8", stored)):
            for activation in ("relu6", "swish"):
                options: dict[str, Any] = {"epsilon": EPSILON, "activation": activation}
                if dtype == "int8":
                    options["quantization"] = [_QUANTIZATION] * count
                    options["out_quantization"] = _OUT_QUANTIZATION
                ours = ops.weighted_fusion(inputs, weights, **options)
                calls: dict[str, Callable[[], object]] = {
                    "NumPy": partial(numpy_fusion, inputs, weights, activation)
                }
                _check(ours, numpy_fusion(inputs, weights, activation), "NumPy")
                if interpreter is not None:
                    file = fusion_graph(inputs, weights, activation)
                    ready = one_thread(interpreter, file, [values[None] for values in inputs])
                    ready.invoke()
                    theirs = ready.get_tensor(ready.get_output_details()[0]["index"])[0]
                    _check(ours, theirs, "LiteRT")
                    calls["LiteRT's operators"] = ready.invoke
                yield from compare(
                    "fusion",
                    f"{count} inputs {side}x{side}x{channels}, {dtype}, {activation}",
                    partial(ops.weighted_fusion, inputs, weights, **options),
                    {name: (call, None) for name, call in calls.items()},
                    0.02 if quick else 1.0,
                )


def numpy_fusion(
    inputs: Sequence[npt.NDArray[Any]], weights: FloatArray, activation: str
) -> npt.NDArray[Any]:
    """Fast normalized fusion (EfficientDet, Tan et al. 2020, section 3.3), one step after another.

    Args:
        inputs: maps [H, W, C], all float32 or all int8.
        weights: one for each map.
        activation: `relu6` or `swish`.
    """
    shares = _shares(weights)
    side = inputs[0].shape[0]
    total = np.zeros(inputs[0].shape, np.float32)
    for values, share in zip(inputs, shares, strict=True):
        resized = _resized(values, side)
        if resized.dtype == np.int8:
            resized = (resized.astype(np.float32) - _QUANTIZATION[1]) * _QUANTIZATION[0]
        total += share * resized
    active = np.clip(total, 0, 6) if activation == "relu6" else total / (1 + np.exp(-total))
    if inputs[0].dtype == np.int8:
        return _quantized(active, *_OUT_QUANTIZATION)
    return active


def fusion_graph(inputs: Sequence[npt.NDArray[Any]], weights: FloatArray, activation: str) -> bytes:
    """A .tflite file that fuses maps of these shapes and types by builtin operators."""
    graph = Graph()
    stored = inputs[0].dtype == np.int8
    dtype = inputs[0].dtype
    shape = (1, *inputs[0].shape)
    entering = _QUANTIZATION if stored else None
    leaving = _OUT_QUANTIZATION if stored else None
    given = [graph.tensor((1, *values.shape), dtype, entering) for values in inputs]
    terms = []
    for values, tensor, share in zip(inputs, given, _shares(weights), strict=True):
        if values.shape[0] < shape[1]:
            size = graph.constant(np.array(shape[1:3], np.int32))
            resized = graph.tensor(shape, dtype, entering)
            graph.operator(
                "RESIZE_NEAREST_NEIGHBOR",
                [tensor, size],
                [resized],
                "ResizeNearestNeighborOptions",
            )
            tensor = resized
        elif values.shape[0] > shape[1]:
            pooled = graph.tensor(shape, dtype, entering)
            window = {"strideW": 2, "strideH": 2, "filterWidth": 3, "filterHeight": 3}
            graph.operator("MAX_POOL_2D", [tensor], [pooled], "Pool2DOptions", **window)
            tensor = pooled
        if stored:
            factor = graph.constant(np.array([127], np.int8), (float(share) / 127, 0))
            term = graph.tensor(shape, dtype, (_QUANTIZATION[0] * float(share), _QUANTIZATION[1]))
        else:
            factor, term = graph.constant(np.array([share], np.float32)), graph.tensor(shape)
        graph.operator("MUL", [tensor, factor], [term], "MulOptions")
        terms.append(term)
    total = terms[0]
    for term in terms[1:]:
        last = term == terms[-1]
        fused = last and activation == "relu6"
        scale = leaving if fused else entering
        summed = graph.tensor(shape, dtype, scale)
        # 3 is the schema's RELU6.
        graph.operator(
            "ADD", [total, term], [summed], "AddOptions", fusedActivationFunction=3 if fused else 0
        )
        total = summed
    if activation == "swish":
        gate = graph.tensor(shape, dtype, (1 / 256, -128) if stored else None)
        product = graph.tensor(shape, dtype, leaving)
        graph.operator("LOGISTIC", [total], [gate])
        graph.operator("MUL", [total, gate], [product], "MulOptions")
        total = product
    return graph.finish(given, [total])


def _shares(weights: FloatArray) -> FloatArray:
    positive = np.maximum(weights, 0)
    shares: FloatArray = positive / (positive.sum() + np.float32(EPSILON))
    return shares


def _resized(values: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """Nearest neighbour, or a max pool of 3 with stride 2 and padding "same"."""
    if values.shape[0] < side:
        factor = side // values.shape[0]
        return values.repeat(factor, axis=0).repeat(factor, axis=1)
    if values.shape[0] == side:
        return values
    # An even side is padded at its end only.
    lowest = np.finfo(values.dtype).min if values.dtype.kind == "f" else np.iinfo(values.dtype).min
    padded = np.pad(values, ((0, 1), (0, 1), (0, 0)), constant_values=lowest)
    rows = np.maximum(np.maximum(padded[:-2:2], padded[1:-1:2]), padded[2::2])
    pooled: npt.NDArray[Any] = np.maximum(
        np.maximum(rows[:, :-2:2], rows[:, 1:-1:2]), rows[:, 2::2]
    )
    return pooled


def _quantized(values: FloatArray, scale: float, zero_point: int) -> npt.NDArray[np.int8]:
    stored = np.rint(values / np.float32(scale)) + np.float32(zero_point)
    return np.clip(stored, -128, 127).astype(np.int8)


def _check(ours: npt.NDArray[Any], theirs: npt.NDArray[Any], peer: str) -> None:
    # LiteRT rounds to int8 after each of its operators, ours once.
    limit = 3.0 if ours.dtype == np.int8 else 1e-5
    difference = np.abs(ours.astype(np.float32) - theirs.astype(np.float32)).max()
    if difference > limit:
        raise EdgeDetError(f"weighted_fusion: {peer} differs by {difference:.3g}.")
