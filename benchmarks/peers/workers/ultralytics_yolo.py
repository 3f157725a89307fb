"""Ultralytics' own `predict` on a network of random weights that it exported.

The networks come from the package's YAML; their speed doesn't depend on the weights. Random ones
find nothing, so that suppression costs them nothing.
"""

from pathlib import Path
from typing import Any

from serving import serve, settings

given = settings()

import ultralytics  # noqa: E402
from ultralytics import YOLO  # noqa: E402
from ultralytics.utils.torch_utils import get_flops  # noqa: E402

ultralytics.utils.SETTINGS["sync"] = False
directory = Path(given["cache"])
directory.mkdir(parents=True, exist_ok=True)
weights = directory / f"{given['name']}-{given['size']}.pt"
kinds = {"onnx": ".onnx", "openvino": "_openvino_model", "tflite": "_saved_model"}
exported = weights.with_name(weights.stem + kinds[given["format"]])
network = YOLO(f"{given['name']}.yaml", task="detect")
flops = get_flops(network.model, given["size"])
if not exported.exists():
    network.save(weights)
    YOLO(weights).export(format=given["format"], imgsz=given["size"], simplify=True)
if given["format"] == "tflite":
    exported = next(exported.glob("*_float32.tflite"))

import torch  # noqa: E402

torch.set_num_threads(given["threads"])
detector = YOLO(exported, task="detect")


def detect(picture: Any) -> int:
    """From the array to the package's results; it takes arrays for BGR."""
    (result,) = detector.predict(
        picture, imgsz=given["size"], conf=given["conf"], iou=given["iou"], max_det=100,
        verbose=False, device="cpu",
    )  # fmt: skip
    return len(result.boxes)


serve(given, detect, {"version": ultralytics.__version__, "multiply_adds": flops / 2 * 1e9})
