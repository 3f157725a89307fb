from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet import Detections
from edgedet.errors import InvalidInputError, MissingDependencyError, MissingFileError
from edgedet.runtime import serialization

NAMES = ("cat", "dog", "owl")


def make(**changes):
    values = {
        "xyxy": np.array([[10, 20, 30, 60], [0, 0, 5, 5], [40, 50, 100, 80]], np.float32),
        "confidence": np.array([0.9, 0.6, 0.3], np.float32),
        "class_id": np.array([1, 0, 1]),
        "names": NAMES,
        "category_ids": (7, 17, 27),
        "orig_shape": (80, 100),
    }
    return Detections(**(values | changes))


def test_coco_has_original_category_ids_and_widths():
    assert make()[0].to_coco(image_id=42) == [
        {
            "image_id": 42,
            "category_id": 17,
            "bbox": [10.0, 20.0, 20.0, 40.0],
            "score": pytest.approx(0.9),
        }
    ]
    json.dumps(make().to_coco(1))


def test_json_has_every_part():
    values = json.loads(make(path="cat.jpg", speed={"inference": 1.5}).to_json())
    assert values["path"] == "cat.jpg"
    assert (values["width"], values["height"]) == (100, 80)
    assert values["speed"] == {"inference": 1.5}
    assert values["names"] == ["cat", "dog", "owl"]
    assert values["category_ids"] == [7, 17, 27]
    assert not {"frame", "time"} & set(values)
    assert values["detections"][1] == {
        "label": "cat",
        "class_id": 0,
        "category_id": 7,
        "confidence": 0.6,
        "xyxy": [0, 0, 5, 5],
    }


finite = st.floats(-2e6, 2e6, width=32)


@given(
    boxes=st.lists(st.tuples(finite, finite, finite, finite), max_size=4),
    frame=st.none() | st.integers(0, 10**6),
    time=st.none() | st.floats(0, 1e6),
    names=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_json_is_read_back_as_it_was_written(boxes, frame, time, names, data):
    count = len(boxes)
    written = Detections(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        data.draw(st.lists(st.floats(0, 1, width=32), min_size=count, max_size=count)),
        data.draw(st.lists(st.integers(0, len(names) - 1), min_size=count, max_size=count)),
        tuple(names),
        orig_shape=(80, 100),
        path=data.draw(st.none() | st.just("a.jpg")),
        speed={"inference": 1.5},
        frame=frame,
        time=time,
    )
    read = Detections.from_json(written.to_json())
    np.testing.assert_allclose(read.xyxy, written.xyxy, atol=0.00501, rtol=1e-6)
    np.testing.assert_allclose(read.confidence, written.confidence, atol=5.1e-5)
    for name in "names category_ids orig_shape path speed frame time".split():
        assert getattr(read, name) == getattr(written, name)
    assert read.to_json() == written.to_json()
    # What to_dict leaves out is given by the caller.
    assert Detections.from_dict(written.to_dict(), names) == read


def test_json_without_names_takes_those_of_its_detections():
    read = Detections.from_dict(make(class_id=np.array([2, 0, 2])).to_dict())
    assert read.names == ("cat", "1", "owl")
    assert read.category_ids == (7, 1, 27)
    assert read.labels == ["owl", "cat", "owl"]
    assert Detections.from_dict(Detections.empty(orig_shape=(4, 6)).to_dict()).names == ()


def test_json_refuses_what_is_not_finite():
    with pytest.raises(InvalidInputError, match="not finite"):
        make(confidence=np.array([0.9, np.nan, 0.3])).to_json()


def changed(**changes):
    content = json.loads(make().to_json())
    return content | changes


def entry(**changes):
    content = json.loads(make().to_json())
    content["detections"][1] |= changes
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([changed()], "one JSON object, not list; of a list of pictures take one entry"),
        (None, "one JSON object, not NoneType"),
        (changed(detections=None), "detections must be a list, not NoneType"),
        (changed(detections={}), "detections must be a list"),
        (changed(detections=[7]), r"detections\[0\] must be an object, not int"),
        (changed(width=None), "width must be an integer"),
        (changed(height=-1), "height must be from 0"),
        (changed(width=2**40), "width must be from 0"),
        (changed(path=7), "path must be a text"),
        (changed(path="a\ud800"), "half a character"),
        (changed(names="cat"), "names must be a list of at most"),
        (changed(names=[1, 2, 3]), r"names\[0\] must be a text"),
        (changed(names=["x"] * 100_001), "names must be a list of at most"),
        (changed(names=["cat"]), r"detections\[0\].class_id must be from 0 to 0"),
        (changed(names=["cat", "cow", "owl"]), "label is 'dog', but class 1 is named 'cow'"),
        (changed(category_ids=[1, 2]), "category_ids must be a list of 3 numbers"),
        (changed(category_ids=[1, 2, 3.5]), r"category_ids\[2\] must be an integer"),
        (changed(speed=[1]), "speed must be an object"),
        (changed(speed={"a": "fast"}), "speed of a must be a number"),
        (changed(speed={str(k): 1.0 for k in range(101)}), "at most 100 stages"),
        (changed(frame=-1), "frame must be from 0"),
        (changed(frame=True), "frame must be an integer"),
        (changed(time=float("inf")), "time must be finite"),
        (entry(xyxy=[1, 2, 3]), r"detections\[1\].xyxy must be \[x0, y0, x1, y1\]"),
        (entry(xyxy=[1, 2, 3, "4"]), r"detections\[1\].xyxy must be a number"),
        (entry(xyxy=[1, 2, 3, 1e300]), "xyxy must be from"),
        (entry(xyxy=[1, 2, 3, float("nan")]), "xyxy must be finite"),
        (entry(confidence=1.5), "confidence must be from 0 to 1"),
        (entry(confidence=None), "confidence must be a number"),
        (entry(confidence=True), "confidence must be a number"),
        (entry(class_id=3), "class_id must be from 0 to 2"),
        (entry(class_id=1.0), "class_id must be an integer"),
        (entry(category_id="x"), "category_id must be an integer"),
        (entry(label=None), "label must be a text"),
    ],
)
def test_content_of_strangers_is_checked(content, message):
    with pytest.raises(InvalidInputError, match=message) as refusal:
        Detections.from_dict(content)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("index", [100_000, 10**12])
def test_class_ids_without_names_are_limited(index):
    content = entry(class_id=index)
    del content["names"], content["category_ids"]
    with pytest.raises(InvalidInputError, match="class_id must be from 0 to 99999"):
        Detections.from_dict(content)


def test_the_number_of_detections_is_limited(monkeypatch, tmp_path):
    monkeypatch.setattr(serialization, "MAX_DETECTIONS", 2)
    with pytest.raises(InvalidInputError, match="more than 2 entries"):
        Detections.from_dict(changed())
    make().save_txt(tmp_path / "a.txt")
    with pytest.raises(InvalidInputError, match="more than 2 lines"):
        Detections.from_txt(tmp_path / "a.txt", NAMES, (80, 100))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "nested too deep"),
        ('{"width": NaN}', "holds NaN"),
        ('{"width": -Infinity}', "holds -Infinity"),
        ('{"width": ' + "9" * 5000 + "}", "no JSON"),
        (b"\xff\xfe\xfd", "no JSON"),
        (7, "must be a text, not int"),
        (make().to_json().replace("0.9", "1e999"), "confidence must be finite"),
    ],
)
def test_texts_of_strangers_are_checked(text, message):
    with pytest.raises(InvalidInputError, match=message) as refusal:
        Detections.from_json(text)
    assert "\n" not in str(refusal.value)


def test_large_texts_are_refused_unread(monkeypatch, tmp_path):
    monkeypatch.setattr(serialization, "MAX_BYTES", 100)
    with pytest.raises(InvalidInputError, match="larger than"):
        Detections.from_json(make().to_json())
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n" * 10)
    with pytest.raises(InvalidInputError, match="larger than"):
        Detections.from_txt(tmp_path / "a.txt", NAMES, (80, 100))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_content_is_read_or_refused(data):
    content = json.loads(make().to_json())
    target = data.draw(st.sampled_from([content, content["detections"][0]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(json_values)
    try:
        read = Detections.from_dict(content)
    except InvalidInputError:
        return
    json.loads(read.to_json())


def test_yolo_text_is_normalized_by_the_image(tmp_path):
    make().save_txt(tmp_path / "labels" / "a.txt")
    lines = (tmp_path / "labels" / "a.txt").read_text().splitlines()
    assert lines[0] == "1 0.200000 0.500000 0.200000 0.500000 0.9000"
    assert len(lines) == 3


def test_yolo_text_needs_the_image_size(tmp_path):
    with pytest.raises(InvalidInputError, match="orig_shape"):
        make(orig_shape=(0, 0)).save_txt(tmp_path / "a.txt")
    assert [*tmp_path.iterdir()] == []


def test_yolo_text_is_read_back(tmp_path):
    make().save_txt(tmp_path / "a.txt")
    read = Detections.from_txt(tmp_path / "a.txt", NAMES, (80, 100))
    np.testing.assert_allclose(read.xyxy, make().xyxy, atol=1e-3)
    np.testing.assert_allclose(read.confidence, make().confidence)
    np.testing.assert_array_equal(read.class_id, make().class_id)
    assert (read.names, read.orig_shape) == (NAMES, (80, 100))


def test_yolo_labels_of_data_sets_have_confidence_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf1 0.5 0.5 0.2 0.5\r\n\r\n  0 0.1 0.1 0.2 0.2 0.75\n2 1 1 0 0")
    read = Detections.from_txt(path, NAMES, (80, 100))
    assert read.confidence.tolist() == [1, 1, 0.75]
    assert read.labels == ["dog", "owl", "cat"]
    np.testing.assert_allclose(read.xyxy[0], [40, 20, 60, 60], rtol=1e-6)
    path.write_text("")
    assert Detections.from_txt(path, NAMES, (80, 100)) == Detections.empty(NAMES, (80, 100))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("dog 0.5 0.5 0.1 0.1", "Line 2 of .*a.txt is not `class cx cy w h"),
        ("0 0.5 0.5 0.1", "Line 2 of .* is not"),
        ("0 0.5 0.5 0.1 0.1 0.9 7", "Line 2 of .* is not"),
        ("0 0.5 0.5 0.1 nan", "Line 2 of .* is not"),
        ("0 0.5 0.5 0.1 1e999", "Line 2 of .* is not"),
        ("9" * 5000 + " 0.5 0.5 0.1 0.1", "Line 2 of .* is not"),
        ("3 0.5 0.5 0.1 0.1", "Line 2 of .* is of class 3, but names ends at 2"),
        ("-1 0.5 0.5 0.1 0.1", "is of class -1"),
        ("0 0.5 0.5 -0.1 0.1", "out of range"),
        ("0 1e30 0.5 0.1 0.1", "out of range"),
        ("0 0.5 0.5 0.1 0.1 1.5", "out of range"),
        (b"\xff\xfe", "is no text file"),
    ],
)
def test_yolo_text_of_strangers_is_checked(tmp_path, line, message):
    line = line if isinstance(line, bytes) else line.encode()
    (tmp_path / "a.txt").write_bytes(b"0 0.5 0.5 0.1 0.1\n" + line)
    with pytest.raises(InvalidInputError, match=message) as refusal:
        Detections.from_txt(tmp_path / "a.txt", NAMES, (80, 100))
    assert "\n" not in str(refusal.value)


def test_yolo_text_that_is_missing_is_named(tmp_path):
    for path in (tmp_path / "a.txt", tmp_path):
        with pytest.raises(MissingFileError, match="There is no file"):
            Detections.from_txt(path, NAMES, (80, 100))
    with pytest.raises(InvalidInputError, match="orig_shape must be from 1"):
        Detections.from_txt(tmp_path / "a.txt", NAMES, (0, 100))


def test_coco_results_are_read_by_pycocotools(capsys):
    coco = pytest.importorskip("pycocotools.coco")
    truth = coco.COCO()
    truth.dataset = {
        "images": [{"id": 42, "width": 100, "height": 80}],
        "categories": [{"id": 7, "name": "cat"}, {"id": 17, "name": "dog"}],
        "annotations": [],
    }
    truth.createIndex()
    read = truth.loadRes(json.loads(json.dumps(make().to_coco(42))))
    assert [entry["area"] for entry in read.loadAnns(read.getAnnIds(catIds=[17]))] == [800, 1800]


def test_supervision_gets_its_own_fields(monkeypatch):
    fake = types.ModuleType("supervision")
    fake.Detections = types.SimpleNamespace
    monkeypatch.setitem(sys.modules, "supervision", fake)
    theirs = make().to_supervision()
    np.testing.assert_array_equal(theirs.xyxy, make().xyxy)
    np.testing.assert_array_equal(theirs.class_id, [1, 0, 1])
    assert theirs.data["class_name"].tolist() == ["dog", "cat", "dog"]


def columns_of(table):
    return {name: list(table[name]) for name in table}


def test_pandas_gets_the_columns_that_users_know(monkeypatch):
    fake = types.ModuleType("pandas")
    fake.DataFrame = dict
    monkeypatch.setitem(sys.modules, "pandas", fake)
    table = columns_of(make().to_pandas())
    assert list(table) == "xmin ymin xmax ymax confidence class name".split()
    assert table["ymax"] == [60, 5, 80]
    assert table["class"] == [1, 0, 1]
    assert table["name"] == ["dog", "cat", "dog"]
    table = columns_of(make(path="a.mp4", frame=3, time=0.1).to_pandas())
    assert (table["path"], table["frame"]) == (["a.mp4"] * 3, [3] * 3)
    assert table["time"] == [0.1] * 3


def test_pandas_makes_a_table_of_it():
    pandas = pytest.importorskip("pandas")
    several = pandas.concat([make(path="a.jpg").to_pandas(), make()[:0].to_pandas()])
    assert several.shape == (3, 8)
    assert several["name"].value_counts().to_dict() == {"dog": 2, "cat": 1}


def test_supervision_itself_takes_them():
    supervision = pytest.importorskip("supervision")
    theirs = make().to_supervision()
    assert len(theirs) == 3
    assert isinstance(theirs[theirs.class_id == 1], supervision.Detections)
    assert len(Detections.empty(NAMES).to_supervision()) == 0


@pytest.mark.parametrize("package", ["pandas", "supervision"])
def test_a_missing_package_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=f"pip install {package}"):
        getattr(make(), f"to_{package}")()
