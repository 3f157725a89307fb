"""Truth and detections in COCO's forms."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedet.errors import InvalidInputError, MissingFileError

if TYPE_CHECKING:
    from edgedet.data.dataset import DetectionDataset
    from edgedet.runtime.detections import Detections

_MAX_BYTES = 2**30


def coco_truth(dataset: DetectionDataset) -> dict[str, Any]:
    """The data set as a COCO object, with its original image and category ids.

    The area of an object is the one that its annotation tells, else that of its box.
    """
    annotations: list[dict[str, Any]] = []
    for sample in dataset.samples:
        sizes = sample.boxes[:, 2:] - sample.boxes[:, :2]
        areas = sizes[:, 0] * sizes[:, 1] if sample.areas is None else sample.areas
        for box, area, class_id, crowd in zip(
            sample.boxes, areas, sample.classes, sample.crowd, strict=True
        ):
            x0, y0, x1, y1 = (float(value) for value in box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": sample.image_id,
                    "category_id": dataset.category_ids[int(class_id)],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
    return {
        "images": [
            {
                "id": sample.image_id,
                "file_name": sample.path.name,
                "width": sample.width,
                "height": sample.height,
            }
            for sample in dataset.samples
        ],
        "categories": [
            {"id": category, "name": label}
            for category, label in zip(dataset.category_ids, dataset.labels, strict=True)
        ],
        "annotations": annotations,
    }


def coco_results(
    found: Detections, image_id: int, categories: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Detections as COCO results; classes that `categories` doesn't map are left out."""
    results = []
    for box, confidence, class_id in zip(found.xyxy, found.confidence, found.class_id, strict=True):
        if int(class_id) not in categories:
            continue
        x0, y0, x1, y1 = (float(value) for value in box)
        results.append(
            {
                "image_id": image_id,
                "category_id": categories[int(class_id)],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": float(confidence),
            }
        )
    return results


def read_results(path: Path, dataset: DetectionDataset) -> list[dict[str, Any]]:
    """Read COCO results and check that they belong to a data set.

    Args:
        path: a json file, a list of `image_id`, `category_id`, `bbox` (x, y, width, height) and
            `score`.
        dataset: the whole split, whose image and category ids the file must use.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: no list of COCO results, or one with an id that the data set lacks.
    """
    entries = _read_list(path)
    images = {sample.image_id for sample in dataset.samples}
    categories = set(dataset.category_ids)
    for position, entry in enumerate(entries):
        fault = _fault(entry) or _foreign(entry, "image_id", images, dataset.name)
        fault = fault or _foreign(entry, "category_id", categories, dataset.name)
        if fault:
            raise InvalidInputError(f"{path}: result {position} {fault}.")
    return [
        {key: entry[key] for key in ("image_id", "category_id", "bbox", "score")}
        for entry in entries
    ]


def _read_list(path: Path) -> list[Any]:
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; name a file of COCO results.")
    if path.stat().st_size > _MAX_BYTES:
        raise InvalidInputError(f"{path} is larger than 1 GiB; write fewer detections per image.")
    try:
        entries = json.loads(path.read_bytes())
    except PermissionError:
        raise InvalidInputError(f"{path} can't be read; check its permissions.") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} is not valid JSON ({error}); write it anew.") from None
    if not isinstance(entries, list):
        raise InvalidInputError(
            f"{path} is no list of COCO results; name what `eval --save-json` writes."
        )
    return entries


def _fault(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return "is no object with image_id, category_id, bbox and score"
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(side) for side in box):
        return f"has a bbox that is not four numbers, {_shown(box)}"
    if box[2] < 0 or box[3] < 0:
        return f"has a bbox of negative size, {_shown(box)}; COCO's form is x, y, width, height"
    if not _is_number(entry.get("score")):
        return f"has a score that is no number, {_shown(entry.get('score'))}"
    return None


def _foreign(entry: Mapping[str, Any], key: str, known: set[int], split: str) -> str | None:
    value = entry.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and value in known:
        return None
    some = ", ".join(str(identity) for identity in sorted(known)[:5])
    return (
        f"has the {key} {_shown(value)}, which the {split} split doesn't have (it has {some}"
        f"{', ...' if len(known) > 5 else ''}); write the data set's own ids"
    )


def _is_number(value: object) -> bool:
    # Far beyond any picture, and small enough for the area to be finite.
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < 1e12
        and math.isfinite(value)
    )


def _shown(value: Any) -> str:
    return reprlib.repr(value)
