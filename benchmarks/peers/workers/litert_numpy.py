"""LiteRT with pre- and post-processing in NumPy and Pillow, as programs commonly do it."""

from typing import Any

import numpy as np
from serving import serve, settings

given = settings()

from ai_edge_litert.interpreter import Interpreter  # noqa: E402
from PIL import Image  # noqa: E402

from edgedet.anchors import all_anchors  # noqa: E402
from edgedet.archive import read_model  # noqa: E402

spec, model = read_model(given["model"])
interpreter = Interpreter(model_content=model, num_threads=given["threads"])
interpreter.allocate_tensors()
entry = interpreter.get_input_details()[0]
outputs = {detail["name"]: detail for detail in interpreter.get_output_details()}
anchors = all_anchors(spec)


def dequantized(name: str, columns: int) -> Any:
    """A head's values in real numbers, a row for each anchor."""
    detail = outputs[name]
    values = interpreter.get_tensor(detail["index"])
    scale, zero_point = detail["quantization"]
    if scale:
        values = (values.astype(np.float32) - zero_point) * np.float32(scale)
    return values.reshape(-1, columns)


def detect(picture: Any) -> int:
    """Letterbox, run, decode everything above the threshold, suppress class by class."""
    height, width = picture.shape[:2]
    ratio = min(spec.input.height / height, spec.input.width / width)
    size = (round(width * ratio), round(height * ratio))
    canvas = np.empty((spec.input.height, spec.input.width, 3), np.float32)
    canvas[:] = spec.input.mean
    resized = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR)
    canvas[: size[1], : size[0]] = np.asarray(resized)
    values = (canvas - np.float32(spec.input.mean)) / np.float32(spec.input.std)
    scale, zero_point = entry["quantization"]
    if scale:
        values = np.clip(np.round(values / scale + zero_point), -128, 127)
    interpreter.set_tensor(entry["index"], values[None].astype(entry["dtype"]))
    interpreter.invoke()
    logits = np.concatenate([dequantized(n, len(spec.labels)) for n in spec.class_outputs])
    codes = np.concatenate([dequantized(n, 4) for n in spec.box_outputs])
    scores = 1 / (1 + np.exp(-logits))
    places, classes = np.nonzero(scores > given["conf"])
    kept = 0
    found = anchors[places]
    centre = codes[places, 1::-1] * found[:, 2:] + found[:, :2]
    extent = np.exp(codes[places, :1:-1]) * found[:, 2:]
    boxes = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1) / ratio
    confidences = scores[places, classes]
    for label in np.unique(classes):
        mine = classes == label
        kept += len(suppressed(boxes[mine], confidences[mine]))
    return min(kept, 100)


def suppressed(boxes: Any, confidences: Any) -> list[int]:
    """Indices of the boxes that greedy non-maximum suppression keeps."""
    order = np.argsort(-confidences)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while len(order):
        best, others = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[others, :2])
        high = np.minimum(boxes[best, 2:], boxes[others, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        order = others[shared / (areas[best] + areas[others] - shared) <= given["iou"]]
    return kept


serve(given, detect)
