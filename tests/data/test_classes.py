"""Given `names`, `map` and `classes`, a dataset of any format gives the classes wanted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from edgedet.data import DetectionDataset, load_dataset
from edgedet.errors import EdgeDetError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# Classes: three kinds of source hold one box each of car, truck, person.
SOURCES = ("coco", "voc", "yolo")
CLASSES = ["car", "truck", "person"]
BOXES = {"car": (10, 10, 30, 30), "truck": (40, 10, 60, 40), "person": (70, 10, 90, 30)}


def traffic(folder: Path, kind: str, **content: Any) -> DetectionDataset:
    (folder / "images").mkdir()
    Image.new("RGB", (100, 80)).save(folder / "images" / "a.jpg")
    if kind == "yolo":
        rows = [
            f"{n} {(x0 + x1) / 200} {(y0 + y1) / 160} {(x1 - x0) / 100} {(y1 - y0) / 80}\n"
            for n, (x0, y0, x1, y1) in enumerate(BOXES.values())
        ]
        write(folder / "labels" / "a.txt", "".join(rows))
        entry: Any = "images"
    elif kind == "voc":
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
            f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for name, (x0, y0, x1, y1) in BOXES.items()
        )
        write(folder / "xml" / "a.xml", f"<annotation>{objects}</annotation>")
        entry = {"images": "images", "annotations": "xml"}
    else:
        coco = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}],
            "annotations": [
                {"id": n, "image_id": 1, "category_id": i, "bbox": [x0, y0, x1 - x0, y1 - y0]}
                for n, (i, (x0, y0, x1, y1)) in enumerate(
                    zip((3, 8, 1), BOXES.values(), strict=True), 1
                )
            ],
            "categories": [
                {"id": i, "name": name} for i, name in ((1, "person"), (3, "car"), (8, "truck"))
            ],
        }
        write(folder / "a.json", json.dumps(coco))
        entry = {"images": "images", "annotations": "a.json"}
    file = write(folder / "data.yaml", yaml.safe_dump({"train": entry, **content}))
    return load_dataset(file, "train")


def seen(dataset: DetectionDataset) -> dict[int, str]:
    """The label of the box that begins at each x."""
    (sample,) = dataset.samples
    labels = [dataset.labels[index] for index in sample.classes]
    return dict(zip(sample.boxes[:, 0].round().astype(int).tolist(), labels, strict=True))


MERGED = {"car": "vehicle", "truck": "vehicle"}


@pytest.mark.parametrize("kind", SOURCES)
def test_classes_are_merged_and_left_out_by_map(tmp_path: Path, kind: str) -> None:
    dataset = traffic(tmp_path, kind, names=CLASSES, map={**MERGED, "person": None})

    assert dataset.labels == ("vehicle",)
    assert seen(dataset) == {10: "vehicle", 40: "vehicle"}
    # The lowest of the merged ids; VOC has none, so labels are numbered from 1.
    assert dataset.category_ids == {"coco": (3,), "voc": (1,), "yolo": (0,)}[kind]


@pytest.mark.parametrize("kind", SOURCES)
def test_classes_are_chosen_and_ordered(tmp_path: Path, kind: str) -> None:
    dataset = traffic(tmp_path, kind, names=CLASSES, classes=["person", "car"])

    assert dataset.labels == ("person", "car")
    assert seen(dataset) == {10: "car", 70: "person"}
    assert dataset.category_ids == {"coco": (1, 3), "voc": (1, 2), "yolo": (2, 0)}[kind]


@pytest.mark.parametrize("kind", SOURCES)
def test_classes_are_merged_and_chosen_together(tmp_path: Path, kind: str) -> None:
    dataset = traffic(tmp_path, kind, names=CLASSES, map=MERGED, classes=["vehicle"])

    assert seen(dataset) == {10: "vehicle", 40: "vehicle"}


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_names_may_be_those_after_the_map(tmp_path: Path, kind: str) -> None:
    dataset = traffic(tmp_path, kind, names=["person", "vehicle"], map=MERGED)

    assert dataset.labels == ("person", "vehicle")
    assert seen(dataset) == {10: "vehicle", 40: "vehicle", 70: "person"}


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_names_may_be_a_part_of_the_categories_with_classes(tmp_path: Path, kind: str) -> None:
    dataset = traffic(tmp_path, kind, names=["truck"], classes=["truck"])

    assert seen(dataset) == {40: "truck"}


def test_areas_go_with_the_boxes_that_are_kept(tmp_path: Path) -> None:
    dataset = traffic(tmp_path, "coco", names=["truck"], classes=["truck"])

    np.testing.assert_array_equal(dataset.samples[0].areas, [600])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            {"names": ["car"]},
            "has boxes of the class 'person' (and 1 more), which is not in `names` of "
            "FILE; add it there, or leave its boxes out with `map: {person: null}`, or all "
            "others' with `classes: [car]`.",
        ),
        ({"names": CLASSES, "map": {"car": "auto", "bus": "tram"}}, "leads to the class 'tram'"),
        ({"names": CLASSES, "map": dict.fromkeys(CLASSES)}, "`map` leaves no class"),
        ({"names": CLASSES, "map": ["car"]}, "`map` must give classes new names"),
        (
            {"names": CLASSES, "map": {"car": False}},
            "the name for 'car' in `map` is False, no text",
        ),
        ({"names": CLASSES, "classes": ["bus"]}, "`classes` keeps 'bus', which is not among the"),
        ({"names": CLASSES, "classes": []}, "`classes` must list the class names"),
        ({"names": CLASSES, "format": "kitti"}, "`format` must be coco, voc or yolo, not 'kitti'"),
    ],
)
def test_a_choice_of_classes_that_contradicts_itself_is_refused(
    tmp_path: Path, content: dict[str, Any], fault: str
) -> None:
    with pytest.raises(EdgeDetError) as caught:
        traffic(tmp_path, "coco", **content)

    assert fault.replace("FILE", str(tmp_path / "data.yaml")) in str(caught.value)
