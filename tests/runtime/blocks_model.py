"""The detector that these tests run: by hand-set weights it finds squares of pure colour.

    python tests/runtime/blocks_model.py

writes `data/blocks-int8.tflite` and `data/blocks-float32.tflite` again (needs TensorFlow). Each
level averages the normalized picture over its cells; a class logit is `8 * (own channel - mean of
the others) - 8`, so that grey gives -8 and pure colour +8. The one anchor of a cell is the cell
itself, and the box codes are close to 0: what is found is the cell.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgedet.archive import append_spec
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

DATA = Path(__file__).parent / "data"
SIDE = 64
SPEC = ModelSpec(
    name="colour-blocks",
    input=InputSpec(SIDE, SIDE),
    anchors=AnchorSpec(scale=1.0, octaves=1, aspect_ratios=(1.0,)),
    labels=("red", "green", "blue"),
    category_ids=(10, 20, 30),
    activation="relu",
    provenance={"made by": "tests/runtime/blocks_model.py", "seed": 0},
)


def convert(*, int8: bool) -> bytes:
    """The model as TensorFlow Lite bytes, fully quantized or in float32."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as directory:
        _network().export(directory, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(directory)
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = _calibration
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.int8
            converter.inference_output_type = tf.int8
        model: bytes = converter.convert()
    return model


def _network() -> object:
    import keras

    image = keras.Input((SIDE, SIDE, 3), batch_size=1, name="image")
    outputs = {}
    cells = image
    for level in SPEC.anchors.levels:
        cells = keras.layers.AveragePooling2D(_step(level), padding="same")(cells)
        for name, kernel, bias in _heads(level):
            head = keras.layers.Conv2D(len(bias), 1, name=name)
            outputs[name] = head(cells)
            head.set_weights([kernel[None, None], bias])
    return keras.Model(image, outputs)


def write_openvino(path: Path) -> None:
    """Write the model as OpenVINO's `.xml` and `.bin`, in float32."""
    from edgedet.archive.openvino import RT_INFO_PATH, add_digest
    from edgedet.packages import import_openvino

    openvino = import_openvino()
    ops = openvino.opset13
    image = ops.parameter([1, SIDE, SIDE, 3], np.float32, name="image")
    image.output(0).set_names({"image"})
    cells = ops.transpose(image, np.array([0, 3, 1, 2]))
    results = []
    for level in SPEC.anchors.levels:
        step = [min(_step(level), cells.output(0).shape[2])] * 2
        pooled = ops.avg_pool(cells, step, [0, 0], [0, 0], step, exclude_pad=True)
        cells = ops.add(pooled, np.zeros((1, 1, 1, 1), np.float32))  # hides a pool of one pixel
        for name, kernel, bias in _heads(level):
            weights = np.ascontiguousarray(kernel.T[:, :, None, None], np.float32)
            head = ops.convolution(cells, weights, [1, 1], [0, 0], [0, 0], [1, 1])
            biased = ops.add(head, bias.astype(np.float32).reshape(1, -1, 1, 1))
            last = ops.transpose(biased, np.array([0, 2, 3, 1]))
            last.output(0).set_names({name})
            results.append(ops.result(last))
    model = openvino.Model(results, [image], SPEC.name)
    model.set_rt_info(SPEC.to_json(), list(RT_INFO_PATH))
    openvino.save_model(model, str(path), compress_to_fp16=False)
    path.write_bytes(add_digest(path.read_bytes(), path.with_suffix(".bin").read_bytes()))


def onnx_model() -> bytes:
    """The model as ONNX bytes in float32, without its spec."""
    from onnx import TensorProto, checker, helper, numpy_helper, shape_inference

    nodes = [helper.make_node("Transpose", ["image"], ["cells"], perm=[0, 3, 1, 2])]
    constants, outputs = [], []
    cells, side = "cells", SIDE
    for level in SPEC.anchors.levels:
        step = min(_step(level), side)
        side //= step
        pooled = f"cells_{level}"
        shape = {"kernel_shape": [step, step], "strides": [step, step]}
        nodes.append(helper.make_node("AveragePool", [cells], [pooled], **shape))
        cells = pooled
        for name, kernel, bias in _heads(level):
            names = [f"{name}_kernel", f"{name}_bias"]
            values = kernel.T[:, :, None, None].astype(np.float32), bias.astype(np.float32)
            constants += map(numpy_helper.from_array, values, names)
            nodes.append(helper.make_node("Conv", [cells, *names], [f"{name}_first"]))
            nodes.append(
                helper.make_node("Transpose", [f"{name}_first"], [name], perm=[0, 2, 3, 1])
            )
            sides = [1, side, side, len(bias)]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, sides))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, SIDE, SIDE, 3])
    graph = helper.make_graph(nodes, SPEC.name, [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    serialized: bytes = shape_inference.infer_shapes(model).SerializeToString()
    return serialized


def _step(level: int) -> int:
    """How many pixels of the level before one cell averages."""
    return 8 if level == 3 else 2


def _heads(level: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, kernel [in, out] and bias [out] of a level's two heads."""
    contrast = np.where(np.eye(3, dtype=bool), 1.0, -0.5).astype(np.float32)
    yield f"class_{level}", 8 * contrast, np.full(3, -8.0)
    yield f"box_{level}", np.full((3, 4), 0.02), np.zeros(4)


def _calibration() -> Iterator[list[np.ndarray]]:
    random = np.random.default_rng(0)
    for cell in (8, 8, 16, 32, 64) * 10:
        corners = random.choice([-1.0, 1.0], (SIDE // cell, SIDE // cell, 3))
        yield [np.kron(corners, np.ones((cell, cell, 1))).astype(np.float32)[None]]


if __name__ == "__main__":
    for kind, int8 in (("int8", True), ("float32", False)):
        (DATA / f"blocks-{kind}.tflite").write_bytes(append_spec(convert(int8=int8), SPEC))
