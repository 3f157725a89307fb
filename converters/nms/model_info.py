"""`model_info`: what OpenVINO's model_api reads of an `.xml` to prepare images and name classes."""

from __future__ import annotations

from collections.abc import Sequence

from edgedet.converters.nms.options import NmsOptions
from edgedet.spec import ModelSpec

# model_api cuts off what the file leaves in; the threshold of `Detector.detect`.
_CONFIDENCE = 0.25


def model_info(spec: ModelSpec, options: NmsOptions | None = None) -> dict[str, str]:
    """The entries of `rt_info/model_info`, besides edgedet's own.

    Lists are separated by spaces, so that spaces inside a label become underscores. The images that
    model_api is given are taken to be BGR, as OpenCV reads them and model_api declares them.

    Args:
        spec: the model's spec.
        options: of the suppression inside; None for raw heads, for which model_api has no wrapper:
            then the entries say how to prepare an image, and name no `model_type`.
    """
    grey = round(sum(spec.input.mean) / len(spec.input.mean))
    entries = {
        "labels": " ".join("_".join(label.split()) or "_" for label in spec.labels),
        "mean_values": _listed(spec.input.mean),
        "scale_values": _listed(spec.input.std),
        "reverse_input_channels": "True",
        # Aspect kept, image at the top left.
        "resize_type": "fit_to_window",
        "pad_value": str(grey),
    }
    if options is not None:
        confidence = max(_CONFIDENCE, options.score_threshold)
        entries |= {
            "model_type": "SSD",
            "confidence_threshold": repr(confidence),
            "iou_threshold": repr(float(options.iou_threshold)),
        }
    return entries


def _listed(values: Sequence[float]) -> str:
    return " ".join(repr(float(value)) for value in values)
