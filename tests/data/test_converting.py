"""Given a dataset in one format, `convert_dataset` writes another with the same samples."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgedet.data import DetectionDataset, Sample, load_dataset
from edgedet.data.converting import convert_dataset
from edgedet.data.writing import voc_corners
from edgedet.errors import InvalidInputError, MissingFileError

SIZES = {"a.jpg": (100, 80), "b.png": (37, 211), "c.jpg": (640, 480)}
FORMATS = ("coco", "voc", "yolo")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number, (name, size) in enumerate(SIZES.items()):
        Image.new("RGB", size, (10 * number, 200, 90)).save(folder / name)
    return folder


Truth = dict[str, list[dict[str, Any]]]


def written(folder: Path, pictures: Path, truth: Truth, **content: Any) -> Path:
    """COCO json of annotations by picture, the same for train and val."""
    folder.mkdir(parents=True, exist_ok=True)
    images = [
        {"id": 10 + number, "file_name": name, "width": width, "height": height}
        for number, (name, (width, height)) in enumerate(SIZES.items())
    ]
    annotations = [
        {"image_id": image["id"], "category_id": 5, **annotation}
        for image in images
        for annotation in truth.get(str(image["file_name"]), [])
    ]
    categories = [{"id": 5, "name": "cat"}, {"id": 90, "name": "große Kuh & <Co>"}]
    (folder / "a.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    entry = {"images": str(pictures), "annotations": "a.json"}
    names = [category["name"] for category in categories]
    description = {"train": entry, "val": dict(entry), "names": names, **content}
    (folder / "data.yaml").write_text(yaml.safe_dump(description))
    return folder / "data.yaml"


TRUTH: Truth = {
    "a.jpg": [
        {"bbox": [10, 20, 30, 40], "category_id": 90, "area": 99.5},
        {"bbox": [0, 0, 100, 80], "iscrowd": 1},
    ],
    "c.jpg": [{"bbox": [0.25, 1.125, 33.5, 7.75]}],
}


def by_stem(dataset: DetectionDataset) -> dict[str, Sample]:
    return {sample.path.stem: sample for sample in dataset.samples}


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("link", [False, True], ids=["copied", "linked"])
def test_every_split_is_written_with_its_pictures(
    tmp_path: Path, pictures: Path, to: str, link: bool
) -> None:
    done: list[int] = []

    result = convert_dataset(
        written(tmp_path / "in", pictures, TRUTH), tmp_path / "out", to, link=link,
        advance=done.append,
    )  # fmt: skip

    assert result.data == tmp_path / "out" / "data.yaml"
    assert result.pictures == {"train": 3, "val": 3}
    assert sum(done) == 6
    for split in ("train", "val"):
        dataset = load_dataset(result.data, split)
        assert dataset.format == to
        assert dataset.labels == ("cat", "große Kuh & <Co>")
        for sample in dataset.samples:
            assert sample.path.is_symlink() == link
            assert sample.path.is_relative_to(tmp_path / "out")
            name = next(n for n, size in SIZES.items() if size == (sample.width, sample.height))
            assert sample.path.read_bytes() == (pictures / name).read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name not in ("in", "out")]


def test_coco_keeps_everything(tmp_path: Path, pictures: Path) -> None:
    data = written(tmp_path / "in", pictures, TRUTH, flip=False)
    before = load_dataset(data, "val")

    result = convert_dataset(data, tmp_path / "out", "coco")

    after = load_dataset(result.data, "val")
    assert result.lost == ()
    assert after.category_ids == before.category_ids
    assert after.flip is False
    for old, new in zip(before.samples, after.samples, strict=True):
        assert (old.image_id, old.width, old.height) == (new.image_id, new.width, new.height)
        np.testing.assert_array_equal(old.boxes, new.boxes)
        np.testing.assert_array_equal(old.classes, new.classes)
        np.testing.assert_array_equal(old.crowd, new.crowd)
        np.testing.assert_array_equal(old.areas, new.areas)


@pytest.mark.parametrize(
    ("to", "boxes", "lost"),
    [
        (
            "yolo",
            2,
            ["1 crowd boxes were left out", "Image ids, category ids and areas have no place"],
        ),
        (
            "voc",
            3,
            ["1 boxes were rounded to whole pixels, as VOC has them; the farthest edge moved by "
             "0.25 px", "Image ids, category ids"],
        ),
    ],
)  # fmt: skip
def test_what_is_lost_is_told(
    tmp_path: Path, pictures: Path, to: str, boxes: int, lost: list[str]
) -> None:
    result = convert_dataset(written(tmp_path / "in", pictures, TRUTH), tmp_path / "out", to)

    dataset = load_dataset(result.data, "train")
    assert result.boxes["train"] == boxes
    assert sum(len(sample.boxes) for sample in dataset.samples) == boxes
    # Both splits are counted.
    expected = [
        sentence.replace("1 crowd", "2 crowd").replace("1 boxes", "2 boxes") for sentence in lost
    ]
    assert [told.startswith(start) for told, start in zip(result.lost, expected, strict=True)] == [
        True for _ in expected
    ], result.lost
    if to == "voc":
        assert by_stem(dataset)["a"].crowd.tolist() == [False, True]


@st.composite
def truths(draw: st.DrawFn) -> Truth:
    """Boxes within the pictures, of at least a thousandth of a pixel."""
    truth: Truth = {}
    for name, (width, height) in SIZES.items():
        rows = truth.setdefault(name, [])
        for _ in range(draw(st.integers(0, 4))):
            x, y = draw(st.floats(0, width - 0.01)), draw(st.floats(0, height - 0.01))
            w, h = draw(st.floats(0.005, width - x)), draw(st.floats(0.005, height - y))
            category = draw(st.sampled_from([5, 90]))
            rows.append({"bbox": [x, y, w, h], "category_id": category})
    truth["a.jpg"].append({"bbox": [1, 1, 5, 5]})
    return truth


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(truth=truths(), way=st.permutations(["coco", "yolo"]))
def test_round_trips_keep_boxes_within_a_thousandth_of_a_pixel(
    tmp_path_factory: pytest.TempPathFactory, pictures: Path, truth: Truth, way: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("trip")
    data = written(folder / "in", pictures, truth)
    before = by_stem(load_dataset(data, "train"))

    for number, to in enumerate(way):
        data = convert_dataset(data, folder / str(number), to, link=True).data

    after = by_stem(load_dataset(data, "train"))
    assert after.keys() == before.keys()
    for stem, old in before.items():
        new = after[stem]
        assert (old.width, old.height) == (new.width, new.height)
        np.testing.assert_array_equal(old.classes, new.classes)
        np.testing.assert_allclose(old.boxes, new.boxes, rtol=0, atol=1e-3)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(truth=truths())
def test_voc_keeps_boxes_to_the_pixel(
    tmp_path_factory: pytest.TempPathFactory, pictures: Path, truth: Truth
) -> None:
    folder = tmp_path_factory.mktemp("trip")
    data = written(folder / "in", pictures, truth)
    before = by_stem(load_dataset(data, "train"))

    data = convert_dataset(data, folder / "voc", "voc", link=True).data

    for stem, new in by_stem(load_dataset(data, "train")).items():
        old = before[stem]
        np.testing.assert_array_equal(old.classes, new.classes)
        # Half a pixel; a box within one pixel becomes that pixel.
        narrow = (old.boxes[:, 2:] - old.boxes[:, :2]).min(axis=1, initial=np.inf) < 1
        moved = np.abs(old.boxes - new.boxes).max(axis=1, initial=0)
        assert (moved <= np.where(narrow, 1.001, 0.5)).all()
    # What is whole is kept as it is.
    again = convert_dataset(data, folder / "again", "coco", link=True).data
    whole = by_stem(load_dataset(data, "train"))
    for stem, new in by_stem(load_dataset(again, "train")).items():
        np.testing.assert_array_equal(whole[stem].boxes, new.boxes)


@pytest.mark.parametrize(
    ("box", "corners"),
    [
        ((0, 0, 10, 10), (1, 1, 10, 10)),
        ((0.4, 0.6, 9.4, 9.6), (1, 2, 9, 10)),
        ((3.2, 3.2, 3.4, 3.4), (4, 4, 4, 4)),
        ((9.6, 9.6, 10, 10), (10, 10, 10, 10)),
    ],
)
def test_voc_corners_are_whole_and_within_the_picture(
    box: tuple[float, ...], corners: tuple[int, ...]
) -> None:
    assert voc_corners(box) == corners


def test_map_classes_and_bad_boxes_are_applied(tmp_path: Path, pictures: Path) -> None:
    truth = {**TRUTH, "b.png": [{"bbox": [0, 0, 0, 9]}]}
    data = written(
        tmp_path / "in", pictures, truth, map={"cat": "animal"}, classes=["animal"],
        bad_boxes="drop",
    )  # fmt: skip

    result = convert_dataset(data, tmp_path / "out", "coco")

    content = yaml.safe_load(result.data.read_text())
    assert content["names"] == {0: "animal"}
    assert not {"map", "classes", "bad_boxes"} & set(content)
    assert result.boxes == {"train": 2, "val": 2}
    assert result.lost == ("2 bad boxes were left out, as the data.yaml asks (`bad_boxes: drop`).",)


def test_names_that_would_clash_or_get_lost_are_changed(tmp_path: Path) -> None:
    sources = [
        "x/a.jpg",
        "y/a.jpg",
        "y/a.png",
        "y/A.jpg",
        "y/a b 1.jpg",
        "y/.hidden.jpg",
        "y/plain",
    ]
    for number, name in enumerate(sources):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20 + number, 20)).save(tmp_path / name, "JPEG")
    content = {
        "images": [
            {"id": n, "file_name": name, "width": 19 + n, "height": 20}
            for n, name in enumerate(sources, 1)
        ],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [n, 1, 5, 5]}
            for n in range(1, len(sources) + 1)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "data.yaml").write_text("train: a.json\nval: a.json\nnames: [cat]\n")

    for to in FORMATS:
        result = convert_dataset(tmp_path / "data.yaml", tmp_path / to, to)

        for split in ("train", "val"):
            samples = load_dataset(result.data, split).samples
            assert len({sample.path.name for sample in samples}) == len(sources)
            widths = {sample.width: sample.boxes[:, 0].tolist() for sample in samples}
            assert widths == {19 + n: [n] for n in range(1, len(sources) + 1)}


def test_a_picture_of_another_size_is_refused(tmp_path: Path, pictures: Path) -> None:
    data = written(tmp_path / "in", pictures, TRUTH)
    text = (tmp_path / "in" / "a.json").read_text().replace('"width": 100', '"width": 101')
    (tmp_path / "in" / "a.json").write_text(text)

    with pytest.raises(
        InvalidInputError, match=r"a\.jpg is 100x80, but its annotations are for 101x80"
    ):
        convert_dataset(data, tmp_path / "out", "yolo")
    assert not (tmp_path / "out").exists()


def test_an_empty_directory_is_filled_and_another_refused(tmp_path: Path, pictures: Path) -> None:
    data = written(tmp_path / "in", pictures, TRUTH)
    (tmp_path / "out").mkdir()

    convert_dataset(data, tmp_path / "out", "yolo")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(InvalidInputError, match="out is not empty; name a new or empty directory"):
        convert_dataset(data, tmp_path / "out", "coco")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failure_leaves_nothing(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = written(tmp_path / "in", pictures, TRUTH)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)

    with pytest.raises(Exception, match="the disk is full"):
        convert_dataset(data, tmp_path / "new" / "out", "yolo")
    assert os.listdir(tmp_path) == ["in"]


def test_an_unknown_format_is_refused(tmp_path: Path, pictures: Path) -> None:
    data = written(tmp_path / "in", pictures, TRUTH)

    with pytest.raises(InvalidInputError, match="There is no format 'kitti'; use coco, voc, yolo"):
        convert_dataset(data, tmp_path / "out", "kitti")
    with pytest.raises(MissingFileError):
        convert_dataset(tmp_path / "none.yaml", tmp_path / "out", "coco")


def test_a_name_that_xml_can_not_hold_is_refused(tmp_path: Path, pictures: Path) -> None:
    data = written(tmp_path / "in", pictures, TRUTH, map={"cat": "c\tat"})

    with pytest.raises(InvalidInputError, match="can't be written in xml; rename it with `map`"):
        convert_dataset(data, tmp_path / "out", "voc")
