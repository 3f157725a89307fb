"""Detections as JSON, COCO results, YOLO text and tables, and back from JSON and YOLO text.

What is read back may come from anybody: sizes, types and ranges are checked before they are used.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedet import arguments, ops
from edgedet.errors import InvalidInputError, MissingDependencyError, MissingFileError

if TYPE_CHECKING:
    from edgedet.runtime.detections import Detections

MAX_BYTES = 64 * 2**20
MAX_DETECTIONS = 1_000_000
MAX_CLASSES = 100_000
_MAX_STAGES = 100
# Pixels; float32 still tells a quarter of one apart there.
_MAX_COORDINATE = float(4 * ops.MAX_IMAGE_SIDE)
_MAX_INTEGER = 2**63 - 1


def to_dict(detections: Detections) -> dict[str, Any]:
    """See `Detections.to_dict`."""
    height, width = detections.orig_shape
    moment = {"frame": detections.frame, "time": detections.time}
    return {
        "path": detections.path,
        "width": width,
        "height": height,
        **{name: value for name, value in moment.items() if value is not None},
        "speed": dict(detections.speed),
        "detections": [
            {
                "label": detections.names[index],
                "class_id": index,
                "category_id": detections.category_ids[index],
                "confidence": round(score, 4),
                "xyxy": [round(side, 2) for side in box],
            }
            for box, score, index in _rows(detections)
        ],
    }


def to_json(detections: Detections) -> str:
    """See `Detections.to_json`."""
    content = to_dict(detections)
    content["names"] = list(detections.names)
    content["category_ids"] = list(detections.category_ids)
    try:
        return json.dumps(content, allow_nan=False)
    except ValueError:
        raise InvalidInputError(
            "A box or a score is not finite, which JSON can't hold; leave it out."
        ) from None


def parse_json(text: str | bytes) -> Any:
    """The value that a JSON text holds.

    Raises:
        InvalidInputError: no JSON, NaN or infinity in it, nested too deep, or above `MAX_BYTES`.
    """
    if not isinstance(text, (str, bytes, bytearray)):
        raise InvalidInputError(f"The JSON must be a text, not {arguments.kind(text)}.")
    if len(text) > MAX_BYTES:
        raise InvalidInputError(f"The JSON is larger than {MAX_BYTES >> 20} MiB.")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except InvalidInputError:
        raise
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise InvalidInputError(f"This is no JSON that can be read: {reason}.") from None


def _refuse_constant(name: str) -> None:
    raise InvalidInputError(f"The JSON holds {name}, which is no number.")


def from_dict(content: object, names: Sequence[str] | None) -> dict[str, Any]:
    """The fields of the `Detections` that `content` describes; see `Detections.from_dict`."""
    if not isinstance(content, Mapping):
        raise InvalidInputError(
            f"Detections are one JSON object, not {arguments.kind(content)}; of a list of "
            "pictures take one entry."
        )
    entries = content.get("detections")
    if not isinstance(entries, (list, tuple)):
        raise InvalidInputError(
            f"detections must be a list, not {arguments.kind(entries)}; "
            "is this what to_json() wrote?"
        )
    if len(entries) > MAX_DETECTIONS:
        raise InvalidInputError(f"detections has more than {MAX_DETECTIONS} entries.")
    known = _names("names", content.get("names") if names is None else names)
    boxes, scores, class_ids = [], [], []
    labels: dict[int, str] = {}
    categories: dict[int, int] = {}
    for place, entry in enumerate(entries):
        where = f"detections[{place}]"
        if not isinstance(entry, Mapping):
            raise InvalidInputError(f"{where} must be an object, not {arguments.kind(entry)}.")
        most = (len(known) if known is not None else MAX_CLASSES) - 1
        index = arguments.integer(f"{where}.class_id", entry.get("class_id"), 0, most)
        label = _text(f"{where}.label", entry.get("label"))
        if labels.setdefault(index, label if known is None else known[index]) != label:
            raise InvalidInputError(
                f"{where}.label is {arguments.shown(label)}, but class {index} is named "
                f"{arguments.shown(labels[index])}."
            )
        if entry.get("category_id") is not None:
            categories[index] = _category(f"{where}.category_id", entry["category_id"])
        boxes.append(_box(f"{where}.xyxy", entry.get("xyxy")))
        scores.append(arguments.number(f"{where}.confidence", entry.get("confidence"), 0, 1))
        class_ids.append(index)
    if known is None:
        count = max(labels, default=-1) + 1
        known = tuple(labels.get(index, str(index)) for index in range(count))
    return {
        "xyxy": np.asarray(boxes, np.float32).reshape(-1, 4),
        "confidence": scores,
        "class_id": class_ids,
        "names": known,
        "category_ids": _category_ids(content.get("category_ids"), categories, len(known)),
        **_picture(content),
    }


def _picture(content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that tell of the picture."""
    path, frame, time = content.get("path"), content.get("frame"), content.get("time")
    speed = content.get("speed", {})
    if not isinstance(speed, Mapping) or len(speed) > _MAX_STAGES:
        raise InvalidInputError(
            f"speed must be an object with at most {_MAX_STAGES} stages, not "
            f"{arguments.shown(speed)}."
        )
    height, width = (
        arguments.integer(name, content.get(name), 0, ops.MAX_IMAGE_SIDE)
        for name in ("height", "width")
    )
    return {
        "orig_shape": (height, width),
        "path": None if path is None else _text("path", path),
        "speed": {
            _text("A stage of speed", stage): arguments.number(f"speed of {stage}", value, 0)
            for stage, value in speed.items()
        },
        "frame": None if frame is None else arguments.integer("frame", frame, 0, _MAX_INTEGER),
        "time": None if time is None else arguments.number("time", time),
    }


def _names(name: str, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) > MAX_CLASSES:
        raise InvalidInputError(
            f"{name} must be a list of at most {MAX_CLASSES} names, not {arguments.shown(value)}."
        )
    return tuple(_text(f"{name}[{place}]", entry) for place, entry in enumerate(value))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInputError(f"{name} must be a text, not {arguments.kind(value)}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(
            f"{name} holds half a character (a lone surrogate); correct the text."
        ) from None
    return value


def _category(name: str, value: object) -> int:
    return arguments.integer(name, value, -_MAX_INTEGER, _MAX_INTEGER)


def _category_ids(value: object, seen: Mapping[int, int], count: int) -> tuple[int, ...]:
    """The category id of each class; of classes that nothing names, the class id."""
    if value is None:
        return tuple(seen.get(index, index) for index in range(count))
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise InvalidInputError(
            f"category_ids must be a list of {count} numbers, one for each name, not "
            f"{arguments.shown(value)}."
        )
    return tuple(_category(f"category_ids[{place}]", entry) for place, entry in enumerate(value))


def _box(name: str, value: object) -> list[float]:
    if not isinstance(value, (list, tuple)) or len(value) != 4:
        raise InvalidInputError(f"{name} must be [x0, y0, x1, y1], not {arguments.shown(value)}.")
    return [arguments.number(name, side, -_MAX_COORDINATE, _MAX_COORDINATE) for side in value]


def to_coco(detections: Detections, image_id: int) -> list[dict[str, Any]]:
    """See `Detections.to_coco`."""
    return [
        {
            "image_id": image_id,
            "category_id": detections.category_ids[index],
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "score": score,
        }
        for box, score, index in _rows(detections)
    ]


def to_yolo(detections: Detections) -> str:
    """The lines that `Detections.save_txt` writes."""
    height, width = detections.orig_shape
    if len(detections) and not (height and width):
        raise InvalidInputError("orig_shape is not known; YOLO's form needs the image size.")
    return "".join(
        f"{index} {(x0 + x1) / 2 / width:.6f} {(y0 + y1) / 2 / height:.6f} "
        f"{(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f} {score:.4f}\n"
        for (x0, y0, x1, y1), score, index in _rows(detections)
    )


def from_yolo(
    path: str | os.PathLike[str], class_count: int, orig_shape: tuple[int, int]
) -> dict[str, Any]:
    """Boxes, scores and class ids of a YOLO text file; see `Detections.from_txt`."""
    source = Path(path)
    height, width = arguments.size("orig_shape", orig_shape, ops.MAX_IMAGE_SIDE)
    boxes: list[list[float]] = []
    scores: list[float] = []
    class_ids: list[int] = []
    for number, line in enumerate(_read_text(source).splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        if len(class_ids) == MAX_DETECTIONS:
            raise InvalidInputError(f"{source} has more than {MAX_DETECTIONS} lines.")
        try:
            index, values = int(fields[0]), [float(field) for field in fields[1:]]
        except ValueError:
            index, values = -1, []
        if len(values) not in (4, 5) or not all(map(math.isfinite, values)):
            raise InvalidInputError(
                f"Line {number} of {source} is not `class cx cy w h [confidence]`; correct it."
            )
        if not 0 <= index < class_count:
            raise InvalidInputError(
                f"Line {number} of {source} is of class {arguments.shown(index)}, but names ends "
                f"at {class_count - 1}; pass the names of the file's data set."
            )
        x, y, w, h = values[:4]
        score = values[4] if len(values) == 5 else 1.0
        sides = [(x - w / 2) * width, (y - h / 2) * height]
        sides += [(x + w / 2) * width, (y + h / 2) * height]
        if w < 0 or h < 0 or max(map(abs, sides)) > _MAX_COORDINATE or not 0 <= score <= 1:
            raise InvalidInputError(
                f"Line {number} of {source} has a value out of range; boxes are in 0 to 1 of the "
                "picture, and so is the confidence."
            )
        boxes.append(sides)
        scores.append(score)
        class_ids.append(index)
    order = np.argsort(-np.asarray(scores, np.float32), kind="stable")
    return {
        "xyxy": np.asarray(boxes, np.float32).reshape(-1, 4)[order],
        "confidence": np.asarray(scores, np.float32)[order],
        "class_id": np.asarray(class_ids, np.int64)[order],
    }


def _read_text(source: Path) -> str:
    try:
        if not source.is_file():
            raise MissingFileError(f"There is no file {source}; check the path.")
        with source.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except PermissionError:
        raise InvalidInputError(f"{source} can't be read; check its permissions.") from None
    if len(content) > MAX_BYTES:
        raise InvalidInputError(f"{source} is larger than {MAX_BYTES >> 20} MiB.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInputError(f"{source} is no text file; name a YOLO label file.") from None


def to_pandas(detections: Detections) -> Any:
    """See `Detections.to_pandas`."""
    pandas = _optional("pandas", "to_pandas()")
    columns: dict[str, Any] = {
        name: detections.xyxy[:, place]
        for place, name in enumerate(("xmin", "ymin", "xmax", "ymax"))
    }
    columns["confidence"] = detections.confidence
    columns["class"] = detections.class_id
    columns["name"] = detections.labels
    for name in ("path", "frame", "time"):
        value = getattr(detections, name)
        if value is not None:
            columns[name] = [value] * len(detections)
    return pandas.DataFrame(columns)


def to_supervision(detections: Detections) -> Any:
    """See `Detections.to_supervision`."""
    supervision = _optional("supervision", "to_supervision()")
    return supervision.Detections(
        xyxy=detections.xyxy,
        confidence=detections.confidence,
        class_id=detections.class_id,
        data={"class_name": np.asarray(detections.labels, dtype=np.str_)},
    )


def _optional(package: str, caller: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise MissingDependencyError(
            f"{caller} needs the package {package}; install it with `pip install {package}`."
        ) from None


def _rows(detections: Detections) -> Iterator[tuple[list[float], float, int]]:
    return zip(
        detections.xyxy.tolist(),
        detections.confidence.tolist(),
        detections.class_id.tolist(),
        strict=True,
    )
