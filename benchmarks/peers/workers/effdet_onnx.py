"""effdet's EfficientDet-Lite0, random weights, in ONNX Runtime, with effdet's post-processing."""

from pathlib import Path
from typing import Any

import numpy as np
from serving import serve, settings

given = settings()

import effdet  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from effdet.anchors import Anchors, generate_detections  # noqa: E402
from effdet.bench import _post_process  # noqa: E402
from PIL import Image  # noqa: E402

torch.set_num_threads(given["threads"])
NAME = "tf_efficientdet_lite0"
path = Path(given["cache"]) / f"{NAME}.onnx"
network = effdet.create_model(NAME, pretrained=False, pretrained_backbone=False).eval()
config = network.config
size = tuple(config.image_size)
if not path.exists():
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        network, (torch.zeros(1, 3, *size),), str(path), input_names=["image"], dynamo=False
    )
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = given["threads"]
session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
anchors = Anchors.from_config(config).boxes
mean, std = (np.float32(values) * 255 for values in (config.mean, config.std))


def detect(picture: Any) -> int:
    """Resize and pad as effdet's loader does, run, decode and suppress as its `DetBenchPredict`."""
    height, width = picture.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    scaled = (int(width * ratio), int(height * ratio))
    canvas = np.empty((*size, 3), np.float32)
    canvas[:] = mean
    resized = Image.fromarray(picture).resize(scaled, Image.Resampling.BILINEAR)
    canvas[: scaled[1], : scaled[0]] = np.asarray(resized)
    values = ((canvas - mean) / std).transpose(2, 0, 1)[None]
    heads = [torch.from_numpy(head) for head in session.run(None, {"image": values})]
    levels = config.num_levels
    classes, boxes, indices, kinds = _post_process(
        heads[:levels], heads[levels:], num_levels=levels, num_classes=config.num_classes,
        max_detection_points=config.max_detection_points,
    )  # fmt: skip
    found = generate_detections(
        classes[0], boxes[0], anchors, indices[0], kinds[0], torch.tensor(1 / ratio),
        torch.tensor([width, height]), max_det_per_image=100, soft_nms=False,
    )  # fmt: skip
    return int((found[:, 4] > given["conf"]).sum())


serve(given, detect, {"version": effdet.__version__})
