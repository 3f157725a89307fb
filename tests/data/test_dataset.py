"""Given a data.yaml and COCO json, `load_dataset` gives checked samples, or one sentence."""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.data import load_dataset
from edgedet.data.coco import read_coco
from edgedet.data.faults import Faults
from edgedet.errors import EdgeDetError, InvalidInputError, MissingFileError

DESCRIPTION: dict[str, Any] = {
    "path": ".",
    "train": {"images": "images/train", "annotations": "annotations/train.json"},
    "val": {"images": "images/val", "annotations": "annotations/val.json"},
    "names": ["cat", "dog"],
}
# COCO's ids have gaps and need not follow the order of the names.
COCO: dict[str, Any] = {
    "images": [
        {"id": 70, "file_name": "a.jpg", "width": 100, "height": 80},
        {"id": 3, "file_name": "b.jpg", "width": 60, "height": 60},
        {"id": 12, "file_name": "c.jpg", "width": 60, "height": 60},
    ],
    "annotations": [
        {"id": 5, "image_id": 12, "category_id": 9, "bbox": [1, 2, 3, 4], "iscrowd": 1},
        {"id": 6, "image_id": 70, "category_id": 4, "bbox": [10, 20, 30, 40.5], "iscrowd": 0},
        {"id": 7, "image_id": 12, "category_id": 4, "bbox": [0, 0, 60, 60], "area": 3600},
    ],
    "categories": [{"id": 9, "name": "dog"}, {"id": 4, "name": "cat"}],
}

Content = tuple[dict[str, Any], dict[str, Any]]


def written(
    folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], object] | None = None
) -> Path:
    """A dataset in `folder`, the same for train and val, after `change(description, coco)`."""
    description, coco = copy.deepcopy(DESCRIPTION), copy.deepcopy(COCO)
    if change:
        change(description, coco)
    (folder / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / "images" / split).mkdir(parents=True)
        for name in "abc":
            (folder / "images" / split / f"{name}.jpg").touch()
        (folder / "annotations" / f"{split}.json").write_text(json.dumps(coco))
    (folder / "data.yaml").write_text(yaml.safe_dump(description))
    return folder / "data.yaml"


def test_samples_carry_boxes_classes_and_the_files_own_ids(tmp_path: Path) -> None:
    dataset = load_dataset(written(tmp_path), "val")

    assert dataset.name == "val"
    assert dataset.labels == ("cat", "dog")
    assert dataset.category_ids == (4, 9)
    assert dataset.flip is True
    assert dataset.dropped_boxes == 0
    assert [sample.image_id for sample in dataset.samples] == [70, 3, 12]
    first, empty, last = dataset.samples
    assert first.path == tmp_path / "images/val/a.jpg"
    assert (first.width, first.height) == (100, 80)
    np.testing.assert_array_equal(first.boxes, [[10, 20, 40, 60.5]])
    np.testing.assert_array_equal(first.classes, [0])
    np.testing.assert_array_equal(last.boxes, [[1, 2, 4, 6], [0, 0, 60, 60]])
    np.testing.assert_array_equal(last.classes, [1, 0])
    np.testing.assert_array_equal(last.crowd, [True, False])
    assert empty.boxes.shape == (0, 4)
    for sample in dataset.samples:
        assert sample.boxes.dtype == np.float32
        assert sample.classes.dtype == np.int32
        assert sample.crowd.dtype == bool


@pytest.mark.parametrize(
    ("change", "labels"),
    [
        pytest.param(lambda d, c: d.update(names={0: "cat", 1: "dog"}), ("cat", "dog"), id="map"),
        pytest.param(lambda d, c: d.update(names=["dog", "cat"]), ("dog", "cat"), id="order"),
        pytest.param(lambda d, c: d.update(nc=2, download="nothing"), ("cat", "dog"), id="others"),
        pytest.param(
            lambda d, c: c["categories"].append({"id": 0, "name": "animals"}),
            ("cat", "dog"),
            id="unused category without a name",
        ),
    ],
)
def test_the_data_yaml_orders_the_labels(
    tmp_path: Path, change: Callable[..., object], labels: tuple[str, ...]
) -> None:
    dataset = load_dataset(written(tmp_path, change), "train")

    assert dataset.labels == labels
    id_of = {"cat": 4, "dog": 9}
    assert dataset.category_ids == tuple(id_of[label] for label in labels)
    assert labels[dataset.samples[0].classes[0]] == "cat"


def test_names_that_look_like_numbers_are_text(tmp_path: Path) -> None:
    def digits(description: dict[str, Any], coco: dict[str, Any]) -> None:
        description["names"] = [7, 8]
        coco["categories"] = [{"id": 4, "name": "7"}, {"id": 9, "name": "8"}]

    assert load_dataset(written(tmp_path, digits), "train").labels == ("7", "8")


def test_flip_can_be_turned_off(tmp_path: Path) -> None:
    assert not load_dataset(written(tmp_path, lambda d, c: d.update(flip=False)), "train").flip


def test_the_json_alone_finds_its_pictures_under_the_path(tmp_path: Path) -> None:
    def alone(description: dict[str, Any], coco: dict[str, Any]) -> None:
        description["train"] = "annotations/train.json"
        for image in coco["images"]:
            image["file_name"] = f"images/train/{image['file_name']}"

    dataset = load_dataset(written(tmp_path, alone), "train")

    assert dataset.samples[1].path == tmp_path / "images/train/b.jpg"


def test_paths_are_relative_to_the_data_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "set")
    file.rename(tmp_path / "set.yaml")
    text = (tmp_path / "set.yaml").read_text().replace("path: .", "path: set")
    (tmp_path / "set.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)

    assert len(load_dataset("set.yaml", "train").samples) == 3


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ([-0.8, -0.3, 11.8, 10.3], [0, 0, 11, 10]),
        ([90, 70, 10.9, 11], [90, 70, 100, 80]),
    ],
)
def test_overshoot_by_rounding_is_clipped(
    tmp_path: Path, bbox: list[float], expected: list[float]
) -> None:
    file = written(tmp_path, lambda d, c: c["annotations"][1].update(bbox=bbox))

    boxes = load_dataset(file, "train").samples[0].boxes

    np.testing.assert_allclose(boxes, [expected], rtol=1e-6)


BAD_BOXES = [
    pytest.param([-5, 0, 20, 20], "outside its picture of 100 x 80 pixels", id="left"),
    pytest.param([0, -1.5, 20, 20], "outside its picture", id="above"),
    pytest.param([90, 0, 20, 20], "outside its picture", id="right"),
    pytest.param([0, 70, 20, 20], "outside its picture", id="below"),
    pytest.param([100.2, 0, 0.5, 20], "outside its picture", id="within the tolerance only"),
    pytest.param([5, 5, 1e-9, 5], "without area", id="a sliver"),
    pytest.param([5, 5, 0, 5], "without area", id="no width"),
    pytest.param([5, 5, 5, 0], "without area", id="no height"),
    pytest.param([20, 20, -5, 5], "without area", id="negative width"),
    pytest.param([math.nan, 0, 5, 5], "not finite", id="NaN"),
    pytest.param([0, 0, math.inf, 5], "not finite", id="infinite"),
    pytest.param([0, 0, 10**400, 5], "out of range", id="huge integer"),
    pytest.param([0, 0, 5], "not four numbers", id="three numbers"),
    pytest.param(["0", "0", "5", "5"], "not four numbers", id="text"),
    pytest.param({"x": 0}, "not four numbers", id="an object"),
    pytest.param(None, "not four numbers", id="null"),
]


@pytest.mark.parametrize(("bbox", "fault"), BAD_BOXES)
def test_a_bad_box_is_named_with_the_remedy(tmp_path: Path, bbox: object, fault: str) -> None:
    file = written(tmp_path, lambda d, c: c["annotations"][1].update(bbox=bbox))

    with pytest.raises(InvalidInputError, match=fault) as caught:
        load_dataset(file, "train")

    message = str(caught.value)
    assert "annotations/train.json: annotation 6 (a.jpg) has a bbox" in message
    assert "`bad_boxes: drop`" in message


@pytest.mark.parametrize(("bbox", "fault"), BAD_BOXES)
def test_bad_boxes_are_left_out_on_request(tmp_path: Path, bbox: object, fault: str) -> None:
    def change(description: dict[str, Any], coco: dict[str, Any]) -> None:
        description["bad_boxes"] = "drop"
        coco["annotations"][1]["bbox"] = bbox

    dataset = load_dataset(written(tmp_path, change), "train")

    assert dataset.dropped_boxes == 1
    assert [len(sample.boxes) for sample in dataset.samples] == [0, 0, 2]


def test_the_number_of_bad_boxes_is_told(tmp_path: Path) -> None:
    def change(description: dict[str, Any], coco: dict[str, Any]) -> None:
        for annotation in coco["annotations"]:
            annotation["bbox"] = [0, 0, 0, 0]

    with pytest.raises(InvalidInputError, match=r"annotation 5 .*, and 2 more like it; "):
        load_dataset(written(tmp_path, change), "train")


def annotation(position: int, **changes: object) -> Callable[..., None]:
    return lambda description, coco: coco["annotations"][position].update(changes)


def image(position: int, **changes: object) -> Callable[..., None]:
    return lambda description, coco: coco["images"][position].update(changes)


def described(**changes: object) -> Callable[..., None]:
    return lambda description, coco: description.update(changes)


def without(key: str) -> Callable[..., object]:
    return lambda description, coco: description.pop(key)


@pytest.mark.parametrize(
    ("change", "kind", "fault"),
    [
        # the data.yaml
        pytest.param(described(path="nowhere"), MissingFileError, r"`path` names .*nowhere"),
        pytest.param(described(path=7), InvalidInputError, "`path` must be a directory"),
        pytest.param(without("train"), InvalidInputError, "has no `train`; it has val"),
        pytest.param(described(train=None), InvalidInputError, "`train` does not say where"),
        pytest.param(described(train="images/train"), InvalidInputError, "has pictures but no"),
        pytest.param(
            described(train={"images": "images/train"}),
            InvalidInputError,
            "`train` does not say where",
        ),
        pytest.param(
            described(train={"images": "x", "annotations": "annotations/train.json"}),
            MissingFileError,
            r"`train` names the images in .*x, which is no directory",
        ),
        pytest.param(
            described(train={"images": "images/train", "annotations": "x.json"}),
            MissingFileError,
            r"x\.json does not exist; check the",
        ),
        pytest.param(described(train="x.json"), MissingFileError, r"x\.json does not exist"),
        pytest.param(without("names"), InvalidInputError, "`names` must list"),
        pytest.param(described(names=[]), InvalidInputError, "`names` must list"),
        pytest.param(described(names="cat"), InvalidInputError, "`names` must list"),
        pytest.param(described(names={1: "cat", 2: "dog"}), InvalidInputError, "0 to 1 without"),
        pytest.param(described(names=["cat", False]), InvalidInputError, "class 1 .* in quotes"),
        pytest.param(described(names=["cat", "cat"]), InvalidInputError, "'cat' occurs twice"),
        pytest.param(
            described(names=["cat", "cow"]), InvalidInputError, r"class 'cow' is not among"
        ),
        pytest.param(
            described(names=["cat"]), InvalidInputError, r"boxes of the class 'dog'.*add it"
        ),
        pytest.param(described(flip="no"), InvalidInputError, "`flip` must be true or false"),
        pytest.param(described(bad_boxes="skip"), InvalidInputError, "must be error or drop"),
        pytest.param(
            described(bad_box="drop"), InvalidInputError, "unknown key `bad_box`; write `bad_boxes`"
        ),
        # the json
        pytest.param(
            annotation(1, category_id=5), InvalidInputError, r"annotation 6 \(category_id 5\) has"
        ),
        pytest.param(annotation(1, category_id="4"), InvalidInputError, r"\(category_id '4'\) has"),
        pytest.param(annotation(1, category_id=[4]), InvalidInputError, "class that is not in"),
        pytest.param(
            annotation(1, image_id=71), InvalidInputError, r"annotation 6 \(image_id 71\) belongs"
        ),
        pytest.param(annotation(1, id=5), InvalidInputError, "annotation id 5 occurs twice"),
        pytest.param(image(1, id=70), InvalidInputError, "image id 70 occurs twice"),
        pytest.param(image(1, id="3"), InvalidInputError, r"images\[1\] needs an integer `id`"),
        pytest.param(image(1, width=0), InvalidInputError, r"images\[1\] needs"),
        pytest.param(image(1, height=10**9), InvalidInputError, r"images\[1\] needs"),
        pytest.param(image(1, file_name=""), InvalidInputError, r"images\[1\] needs"),
        pytest.param(
            image(1, file_name="gone.jpg"), MissingFileError, r"gone\.jpg' does not exist; correct"
        ),
        pytest.param(image(1, file_name="nul\0"), MissingFileError, "does not exist"),
        pytest.param(
            lambda d, c: [entry.update(file_name="gone.jpg") for entry in c["images"]],
            MissingFileError,
            "and 2 more like it",
        ),
        pytest.param(
            lambda d, c: c["categories"].append({"id": 4, "name": "cow"}),
            InvalidInputError,
            "category id 4 occurs twice",
        ),
        pytest.param(
            lambda d, c: c["categories"].append({"id": 5, "name": "cat"}),
            InvalidInputError,
            "name 'cat' occurs twice",
        ),
        pytest.param(
            lambda d, c: c["categories"].append({"name": "cow"}),
            InvalidInputError,
            r"categories\[2\] needs",
        ),
        pytest.param(
            lambda d, c: c.update(annotations=[]), InvalidInputError, "has no boxes, so there is"
        ),
        pytest.param(lambda d, c: c.pop("images"), InvalidInputError, "has no list `images`"),
        pytest.param(
            lambda d, c: c.update(annotations={"a": 1}), InvalidInputError, "no list `annotations`"
        ),
        pytest.param(
            lambda d, c: c["annotations"].append(3),
            InvalidInputError,
            r"annotations\[3\] is not an object",
        ),
    ],
)
def test_a_defect_is_told_in_one_sentence(
    tmp_path: Path, change: Callable[..., object], kind: type[EdgeDetError], fault: str
) -> None:
    file = written(tmp_path, change)

    with pytest.raises(kind, match=fault) as caught:
        load_dataset(file, "train")

    message = str(caught.value)
    assert str(tmp_path) in message
    assert "\n" not in message
    assert message.endswith(".")


DEEP = 100_000


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(b"", "no description of a dataset", id="empty"),
        pytest.param(b"just text", "no description of a dataset", id="text"),
        pytest.param(b"- a\n- b\n", "no description of a dataset", id="list"),
        pytest.param(b"names: [a, b\nflip: {", "not valid YAML: .* in line 2", id="unclosed"),
        pytest.param(b"a: \x00\xff", "not valid YAML", id="binary"),
        pytest.param(b"names: 2024-99-99", "not valid YAML", id="impossible date"),
        pytest.param(b"names: " + b"9" * 5000, "not valid YAML", id="endless number"),
        pytest.param(b"{" * 2000, "more than 20 deep", id="deep nesting"),
        pytest.param(b"? [a]\n: 1\n", "not valid YAML|no description", id="list as key"),
        pytest.param(
            b"names: !!python/object/apply:os.system [exit]", "not valid YAML", id="runs nothing"
        ),
        pytest.param(
            b"a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nc: {<<: [*b, *b]}\n", "aliases", id="aliases"
        ),
        pytest.param(b"# " + b"x" * 2**18, "larger than 256 KiB", id="too large"),
    ],
)
def test_a_file_that_is_no_data_yaml_is_refused(tmp_path: Path, text: bytes, fault: str) -> None:
    file = tmp_path / "data.yaml"
    file.write_bytes(text)

    with pytest.raises(InvalidInputError, match=fault) as caught:
        load_dataset(file, "train")

    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(b"", "not valid JSON", id="empty"),
        pytest.param(b'{"images": [', "not valid JSON", id="truncated"),
        pytest.param(b"\xff\xfe\x00garbage", "not valid JSON", id="binary"),
        pytest.param(b"[" * DEEP, "not valid JSON", id="deep nesting"),
        pytest.param(b'{"images": ' + b"9" * 5000 + b"}", "not valid JSON", id="endless number"),
        pytest.param(b"[]", "not COCO json", id="list"),
        pytest.param(b"null", "not COCO json", id="null"),
    ],
)
def test_a_file_that_is_no_coco_json_is_refused(tmp_path: Path, text: bytes, fault: str) -> None:
    file = written(tmp_path)
    (tmp_path / "annotations" / "train.json").write_bytes(text)

    with pytest.raises(InvalidInputError, match=rf"train\.json is {fault}"):
        load_dataset(file, "train")


def test_a_missing_data_yaml_and_a_directory_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="does not exist"):
        load_dataset(tmp_path / "data.yaml", "train")
    with pytest.raises(InvalidInputError, match="is a directory"):
        load_dataset(tmp_path, "train")


def test_long_content_does_not_flood_the_message(tmp_path: Path) -> None:
    file = written(tmp_path, annotation(1, category_id="x" * 10_000))

    with pytest.raises(InvalidInputError) as caught:
        load_dataset(file, "train")

    assert len(str(caught.value)) < 400 + len(str(tmp_path))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    section=st.sampled_from(["images", "annotations", "categories"]),
    position=st.integers(0, 1),
    key=st.sampled_from(["id", "file_name", "width", "image_id", "category_id", "bbox", "name"]),
    value=JSON,
)
def test_any_value_anywhere_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    section: str,
    position: int,
    key: str,
    value: Any,
) -> None:
    coco = copy.deepcopy(COCO)
    coco[section][position][key] = value
    file = tmp_path_factory.mktemp("fuzz") / "coco.json"
    file.write_text(json.dumps(coco))

    try:
        boxes = read_coco(file, tmp_path_factory.getbasetemp(), Faults()).boxes
    except EdgeDetError:
        return
    assert np.isfinite(boxes).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_pictures_are_looked_up_in_one_listing_per_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def many(description: dict[str, Any], coco: dict[str, Any]) -> None:
        coco["images"] += [
            {"id": 100 + number, "file_name": f"{'ab'[number % 2]}.jpg", "width": 9, "height": 9}
            for number in range(500)
        ]

    file = written(tmp_path, many)
    asked: list[str] = []

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            asked.append(str(arguments[0]))
            return call(*arguments, **options)

        return wrapper

    for name in ("stat", "listdir", "scandir", "open"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))

    # The pictures are empty files, so opening one would fail.
    assert len(load_dataset(file, "train").samples) == 503

    assert asked.count(str(tmp_path / "images" / "train")) >= 1
    assert len(asked) < 20
