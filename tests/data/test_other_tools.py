"""Files that supervision and pycocotools write are read to the same boxes, and theirs from ours."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from PIL import Image

from edgedet.data import DetectionDataset, load_dataset
from edgedet.data.converting import convert_dataset

with warnings.catch_warnings():
    # It tells that OpenCV is not there.
    warnings.simplefilter("ignore")
    sv = pytest.importorskip("supervision")

CLASSES = ["bicycle", "traffic light", "zebra"]
SIZES = {"a.jpg": (128, 96), "b.jpg": (90, 160), "c.jpg": (64, 64)}

# [picture][row] as x0, y0, x1, y1, class.
Rows = dict[str, npt.NDArray[np.float64]]


@pytest.fixture
def rows() -> Rows:
    """Whole boxes, which all three formats can hold; the last picture has none."""
    rng = np.random.default_rng(7)
    found: Rows = {}
    for name, (width, height) in SIZES.items():
        count = 0 if name == "c.jpg" else 5
        low = rng.integers(0, [width // 2, height // 2], (count, 2))
        high = low + rng.integers(1, [width // 2, height // 2], (count, 2))
        found[name] = np.column_stack([low, high, rng.integers(0, len(CLASSES), count)]).astype(
            float
        )
    # A box along all edges, where formats that count from 1 differ.
    found["a.jpg"][0] = [0, 0, 128, 96, 2]
    return found


@pytest.fixture
def theirs(tmp_path: Path, rows: Rows) -> object:
    """The same as supervision's dataset, its pictures below `source`."""
    (tmp_path / "source").mkdir()
    paths, annotations = [], {}
    for number, (name, size) in enumerate(SIZES.items()):
        path = str(tmp_path / "source" / name)
        Image.new("RGB", size, (40 * number, 90, 200)).save(path)
        paths.append(path)
        annotations[path] = sv.Detections(
            xyxy=rows[name][:, :4].astype(np.float32), class_id=rows[name][:, 4].astype(int)
        )
    return sv.DetectionDataset(classes=CLASSES, images=paths, annotations=annotations)


def described(folder: Path, entry: object) -> Path:
    file = folder / "data.yaml"
    file.write_text(yaml.safe_dump({"train": entry, "names": CLASSES}))
    return file


def as_coco(dataset: object, folder: Path) -> object:
    dataset.as_coco(str(folder / "images"), str(folder / "coco.json"))  # type: ignore[attr-defined]
    return {"images": "images", "annotations": "coco.json"}


def as_voc(dataset: object, folder: Path) -> object:
    dataset.as_pascal_voc(str(folder / "images"), str(folder / "xml"))  # type: ignore[attr-defined]
    return {"images": "images", "annotations": "xml"}


def as_voc_side_by_side(dataset: object, folder: Path) -> object:
    dataset.as_pascal_voc(str(folder / "train"), str(folder / "train"))  # type: ignore[attr-defined]
    return "train"


def as_yolo(dataset: object, folder: Path) -> object:
    dataset.as_yolo(str(folder / "images"), str(folder / "labels"))  # type: ignore[attr-defined]
    return "images"


def check_ours(dataset: DetectionDataset, rows: Rows, tolerance: float) -> None:
    assert {sample.path.stem for sample in dataset.samples} == {name[0] for name in rows}
    for sample in dataset.samples:
        expected = rows[f"{sample.path.stem}.jpg"]
        assert (sample.width, sample.height) == SIZES[f"{sample.path.stem}.jpg"]
        np.testing.assert_allclose(sample.boxes, expected[:, :4], rtol=0, atol=tolerance)
        np.testing.assert_array_equal(sample.classes, expected[:, 4])


@pytest.mark.parametrize(
    ("write", "tolerance"),
    [
        (as_coco, 0),
        (as_voc, 0),
        (as_voc_side_by_side, 0),
        # It writes five decimals, of up to 160 pixels.
        (as_yolo, 160 * 1e-5),
    ],
)
def test_what_supervision_writes_is_read(
    tmp_path: Path,
    theirs: object,
    rows: Rows,
    write: Callable[[object, Path], object],
    tolerance: float,
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    with contextlib.redirect_stderr(io.StringIO()):
        entry = write(theirs, folder)

    check_ours(load_dataset(described(folder, entry), "train"), rows, tolerance)


@pytest.fixture
def ours(tmp_path: Path, theirs: object) -> Path:
    """The same as COCO json of supervision's, which is described by a data.yaml."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    return described(folder, as_coco(theirs, folder))


def check_theirs(dataset: object, rows: Rows, tolerance: float) -> None:
    found = 0
    for path in dataset.image_paths:  # type: ignore[attr-defined]
        detections = dataset.annotations[path]  # type: ignore[attr-defined]
        expected = rows[os.path.basename(path)]  # noqa: PTH119
        names = [dataset.classes[index] for index in detections.class_id]  # type: ignore[attr-defined]
        assert names == [CLASSES[int(index)] for index in expected[:, 4]]
        np.testing.assert_allclose(detections.xyxy, expected[:, :4], rtol=0, atol=tolerance)
        found += 1
    assert found == len(SIZES)


def test_supervision_reads_the_coco_that_we_write(tmp_path: Path, ours: Path, rows: Rows) -> None:
    convert_dataset(ours, tmp_path / "out", "coco")

    read = sv.DetectionDataset.from_coco(
        str(tmp_path / "out/images/train"), str(tmp_path / "out/annotations/train.json")
    )
    check_theirs(read, rows, 1e-5)


def test_supervision_reads_the_voc_that_we_write(tmp_path: Path, ours: Path, rows: Rows) -> None:
    convert_dataset(ours, tmp_path / "out", "voc")

    read = sv.DetectionDataset.from_pascal_voc(
        str(tmp_path / "out/JPEGImages"), str(tmp_path / "out/Annotations")
    )
    check_theirs(read, rows, 0)


def test_supervision_reads_the_yolo_that_we_write(tmp_path: Path, ours: Path, rows: Rows) -> None:
    convert_dataset(ours, tmp_path / "out", "yolo")

    read = sv.DetectionDataset.from_yolo(
        str(tmp_path / "out/images/train"),
        str(tmp_path / "out/labels/train"),
        str(tmp_path / "out/data.yaml"),
    )
    check_theirs(read, rows, 1e-3)


@pytest.mark.parametrize("way", [["coco"], ["yolo", "coco"], ["voc", "coco"]])
def test_pycocotools_reads_the_coco_that_we_write(
    tmp_path: Path, ours: Path, rows: Rows, way: list[str]
) -> None:
    from pycocotools.coco import COCO

    data = ours
    for number, to in enumerate(way):
        data = convert_dataset(data, tmp_path / str(number), to).data
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(data.parent / "annotations" / "train.json"))

    assert len(coco.getImgIds()) == len(SIZES)
    names = {entry["id"]: entry["name"] for entry in coco.loadCats(coco.getCatIds())}
    assert list(names.values()) == CLASSES
    for image in coco.loadImgs(coco.getImgIds()):
        expected = rows[image["file_name"]]
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        boxes = np.array([entry["bbox"] for entry in annotations]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_allclose(boxes, expected[:, :4], rtol=0, atol=1e-3)
        assert [names[entry["category_id"]] for entry in annotations] == [
            CLASSES[int(index)] for index in expected[:, 4]
        ]
