"""Given the layouts that people's tools write, a data.yaml reads the same samples from each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.data import load_dataset
from edgedet.errors import InvalidInputError, MissingFileError
from tests.data.written_files import (
    BOX,
    VOC_BOX,
    YOLO_ROW,
    described,
    picture,
    voc_xml,
    write,
)


def coco_json(path: Path, *names: str) -> None:
    content = {
        "images": [
            {"id": number, "file_name": name, "width": 100, "height": 80}
            for number, name in enumerate(names, 1)
        ],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [10, 20, 30, 40]}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }
    write(path, json.dumps(content))


def yolo(folder: Path, images: str = "images/train", labels: str = "labels/train") -> None:
    for name in "ab":
        picture(folder / images / f"{name}.jpg")
    write(folder / labels / "a.txt", YOLO_ROW)


def ultralytics(folder: Path) -> dict[str, Any]:
    yolo(folder)
    return {"path": ".", "train": "images/train", "val": "images/train"}


def ultralytics_lists(folder: Path) -> dict[str, Any]:
    yolo(folder)
    write(folder / "train.txt", "./images/train/a.jpg\n./images/train/b.jpg\n")
    return {"train": "train.txt"}


def list_relative_to_path(folder: Path) -> dict[str, Any]:
    yolo(folder / "set")
    write(folder / "set" / "lists" / "train.txt", "images/train/a.jpg\r\nimages/train/b.jpg\r\n")
    return {"path": "set", "train": "lists/train.txt"}


def list_relative_to_itself(folder: Path) -> dict[str, Any]:
    yolo(folder / "lists")
    write(folder / "lists" / "train.txt", "./images/train/a.jpg\n./images/train/b.jpg\n")
    return {"train": "lists/train.txt"}


def list_of_absolute_paths(folder: Path) -> dict[str, Any]:
    yolo(folder)
    write(folder / "train.txt", "".join(f"{folder}/images/train/{n}.jpg\n" for n in "ab"))
    return {"train": "train.txt"}


def several_directories(folder: Path) -> dict[str, Any]:
    yolo(folder, "one/images", "one/labels")
    (folder / "two" / "images").mkdir(parents=True)
    (folder / "one" / "images" / "b.jpg").rename(folder / "two" / "images" / "b.jpg")
    write(folder / "two/labels/b.txt", "")
    return {"train": ["one/images", "two/images"]}


def roboflow_yolo(folder: Path) -> dict[str, Any]:
    yolo(folder, "train/images", "train/labels")
    return {"train": "../train/images", "val": "../valid/images", "nc": 2}


def darknet(folder: Path) -> dict[str, Any]:
    yolo(folder, "all", "all")
    write(folder / "all" / "classes.txt", "cat\ndog\n")
    return {"train": "all"}


def yolo_named_apart(folder: Path) -> dict[str, Any]:
    yolo(folder, "pictures", "boxes")
    return {"train": {"images": "pictures", "annotations": "boxes"}}


def voc(folder: Path, images: str, xml: str) -> None:
    picture(folder / images / "a.jpg")
    picture(folder / images / "b.png")
    write(folder / xml / "a.xml", voc_xml(("cat", VOC_BOX)))
    write(folder / xml / "b.xml", voc_xml())


def voc_image_sets(folder: Path) -> dict[str, Any]:
    root = folder / "VOCdevkit" / "VOC2007"
    voc(root, "JPEGImages", "Annotations")
    write(root / "ImageSets" / "Main" / "train.txt", "a\nb\n")
    return {"path": "VOCdevkit/VOC2007", "train": "ImageSets/Main/train.txt"}


def voc_class_list(folder: Path) -> dict[str, Any]:
    voc(folder, "JPEGImages", "Annotations")
    write(folder / "ImageSets" / "Main" / "cat_train.txt", "a  1\nb -1\n")
    return {"train": "ImageSets/Main/cat_train.txt"}


def voc_directory(folder: Path) -> dict[str, Any]:
    voc(folder / "train", "JPEGImages", "Annotations")
    return {"train": "train"}


def voc_pictures(folder: Path) -> dict[str, Any]:
    voc(folder, "JPEGImages", "Annotations")
    return {"train": "JPEGImages"}


def voc_side_by_side(folder: Path) -> dict[str, Any]:
    voc(folder, "train", "train")
    return {"train": "train"}


def voc_named_apart(folder: Path) -> dict[str, Any]:
    voc(folder, "pictures", "xml")
    return {"train": {"images": "pictures", "annotations": "xml"}}


def roboflow_coco(folder: Path) -> dict[str, Any]:
    for name in "ab":
        picture(folder / "train" / f"{name}.jpg")
    coco_json(folder / "train" / "_annotations.coco.json", "a.jpg", "b.jpg")
    return {"train": "train"}


LAYOUTS = {
    "yolo": [
        ultralytics,
        ultralytics_lists,
        list_relative_to_path,
        list_relative_to_itself,
        list_of_absolute_paths,
        several_directories,
        roboflow_yolo,
        darknet,
        yolo_named_apart,
    ],
    "voc": [
        voc_image_sets,
        voc_class_list,
        voc_directory,
        voc_pictures,
        voc_side_by_side,
        voc_named_apart,
    ],
    "coco": [roboflow_coco],
}
CATEGORY_IDS = {"yolo": (0, 1), "voc": (1, 2), "coco": (3, 7)}


@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        pytest.param(kind, layout, id=f"{kind}: {layout.__name__}")
        for kind, layouts in LAYOUTS.items()
        for layout in layouts
    ],
)
@pytest.mark.parametrize("named", [False, True], ids=["found out", "named"])
def test_every_layout_gives_the_same_samples(
    tmp_path: Path, kind: str, layout: Callable[[Path], dict[str, Any]], named: bool
) -> None:
    content = layout(tmp_path)
    file = described(tmp_path, **content, **({"format": kind} if named else {}))

    dataset = load_dataset(file, "train")

    assert dataset.format == kind
    assert dataset.labels == ("cat", "dog")
    assert dataset.category_ids == CATEGORY_IDS[kind]
    assert [sample.path.stem for sample in dataset.samples] == ["a", "b"]
    assert [sample.path.is_file() for sample in dataset.samples] == [True, True]
    assert [sample.image_id for sample in dataset.samples] == [1, 2]
    first, second = dataset.samples
    assert (first.width, first.height) == (100, 80)
    np.testing.assert_allclose(first.boxes, BOX, atol=1e-5)
    assert first.classes.tolist() == [0]
    assert first.crowd.tolist() == [False]
    assert second.boxes.shape == (0, 4)


def test_a_data_set_reads_the_same_from_inside_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = described(tmp_path, **ultralytics(tmp_path))
    monkeypatch.chdir(path.parent)
    boxes = [len(sample.boxes) for sample in load_dataset(path.name, "train").samples]
    assert boxes == [len(sample.boxes) for sample in load_dataset(path, "train").samples] == [1, 0]


def test_pictures_without_labels_need_the_format_named(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")

    with pytest.raises(InvalidInputError, match=r"has pictures but no annotations.*`format: yolo`"):
        load_dataset(described(tmp_path, train="images"), "train")
    with pytest.raises(InvalidInputError, match="has no boxes, so there is nothing to learn"):
        load_dataset(described(tmp_path, train="images", format="yolo"), "train")


def test_a_format_that_the_files_are_not_of_is_refused(tmp_path: Path) -> None:
    yolo(tmp_path)
    with pytest.raises(InvalidInputError, match=r"train holds no _annotations\.coco\.json; write"):
        load_dataset(described(tmp_path, train="images/train", format="coco"), "train")
    write(tmp_path / "train.txt", "images/train/a.jpg\n")
    with pytest.raises(InvalidInputError, match=r"train\.txt is no COCO json"):
        load_dataset(described(tmp_path, train="train.txt", format="coco"), "train")
    coco_json(tmp_path / "a.json", "images/train/a.jpg")
    with pytest.raises(InvalidInputError, match="is COCO json, but"):
        load_dataset(described(tmp_path, train="a.json", format="voc"), "train")


def test_two_formats_in_one_split_are_refused(tmp_path: Path) -> None:
    yolo(tmp_path)
    voc(tmp_path, "other", "other")
    with pytest.raises(InvalidInputError, match="YOLO's labels and others with VOC's; convert"):
        load_dataset(described(tmp_path, train=["images/train", "other"]), "train")


def test_an_image_set_that_names_what_is_not_there_is_refused(tmp_path: Path) -> None:
    content = voc_image_sets(tmp_path)
    write(tmp_path / "VOCdevkit/VOC2007/ImageSets/Main/train.txt", "a\ngone\n")

    with pytest.raises(MissingFileError, match=r"the picture 'gone' is not in .*JPEGImages"):
        load_dataset(described(tmp_path, **content), "train")


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"`train` names .*images, which does not exist"):
        load_dataset(described(tmp_path, train="images"), "train")


def test_a_directory_without_pictures_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()

    with pytest.raises(InvalidInputError, match=r"there is no picture in .*images; correct"):
        load_dataset(described(tmp_path, train="images"), "train")
