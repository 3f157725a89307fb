"""Writing a split in each of the three formats."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from edgedet.data.dataset import DetectionDataset, Sample


def write_coco(file: Path, dataset: DetectionDataset, names: Sequence[str]) -> None:
    """Write COCO json, with the dataset's own image and category ids.

    Args:
        file: the json.
        dataset: the split.
        names: `file_name` of each sample.
    """
    annotations: list[dict[str, Any]] = []
    for sample in dataset.samples:
        areas = _areas(sample)
        for row, (x0, y0, x1, y1) in enumerate(sample.boxes.tolist()):
            annotations.append(
                {
                    # From 1 on: pycocotools takes a match with id 0 for no match.
                    "id": len(annotations) + 1,
                    "image_id": sample.image_id,
                    "category_id": dataset.category_ids[int(sample.classes[row])],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": areas[row],
                    "iscrowd": int(sample.crowd[row]),
                }
            )
    images = [
        {
            "id": sample.image_id,
            "file_name": name,
            "width": sample.width,
            "height": sample.height,
        }
        for sample, name in zip(dataset.samples, names, strict=True)
    ]
    categories = [
        {"id": identity, "name": name}
        for identity, name in zip(dataset.category_ids, dataset.labels, strict=True)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


def write_yolo(directory: Path, dataset: DetectionDataset, names: Sequence[str]) -> None:
    """Write a label file for each sample, `class cx cy w h` in fractions; crowds are left out.

    Args:
        directory: of the labels.
        dataset: the split.
        names: the pictures' file names, of which the label files take the stems.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for sample, name in zip(dataset.samples, names, strict=True):
        rows = []
        for box, label, crowd in zip(
            sample.boxes.tolist(), sample.classes.tolist(), sample.crowd.tolist(), strict=True
        ):
            if crowd:
                continue
            x0, y0, x1, y1 = box
            fractions = (
                (x0 + x1) / 2 / sample.width,
                (y0 + y1) / 2 / sample.height,
                (x1 - x0) / sample.width,
                (y1 - y0) / sample.height,
            )
            # Nine decimals: a millionth of a pixel in a picture of a thousand.
            rows.append(" ".join([str(label), *(f"{value:.9f}" for value in fractions)]) + "\n")
        (directory / name).with_suffix(".txt").write_text("".join(rows), encoding="utf-8")


def write_voc(directory: Path, dataset: DetectionDataset, names: Sequence[str]) -> None:
    """Write an xml file for each sample, crowds as `difficult`, and the list of the split.

    Corners are rounded to whole pixels, as VOC has them, and counted from 1.

    Args:
        directory: that holds `JPEGImages`; `Annotations` and `ImageSets/Main` are made.
        dataset: the split.
        names: the pictures' file names, of which the xml files take the stems.
    """
    annotations, sets = directory / "Annotations", directory / "ImageSets" / "Main"
    annotations.mkdir(parents=True, exist_ok=True)
    sets.mkdir(parents=True, exist_ok=True)
    for sample, name in zip(dataset.samples, names, strict=True):
        (annotations / name).with_suffix(".xml").write_text(
            _voc_xml(sample, name, dataset.labels), encoding="utf-8"
        )
    listed = "".join(f"{Path(name).stem}\n" for name in names)
    (sets / f"{dataset.name}.txt").write_bytes(listed.encode("utf-8", "surrogateescape"))


def voc_corners(box: Sequence[float]) -> tuple[int, int, int, int]:
    """VOC's `xmin, ymin, xmax, ymax` of a box: whole pixels, from 1 on, at least one of them."""
    columns, rows = _whole(box[0], box[2]), _whole(box[1], box[3])
    return columns[0] + 1, rows[0] + 1, columns[1], rows[1]


def _whole(low: float, high: float) -> tuple[int, int]:
    first, last = math.floor(low + 0.5), math.floor(high + 0.5)
    if last > first:
        return first, last
    first = math.floor(low)
    return first, first + 1


def _voc_xml(sample: Sample, name: str, labels: Sequence[str]) -> str:
    shown = name.encode("utf-8", "backslashreplace").decode()
    lines = [
        "<annotation>",
        "\t<folder>JPEGImages</folder>",
        f"\t<filename>{escape(shown)}</filename>",
        "\t<size>",
        f"\t\t<width>{sample.width}</width>",
        f"\t\t<height>{sample.height}</height>",
        "\t\t<depth>3</depth>",
        "\t</size>",
        "\t<segmented>0</segmented>",
    ]
    for row, box in enumerate(sample.boxes.tolist()):
        corners = voc_corners(box)
        lines += [
            "\t<object>",
            f"\t\t<name>{escape(labels[int(sample.classes[row])])}</name>",
            "\t\t<pose>Unspecified</pose>",
            "\t\t<truncated>0</truncated>",
            f"\t\t<difficult>{int(sample.crowd[row])}</difficult>",
            "\t\t<bndbox>",
            *(
                f"\t\t\t<{key}>{value}</{key}>"
                for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
            ),
            "\t\t</bndbox>",
            "\t</object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def _areas(sample: Sample) -> list[float]:
    if sample.areas is not None:
        return [float(area) for area in sample.areas]
    return [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in sample.boxes.tolist()]
