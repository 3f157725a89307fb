"""A standard non-maximum suppression at the end of finished files, for programs of other makers.

Edgedet's own files end at the raw heads, which its runtime decodes faster and, in INT8, without a
loss. Other programs expect boxes: MediaPipe's `ObjectDetector` those of TensorFlow Lite's
`TFLite_Detection_PostProcess`, OpenVINO's model_api those of an SSD, users of ONNX Runtime those
that torchvision's detectors give. Each module here appends to the finished graph of one format what
gives them, whatever the graph's precision.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from edgedet.converters.nms.options import NmsOptions, noted
from edgedet.converters.saved_model import explained
from edgedet.spec import ModelSpec

__all__ = ["NmsOptions", "embed", "noted"]

_TOOLS = {"tflite": "LiteRT", "openvino": "OpenVINO", "onnx": "ONNX"}


def embed(
    format: str,  # noqa: A002
    files: Mapping[str, bytes],
    spec: ModelSpec,
    options: NmsOptions,
    source: Path = Path("the model"),
) -> dict[str, bytes]:
    """The files of a network that ends in boxes instead of raw heads.

    Args:
        format: `tflite`, `openvino` or `onnx`.
        files: content of each finished file by its suffix, raw heads of batch 1.
        spec: the spec inside; that of the result is `noted(spec, options)`.
        options: thresholds and count.
        source: what is converted, for error messages.

    Returns:
        Content of each file by its suffix, complete with spec and metadata:

        - `.tflite`: `TFLite_Detection_PostProcess`: boxes [1, K, 4] `y0, x0, y1, x1` from 0 to 1,
          classes [1, K], scores [1, K] and their number [1]. INT8 files take uint8 grey levels.
        - `.xml` and `.bin`: one output [1, 1, K, 7] of rows `image, class, score, x0, y0, x1, y1`,
          boxes from 0 to 1; rows without a detection are -1 throughout.
        - `.onnx`: `boxes` [N, 4] `x0, y0, x1, y1` in pixels of the input, `labels` [N] and
          `scores` [N] for the N detections there are.

        K is `options.max_detections`; detections come by descending score.

    Raises:
        InvalidInputError: the network has another batch than 1.
        EdgeDetError: the package that reads and writes the format failed.
    """
    module = importlib.import_module(f"edgedet.converters.nms.{format}")
    with explained(source, _TOOLS[format]):
        result: dict[str, bytes] = module.embed(files, noted(spec, options), options)
    return result
