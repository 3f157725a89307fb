"""Given label and xml files of every kind, YOLO's and VOC's readers give boxes, or one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgedet.data import Sample, load_dataset
from edgedet.errors import InvalidInputError
from tests.data.written_files import (
    BOX,
    VOC_BOX,
    YOLO_ROW,
    described,
    picture,
    voc_xml,
    write,
)


def one(file: Path) -> Sample:
    (sample,) = load_dataset(file, "train").samples
    return sample


def yolo_of(folder: Path, rows: str, **content: Any) -> Path:
    picture(folder / "images" / "a.jpg")
    write(folder / "labels" / "a.txt", rows)
    return described(folder, train="images", **content)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param("0 0.25 0.5 0.3 0.5 0.875", id="with a score"),
        pytest.param("0.0 0.25 0.5 0.3 0.5", id="class written as a fraction"),
        pytest.param("\ufeff0 0.25 0.5 0.3 0.5", id="byte order mark"),
        pytest.param("\n\t0\t0.25  0.5 0.3 0.5 \r\n\n", id="odd spacing"),
        pytest.param("0 0.1 0.25 0.4 0.5 0.25 0.75", id="triangle"),
        pytest.param("0 0.1 0.5 0.25 0.25 0.4 0.5 0.25 0.75", id="rotated box"),
    ],
)
def test_yolo_rows_of_every_kind_are_read(tmp_path: Path, row: str) -> None:
    np.testing.assert_allclose(one(yolo_of(tmp_path, row)).boxes, BOX, atol=1e-4)


def test_keypoints_behind_a_yolo_box_are_left_out(tmp_path: Path) -> None:
    row = YOLO_ROW.strip() + " 0.9 0.9 0.95 0.9"

    sample = one(yolo_of(tmp_path, row, kpt_shape=[2, 2]))

    np.testing.assert_allclose(sample.boxes, BOX, atol=1e-5)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("0 0.5 0.5 0.5", "line 1 has 4 numbers; write `class cx cy w h`"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "line 1 has 8 numbers"),
        ("0 0.5 0.5 0.5 wide", "line 1 is no row of numbers"),
        ("cat 0.5 0.5 0.5 0.5", "line 1 is no row of numbers"),
        ("0.5 0.5 0.5 0.5 0.5", "line 1 has a class that is no whole number"),
        ("nan 0.5 0.5 0.5 0.5", "line 1 has a class that is no whole number"),
        ("2 0.5 0.5 0.5 0.5", "line 1 has class '2', but `names` ends at 1; add"),
        ("-1 0.5 0.5 0.5 0.5", "line 1 has class '-1', but"),
        ("0 25 50 30 40", "line 1 has a box outside its picture of 100 x 80 pixels"),
        ("0 nan 0.5 0.5 0.5", "line 1 has a box with numbers that are not finite"),
        ("0 0.5 0.5 inf 0.5", "line 1 has a box with numbers that are not finite"),
        ("0 0.1 0.1 nan 0.2 0.3 0.3", "numbers that are not finite"),
        ("0 0.5 0.5 0 0.5", "line 1 has a box without area"),
        ("0 0.5 0.5 -0.1 0.5", "line 1 has a box without area"),
    ],
)
def test_a_bad_yolo_row_is_named_by_file_and_line(tmp_path: Path, row: str, fault: str) -> None:
    file = yolo_of(tmp_path, row)

    with pytest.raises(InvalidInputError) as caught:
        load_dataset(file, "train")

    assert str(caught.value).startswith(f"{tmp_path / 'labels' / 'a.txt'}: ")
    assert fault in str(caught.value)


def test_bad_yolo_boxes_are_left_out_on_request(tmp_path: Path) -> None:
    file = yolo_of(tmp_path, f"{YOLO_ROW}0 5 5 1 1\n0 nan 0 1 1\n", bad_boxes="drop")

    dataset = load_dataset(file, "train")

    assert dataset.dropped_boxes == 2
    np.testing.assert_allclose(dataset.samples[0].boxes, BOX, atol=1e-5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_those_of_the_upright_picture(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = yolo_of(tmp_path, YOLO_ROW)
    size = (100, 80) if orientation < 5 else (80, 100)
    picture(tmp_path / "images" / "a.jpg", size, exif=exif)

    sample = one(file)

    assert (sample.width, sample.height) == (100, 80)
    np.testing.assert_allclose(sample.boxes, BOX, atol=1e-5)


def test_no_yolo_picture_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = yolo_of(tmp_path, YOLO_ROW)

    def load(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)

    assert one(file).width == 100


def test_loading_leaves_nothing_beside_the_data(tmp_path: Path) -> None:
    file = yolo_of(tmp_path, YOLO_ROW)
    before = sorted(tmp_path.rglob("*"))

    load_dataset(file, "train")

    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("stems", "ids"),
    [
        (["000000000139", "000000000285"], [139, 285]),
        # pycocotools takes 0 for none in places.
        (["0", "5"], [1, 2]),
        (["05", "5"], [1, 2]),
        (["7", "8b"], [1, 2]),
    ],
)
def test_pictures_named_by_numbers_keep_them_as_ids(
    tmp_path: Path, stems: list[str], ids: list[int]
) -> None:
    for stem in stems:
        picture(tmp_path / "images" / f"{stem}.jpg")
        write(tmp_path / "labels" / f"{stem}.txt", YOLO_ROW)
    file = described(tmp_path, train="images")

    assert [sample.image_id for sample in load_dataset(file, "train").samples] == ids


def voc_of(folder: Path, xml: str, **content: Any) -> Path:
    picture(folder / "train" / "a.jpg")
    write(folder / "train" / "a.xml", xml)
    return described(folder, train="train", **content)


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ((1, 1, 100, 80), (0, 0, 100, 80)),
        ((11, 21, 11, 21), (10, 20, 11, 21)),
        ((10.5, 20.25, 40, 60), (9.5, 19.25, 40, 60)),
        ((0, 0, 99, 79), (0, 0, 99, 79)),
    ],
    ids=["whole picture", "one pixel", "fractions", "counted from 0"],
)
def test_voc_counts_from_one_and_names_the_last_pixel(
    tmp_path: Path, corners: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    sample = one(voc_of(tmp_path, voc_xml(("cat", corners))))

    np.testing.assert_allclose(sample.boxes, [expected])


def test_difficult_objects_are_kept_as_crowd(tmp_path: Path) -> None:
    xml = voc_xml(("cat", VOC_BOX), extra="<difficult>1</difficult>")

    assert one(voc_of(tmp_path, xml)).crowd.tolist() == [True]


def test_the_parts_of_a_voc_object_are_no_objects(tmp_path: Path) -> None:
    part = (
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax>"
        "</bndbox></part>"
    )

    np.testing.assert_allclose(
        one(voc_of(tmp_path, voc_xml(("cat", VOC_BOX), extra=part))).boxes, BOX
    )


@pytest.mark.parametrize("size", [None, (0, 0)])
def test_a_voc_size_that_is_not_told_is_the_pictures(
    tmp_path: Path, size: tuple[int, int] | None
) -> None:
    sample = one(voc_of(tmp_path, voc_xml(("cat", VOC_BOX), size=size)))

    assert (sample.width, sample.height) == (100, 80)


@pytest.mark.parametrize(
    ("xml", "fault"),
    [
        (voc_xml(("cat", (40, 21, 11, 60))), "object 1 ('cat') has a bndbox without area, xmin 40"),
        (voc_xml(("cat", (11, 21, 140, 60))), "object 1 ('cat') has a bndbox outside its picture"),
        (voc_xml(("cat", (11, 21, float("nan"), 60))), "has a bndbox with numbers that are not"),
        ("<annotation><object><name>cat</name></object></annotation>", "that are not finite"),
        (voc_xml(("", VOC_BOX)), "object 1 has no `name`; add its class"),
        (voc_xml(("cow", VOC_BOX)), "has boxes of the class 'cow', which is not in `names`"),
        ("<annotation", "is not well-formed xml"),
        ("<html></html>", "is no VOC annotation: its root is 'html'"),
    ],
)
def test_a_bad_voc_object_is_named(tmp_path: Path, xml: str, fault: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_dataset(voc_of(tmp_path, xml), "train")

    assert str(tmp_path / "train") in str(caught.value)
    assert fault in str(caught.value)


def test_xml_without_its_picture_is_refused(tmp_path: Path) -> None:
    file = voc_of(tmp_path, voc_xml(("cat", VOC_BOX)))
    write(tmp_path / "train" / "c.xml", voc_xml(("cat", VOC_BOX)))

    with pytest.raises(InvalidInputError, match=r"c\.xml has no picture; add the picture"):
        load_dataset(file, "train")


def test_coco_areas_are_the_files_own(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    boxes = [{"bbox": [0, 0, 10, 10]}, {"bbox": [0, 0, 10, 10], "area": 42.5}]
    boxes += [{"bbox": [0, 0, 10, 10], "area": area} for area in (-1, "9", None, float("nan"))]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, **b} for n, b in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    write(tmp_path / "a.json", json.dumps(content))
    file = described(tmp_path, train={"images": "images", "annotations": "a.json"})

    areas = one(file).areas

    assert areas is not None
    assert areas.tolist() == [100, 42.5, 100, 100, 100, 100]
