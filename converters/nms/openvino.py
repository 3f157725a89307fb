"""OpenVINO: decoding and `MulticlassNms` behind the raw heads, in the layout of an SSD.

The output is that of OpenVINO's `DetectionOutput`, which model_api's SSD wrapper and the samples
for SSD read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.anchors import all_anchors
from edgedet.archive.openvino import RT_INFO_PATH, add_digest
from edgedet.boxes import LOG_SIZE_LIMIT
from edgedet.converters.nms.model_info import model_info
from edgedet.converters.nms.options import NmsOptions, check_batch
from edgedet.packages import import_openvino
from edgedet.spec import ModelSpec

OUTPUT = "detection_out"

_NO_DETECTION = -1.0


def embed(files: Mapping[str, bytes], spec: ModelSpec, options: NmsOptions) -> dict[str, bytes]:
    """`.xml` and `.bin` with the suppression inside (see `edgedet.converters.nms.embed`)."""
    openvino = import_openvino()
    model = openvino.Core().read_model(files[".xml"], files[".bin"])
    # What feeds a result; the result itself goes.
    heads = {
        name: port.get_node().input_value(0) for port in model.outputs for name in port.get_names()
    }
    check_batch(int(heads[spec.class_outputs[0]].shape[0]))
    known = {node.get_instance_id() for node in model.get_ops()}
    ops = openvino.opset9
    scores = ops.sigmoid(_joined(ops, heads, spec.class_outputs, spec.num_classes))
    boxes = _boxes(ops, _joined(ops, heads, spec.box_outputs, 4), spec)
    found = ops.multiclass_nms(
        boxes,
        ops.transpose(scores, np.array([0, 2, 1], np.int64)),
        sort_result_type="score",
        iou_threshold=float(options.iou_threshold),
        score_threshold=float(options.score_threshold),
        keep_top_k=options.max_detections,
        background_class=-1,
    )
    rows = _rows(openvino, found.output(0), options.max_detections)
    rows.output(0).set_names({OUTPUT})
    for result in model.get_results():
        model.remove_result(result)
    model.add_results([ops.result(rows)])
    # OpenVINO's own names end in a number that counts on through the whole process.
    added = [node for node in model.get_ordered_ops() if node.get_instance_id() not in known]
    for number, node in enumerate(added):
        node.set_friendly_name(f"nms/{node.get_type_name()}_{number}")
    model.inputs[0].get_node().set_layout(openvino.Layout("NHWC"))
    for name, value in model_info(spec, options).items():
        model.set_rt_info(value, [RT_INFO_PATH[0], name])
    model.set_rt_info(spec.to_json(), list(RT_INFO_PATH))
    with tempfile.TemporaryDirectory(prefix="edgedet-") as directory:
        path = Path(directory) / "model.xml"
        # As it is: weights that are float16 stay so, anchors stay float32. `save_model` would add a
        # constant whose name counts on through the process.
        openvino.serialize(model, str(path))
        xml, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    return {".xml": add_digest(xml, weights), ".bin": weights}


def _joined(ops: Any, heads: Mapping[str, Any], names: tuple[str, ...], columns: int) -> Any:
    """The maps of all levels as one tensor [1, anchors, columns]."""
    shape = np.array([1, -1, columns], np.int64)
    return ops.concat([ops.reshape(heads[name], shape, False) for name in names], 1)


def _boxes(ops: Any, codes: Any, spec: ModelSpec) -> Any:
    """Codes [1, N, 4] decoded to `x0, y0, x1, y1` in shares of the input's sides."""
    sides = np.array([spec.input.height, spec.input.width], np.float32)
    anchors = all_anchors(spec)[None]
    centres, sizes = anchors[..., [1, 0]] / sides, anchors[..., [3, 2]] / sides
    shifts, logs = ops.split(codes, np.array(2, np.int64), 2).outputs()
    middle = ops.add(ops.multiply(shifts, sizes), centres)
    limited = ops.minimum(logs, np.float32(LOG_SIZE_LIMIT))
    half = ops.multiply(ops.exp(limited), sizes / 2)
    ends = ops.concat([ops.subtract(middle, half), ops.add(middle, half)], 2)
    return ops.gather(ends, np.array([1, 0, 3, 2], np.int64), np.array(2, np.int64))


def _rows(openvino: Any, found: Any, count: int) -> Any:
    """Rows [K, 6] `class, score, box` as [1, 1, count, 7] with the image, 0, before them."""
    ops = openvino.opset9
    nothing = np.array([0, 0], np.int64)
    image = ops.pad(found, np.array([0, 1], np.int64), nothing, "constant", np.float32(0))
    filled = ops.pad(
        image, nothing, np.array([count, 0], np.int64), "constant", np.float32(_NO_DETECTION)
    )
    first = ops.gather(filled, np.arange(count), np.array(0, np.int64))
    return ops.reshape(first, np.array([1, 1, count, 7], np.int64), False)
