"""Given a dataset with many defects, the check reports every one of them, the worst first."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageEnhance

from edgedet.data.check_report import check_page
from edgedet.data.checking import check_dataset
from edgedet.data.findings import CheckReport, Finding
from edgedet.errors import InvalidInputError, MissingFileError


def scene(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A picture with structure of its own: smooth noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


class Dataset:
    """COCO json and pictures of two splits, to be spoilt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content: dict[str, dict[str, Any]] = {}
        self.description: dict[str, Any] = {"names": ["cat", "dog"]}
        for number, split in enumerate(("train", "val")):
            self.content[split] = {
                "images": [
                    {"id": n, "file_name": f"{n}.png", "width": 64, "height": 48}
                    for n in range(1, 13)
                ],
                "annotations": [
                    {"id": n, "image_id": n, "category_id": n % 2 + 1, "bbox": [9, 8, 20, 20 + n]}
                    for n in range(1, 13)
                ],
                "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            }
            for n in range(1, 13):
                path = self.picture(split, n)
                path.parent.mkdir(parents=True, exist_ok=True)
                scene(100 * number + n).save(path)
            self.description[split] = {"images": f"images/{split}", "annotations": f"{split}.json"}

    def picture(self, split: str, number: int) -> Path:
        return self.folder / "images" / split / f"{number}.png"

    @property
    def file(self) -> Path:
        for split, content in self.content.items():
            (self.folder / f"{split}.json").write_text(json.dumps(content))
        file = self.folder / "data.yaml"
        file.write_text(yaml.safe_dump(self.description))
        return file

    def annotate(self, split: str, **annotation: Any) -> None:
        listed = self.content[split]["annotations"]
        listed.append({"id": len(listed) + 1, "image_id": 1, "category_id": 1, **annotation})

    def report(self, **options: Any) -> CheckReport:
        return check_dataset(self.file, **options)

    def found(self, **options: Any) -> dict[tuple[str, str], Finding]:
        """Findings by kind and split, without those that the clean dataset has."""
        usual = {("few-boxes", "train"), ("few-boxes", "val")}
        findings = {(f.kind, f.split): f for f in self.report(**options).findings}
        return {key: finding for key, finding in findings.items() if key not in usual}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path)


def test_a_clean_dataset_passes(dataset: Dataset) -> None:
    report = dataset.report()

    assert report.passed
    assert dataset.found() == {}
    assert [split.pictures for split in report.splits] == [12, 12]
    assert report.splits[0].per_class == {"cat": 6, "dog": 6}
    # 20 x 21 to 20 x 32 in a picture of 64 pixels: 82 to 101 at 256.
    assert report.splits[0].sizes == (0, 0, 0, 0, 0, 12, 0, 0, 0)
    assert sum(report.splits[0].ratios) == 12


def damage(dataset: Dataset) -> None:
    path = dataset.picture("train", 3)
    path.write_bytes(path.read_bytes()[:-800])


def empty(dataset: Dataset) -> None:
    dataset.picture("val", 4).write_bytes(b"")


def remove(dataset: Dataset) -> None:
    dataset.picture("train", 5).unlink()
    dataset.picture("train", 6).unlink()


def resize(dataset: Dataset) -> None:
    scene(3, (48, 64)).save(dataset.picture("train", 3))


def rotate(dataset: Dataset) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(3, (64, 48)).save(dataset.picture("train", 3), exif=exif)


def bad_boxes(dataset: Dataset) -> None:
    for bbox in ([60, 8, 20, 20], [5, 5, 0, 9], [float("nan"), 1, 2, 3], "none"):
        dataset.annotate("train", bbox=bbox)


def dropped_boxes(dataset: Dataset) -> None:
    dataset.description["bad_boxes"] = "drop"
    bad_boxes(dataset)


def unknown_category(dataset: Dataset) -> None:
    dataset.annotate("val", bbox=[1, 1, 5, 5], category_id=7)


def unnamed_class(dataset: Dataset) -> None:
    dataset.content["val"]["categories"].append({"id": 3, "name": "cow"})
    dataset.annotate("val", bbox=[1, 1, 9, 9], category_id=3)


def orphan(dataset: Dataset) -> None:
    dataset.annotate("train", bbox=[1, 1, 9, 9], image_id=99)


def same_picture(dataset: Dataset) -> None:
    dataset.picture("val", 2).write_bytes(dataset.picture("train", 9).read_bytes())


def saved_again(dataset: Dataset) -> None:
    brighter = ImageEnhance.Brightness(scene(9)).enhance(1.02)
    brighter.resize((32, 24)).resize((64, 48)).save(dataset.picture("val", 2))


def twice_in_train(dataset: Dataset) -> None:
    dataset.picture("train", 2).write_bytes(dataset.picture("train", 9).read_bytes())


def twice_the_box(dataset: Dataset) -> None:
    dataset.annotate("val", bbox=[9, 8, 20, 21], category_id=2)


def tiny_box(dataset: Dataset) -> None:
    dataset.annotate("train", bbox=[30, 30, 1.5, 1.5])


def long_box(dataset: Dataset) -> None:
    dataset.annotate("train", bbox=[0, 30, 60, 6])


def no_boxes(dataset: Dataset) -> None:
    dataset.content["train"]["annotations"] = dataset.content["train"]["annotations"][:-2]


def absent_class(dataset: Dataset) -> None:
    for annotation in dataset.content["train"]["annotations"]:
        annotation["category_id"] = 1


def imbalance(dataset: Dataset) -> None:
    for n in range(700):
        dataset.annotate("train", bbox=[n / 20, 1, 20, 20])


def broken_json(dataset: Dataset) -> None:
    # Lists are what COCO json must have.
    dataset.content["val"]["images"] = "none"  # type: ignore[assignment]


def no_box_at_all(dataset: Dataset) -> None:
    dataset.content["val"]["annotations"] = []


DEFECTS: list[tuple[Callable[[Dataset], None], str, str, str, int, str]] = [
    (damage, "damaged-picture", "train", "error", 1, "is damaged or truncated"),
    (empty, "damaged-picture", "val", "error", 1, "4.png is empty"),
    (remove, "missing", "train", "error", 2, "5.png' does not exist"),
    (resize, "size", "train", "error", 1, "3.png is 48x64, its annotations are for 64x48: as be"),
    (rotate, "size", "train", "error", 1, "as before its EXIF orientation turns it upright"),
    (bad_boxes, "bad-box", "train", "error", 4, "annotation 13 (1.png) has a bbox outside"),
    (dropped_boxes, "bad-box", "train", "warning", 4, "annotation 13 (1.png) has a bbox outside"),
    (unknown_category, "category", "val", "error", 1, "annotation 13 (category_id 7) has a class"),
    (unnamed_class, "category", "val", "error", 1, "has boxes of the class 'cow'"),
    (orphan, "orphan", "train", "error", 1, "annotation 13 (image_id 99) belongs to no picture"),
    (same_picture, "same-in-splits", "train, val", "error", 1, "val/2.png is like "),
    (saved_again, "near-in-splits", "train, val", "warning", 1, "train/9.png ("),
    (twice_in_train, "repeated-picture", "train", "warning", 1, "train/9.png is "),
    (twice_the_box, "repeated-box", "val", "warning", 1, "'dog' twice"),
    (tiny_box, "tiny-box", "train", "warning", 1, "1.png: 6.0 px at the input"),
    (long_box, "elongated-box", "train", "warning", 1, "10 times as wide as high"),
    (no_boxes, "without-boxes", "train", "note", 2, "11.png"),
    (absent_class, "class-without-boxes", "train", "warning", 1, ""),
    (imbalance, "imbalance", "train", "warning", 1, ""),
    (broken_json, "unusable", "val", "error", 1, ""),
    (no_box_at_all, "empty", "val", "error", 1, "has no boxes, so there is nothing"),
]


@pytest.mark.parametrize(
    ("spoil", "kind", "split", "severity", "count", "example"),
    [pytest.param(*defect, id=defect[0].__name__) for defect in DEFECTS],
)
def test_a_defect_is_found_alone(
    dataset: Dataset,
    spoil: Callable[[Dataset], None],
    kind: str,
    split: str,
    severity: str,
    count: int,
    example: str,
) -> None:
    spoil(dataset)

    report, found = dataset.report(), dataset.found()

    finding = found.pop((kind, split))
    assert (finding.severity, finding.count) == (severity, count)
    assert finding.sentence.endswith(".")
    if example:
        assert example in finding.examples[0].sentence
    assert report.passed == (severity != "error")
    # Nothing else is reported as an error, and what follows from a lost picture is not repeated.
    assert [other for other in found.values() if other.severity == "error"] == []


def test_all_defects_are_found_at_once_and_errors_come_first(dataset: Dataset) -> None:
    kept = [damage, empty, remove, bad_boxes, unknown_category, orphan, same_picture, saved_again]
    kept += [twice_the_box, tiny_box, long_box]
    kept.remove(saved_again)  # it takes the place of the same picture
    for spoil in kept:
        spoil(dataset)

    report = dataset.report()

    found = {(finding.kind, finding.split) for finding in report.findings}
    assert found >= {(kind, split) for spoil, kind, split, *_ in DEFECTS if spoil in kept}
    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)


def test_pictures_that_calibrate_are_compared_with_val(dataset: Dataset) -> None:
    same_picture(dataset)
    # Sorted by name, 9.png is the last of twelve.
    assert ("calibration", "train, val") in dataset.found(calibration=lambda total: [total - 1])
    assert ("calibration", "train, val") not in dataset.found(calibration=lambda _: [0, 5])


def test_different_pictures_are_not_alike(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for folder in ("images", "labels"):
            (tmp_path / folder / split).mkdir(parents=True)
    for n in range(60):
        split = "train" if n % 2 else "val"
        scene(n).save(tmp_path / "images" / split / f"{n}.png")
        (tmp_path / "labels" / split / f"{n}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    # Flat ones have the same difference hash, but not the same grey.
    for n, split in enumerate(("train", "val")):
        grey = Image.new("L", (64, 48), 60 + 90 * n)
        grey.save(tmp_path / "images" / split / "flat.png")
    file = tmp_path / "data.yaml"
    file.write_text("train: images/train\nval: images/val\nnames: [cat]\n")

    assert {f.kind for f in check_dataset(file).findings} == {"without-boxes"}


def test_labels_without_a_picture_are_told_and_loading_goes_on(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    scene(1).save(tmp_path / "images" / "a.png")
    for name in ("a", "b", "classes", "README.roboflow"):
        (tmp_path / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    file = tmp_path / "data.yaml"
    file.write_text("train: images\nnames: [cat]\n")

    (finding,) = [f for f in check_dataset(file).findings if f.kind == "unused"]

    assert (finding.severity, finding.count) == ("warning", 1)
    assert finding.examples[0].text.endswith("labels/b.txt has no picture")


def test_a_split_can_be_chosen(dataset: Dataset) -> None:
    damage(dataset)
    assert dataset.report(splits=["val"]).passed


def test_what_is_no_dataset_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    broken_json(dataset)
    with pytest.raises(InvalidInputError, match="has no list `images`"):
        dataset.report(splits=["val"])
    with pytest.raises(MissingFileError):
        check_dataset(tmp_path / "none.yaml")
    with pytest.raises(InvalidInputError, match="imgsz must be 1 to"):
        dataset.report(imgsz=0)


class Page(HTMLParser):
    """What a page would load or run, and how many pictures it has."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = 0
        self.foreign: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        if tag == "img":
            assert (known["src"] or "").startswith("data:image/jpeg;base64,")
            self.pictures += 1
        elif tag in ("script", "link", "iframe", "object") or {"src", "href", "onclick"} & set(
            known
        ):
            self.foreign.append(tag)
        if tag not in ("img", "meta", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("img", "meta", "rect"):
            assert self.open.pop() == tag


def test_the_page_stands_for_itself_and_shows_the_worst(dataset: Dataset) -> None:
    bad_boxes(dataset)
    same_picture(dataset)
    dataset.description["names"] = ["<script>alert(1)</script>", "dog"]
    for content in dataset.content.values():
        content["categories"][0]["name"] = "<script>alert(1)</script>"

    text = check_page(dataset.report())

    page = Page()
    page.feed(text)
    page.close()
    assert page.foreign == []
    assert page.open == []
    # One picture with its bad boxes, two that are the same.
    assert page.pictures == 3
    assert "&lt;script&gt;" in text


def test_a_bad_box_is_drawn_where_it_is(dataset: Dataset) -> None:
    from edgedet.data.check_report import _thumbnail

    red = re.compile("base64,([^']*)")

    def pixels(bad: list[tuple[float, ...]]) -> np.ndarray[Any, Any]:
        import base64
        import io

        match = red.search(_thumbnail(str(dataset.picture("train", 1)), [], bad))
        assert match
        data = base64.b64decode(match[1])
        return np.asarray(Image.open(io.BytesIO(data)), np.int16)

    changed = np.abs(pixels([(10, 10, 30, 30)]) - pixels([])).max(axis=2) > 60

    # The picture of 64 x 48 is shown 3.75 times as large.
    rows, columns = np.nonzero(changed)
    assert abs(rows.min() - 37.5) < 4
    assert abs(columns.max() - 112.5) < 4
    # Not a number is nowhere.
    assert not (np.abs(pixels([(float("nan"),) * 4]) - pixels([])) > 60).any()
