"""Who takes part: networks, the programs that run them, and what is published about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgedet import archive
from edgedet.errors import InvalidInputError
from edgedet.runtime.cost import count_file

ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    "edgedet": (),
    "mediapipe": ("mediapipe>=0.10.30",),
    "model_api": ("openvino-model-api>=0.3", "openvino>=2024.4"),
    # PyTorch for CPUs alone does as well and is a tenth of the download.
    "ultralytics": ("ultralytics>=8.4", "onnx", "onnxslim", "onnxruntime", "openvino"),
    "effdet": ("torch", "torchvision", "timm>=1.0", "effdet>=0.4.1", "onnx", "onnxruntime"),
}
"""Packages of each environment; `edgedet` is the one that this runs in."""

# AP on COCO's val2017 and the input's side it was published at: Ultralytics' documentation,
# automl's README of EfficientDet-Lite, Table 2 of Eff-SpineNet (Du et al. 2020).
_PUBLISHED = {
    "yolo11n": "39.5 at 640",
    "yolo26n": "40.9 at 640",
    "efficientdet-lite0": "26.4 at 320",
    "eff-spinenet-m0": "17.3 at 256",
    "eff-spinenet-m1": "25.0 at 384",
}
_LITE0_MULTIPLY_ADDS = 0.974e9
_FORMATS = ("onnx", "openvino", "tflite")


@dataclass(frozen=True)
class Contender:
    """A network and the program that runs it.

    Attributes:
        network: name of the network.
        program: who runs it, and how.
        size: side of the input in pixels.
        environment: key of `ENVIRONMENTS`.
        script: its worker.
        options: of the worker.
        multiply_adds: of the network, or None if the worker tells.
        ours: whether edgedet runs it.
    """

    network: str
    program: str
    size: int
    environment: str
    script: str
    options: dict[str, Any] = field(default_factory=dict)
    multiply_adds: float | None = None
    ours: bool = False

    @property
    def published(self) -> str:
        """Published AP on COCO, with its input size."""
        return _PUBLISHED.get(self.network, "")


def of_file(path: Path) -> list[Contender]:
    """The programs that run a file of ours, by what it is.

    Args:
        path: what `edgedet convert` wrote; a name that ends in `-nms` is for other programs.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: no model of edgedet's, or of a kind that nothing here runs.
    """
    spec = archive.read_spec(path)
    cost = count_file(path)
    counted = None if cost is None else float(cost.multiply_adds)
    precision = next((word for word in ("int8", "float16") if word in path.stem), "float32")
    options = {"model": str(path)}

    def entry(program: str, environment: str, script: str, *, ours: bool = False) -> Contender:
        return Contender(
            spec.name, f"{program}, {precision}", spec.input.width, environment, script, options,
            counted, ours,
        )  # fmt: skip

    if path.stem.endswith("-nms"):
        if path.suffix == ".tflite":
            return [
                entry("MediaPipe Tasks", "mediapipe", "mediapipe_tasks.py"),
                entry("LiteRT, boxes in the graph", "edgedet", "litert_boxes.py"),
            ]
        if path.suffix == ".xml":
            return [entry("model_api (OpenVINO)", "model_api", "model_api_detection.py")]
        raise InvalidInputError(f"{path}: no other program here runs this kind of file.")
    engines = {".tflite": "LiteRT", ".xml": "OpenVINO", ".onnx": "ONNX Runtime"}
    if path.suffix not in engines:
        raise InvalidInputError(f"{path} is none of .tflite, .xml and .onnx; convert it first.")
    found = [
        entry(f"edgedet ({engines[path.suffix]})", "edgedet", "edgedet_detector.py", ours=True)
    ]
    if path.suffix == ".tflite":
        found.append(entry("LiteRT with NumPy", "edgedet", "litert_numpy.py"))
    return found


def of_others(sizes: Iterable[int], cache: Path) -> list[Contender]:
    """Other people's networks at these input sizes; EfficientDet-Lite0 at its own.

    Args:
        sizes: sides in pixels.
        cache: directory for what they export.
    """
    names = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "tflite": "LiteRT"}
    yolos = [
        Contender(
            name,
            f"Ultralytics ({names[form]}), float32",
            size,
            "ultralytics",
            "ultralytics_yolo.py",
            {"name": name, "size": size, "format": form, "cache": str(cache)},
        )
        for size in sorted(set(sizes))
        for name in ("yolo11n", "yolo26n")
        for form in _FORMATS
    ]
    lite0 = Contender(
        "efficientdet-lite0",
        "effdet (ONNX Runtime), float32",
        320,
        "effdet",
        "effdet_onnx.py",
        {"cache": str(cache)},
        _LITE0_MULTIPLY_ADDS,
    )
    return [*yolos, lite0]
