"""What a suppression inside a file can be told; once written it is fixed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from edgedet.errors import InvalidInputError
from edgedet.spec import ModelSpec

_MOST_DETECTIONS = 10_000


@dataclass(frozen=True)
class NmsOptions:
    """Suppression per class, as RetinaNet's (Lin et al. 2017, section 4.1, "Inference").

    Attributes:
        score_threshold: candidates that score less are dropped; the paper's 0.05 leaves the choice
            to the program that reads the boxes, and keeps the suppression fast.
        iou_threshold: overlap beyond which the less confident of two boxes of a class goes.
        max_detections: most detections per image, over all classes.
    """

    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    max_detections: int = 100

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou_threshold"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 <= value <= 1:
                raise InvalidInputError(f"{name} must be a number from 0 to 1, not {value!r}.")
        if self.iou_threshold == 0:
            # TFLite_Detection_PostProcess takes none.
            raise InvalidInputError("iou_threshold must be above 0.")
        count = self.max_detections
        whole = isinstance(count, int) and not isinstance(count, bool)
        if not whole or not 1 <= count <= _MOST_DETECTIONS:
            raise InvalidInputError(
                f"max_detections must be a whole number from 1 to {_MOST_DETECTIONS}, "
                f"not {count!r}."
            )


def noted(spec: ModelSpec, options: NmsOptions) -> ModelSpec:
    """The spec of a file that ends in boxes: its provenance says so, under `nms`."""
    provenance = {**spec.provenance, "nms": dataclasses.asdict(options)}
    return dataclasses.replace(spec, provenance=provenance)


def check_batch(batch: int) -> None:
    """Raise `InvalidInputError` unless a network takes one image at a time."""
    if batch != 1:
        raise InvalidInputError(
            f"--nms needs a network of batch 1, and this one has batch {batch}; leave --batch out."
        )
