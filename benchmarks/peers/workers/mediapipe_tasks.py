"""MediaPipe Tasks' ObjectDetector on a `.tflite` file that ends in boxes."""

from pathlib import Path
from typing import Any

from serving import serve, settings

given = settings()

import mediapipe  # noqa: E402
from mediapipe.tasks.python import BaseOptions  # noqa: E402
from mediapipe.tasks.python.vision import ObjectDetector, ObjectDetectorOptions  # noqa: E402

base = BaseOptions(model_asset_buffer=Path(given["model"]).read_bytes())
options = ObjectDetectorOptions(base_options=base, score_threshold=given["conf"], max_results=100)
detector = ObjectDetector.create_from_options(options)


def detect(picture: Any) -> int:
    """From the array to MediaPipe's list of detections."""
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
    return len(detector.detect(image).detections)


serve(given, detect, {"version": mediapipe.__version__})
