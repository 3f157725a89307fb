"""`report.html`: whole in one file, readable, and safe whatever names the data set has."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgedet.data.dataset import DetectionDataset, Sample
from edgedet.evaluation import diagnose, evaluate, evaluate_predictions
from edgedet.evaluation.comparison import compare
from edgedet.evaluation.html_report import html_report
from edgedet.evaluation.page import escaped

MakeDataset = Callable[..., DetectionDataset]
MakeDetector = Callable[..., Any]

CAT = (10.0, 20.0, 310.0, 320.0)
DOG = (400.0, 100.0, 600.0, 300.0)
TRUTH = {42: [(CAT, "cat", False), (DOG, "dog", False)], 7: [(CAT, "dog", False)]}
ANSWERS = {
    "42.png": [(CAT, "cat", 0.9), (DOG, "bird", 0.8)],
    "7.png": [(DOG, "bird", 0.7)],
}
PERFECT = {"42.png": [(CAT, "cat", 0.9), (DOG, "dog", 0.8)], "7.png": [(CAT, "dog", 0.7)]}

EMPTY = ("meta", "input", "br")


class Reader(HTMLParser):
    """The elements of a page, with their attributes, and its text; ends must fit beginnings."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(document)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return " ".join(data for _, data in self.texts)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def report(
    dataset: DetectionDataset, answers: Any, fake_detector: MakeDetector, **more: Any
) -> str:
    result = evaluate(fake_detector(answers), dataset)
    options = {"description": {"model": "m.tflite"}, "title": "m.tflite, val split", **more}
    return html_report(result, dataset, diagnose(result, dataset), **options)


@pytest.fixture
def page(make_dataset: MakeDataset, fake_detector: MakeDetector) -> Reader:
    """The report on a detector that takes dogs for birds."""
    return Reader(report(make_dataset(TRUTH, write_images=True), ANSWERS, fake_detector))


def test_it_needs_no_other_file_and_no_network(page: Reader) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "action", "srcset", "data"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    style = "".join(data for tag, data in page.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style


def test_only_its_own_script_may_run(page: Reader) -> None:
    (script,) = [data for tag, data in page.texts if tag == "script"]
    (policy,) = [
        attributes["content"] or ""
        for attributes in page.named("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert re.findall("script-src ([^;]*)", policy) == [f"'sha256-{digest}'"]


def test_the_numbers_come_with_words(page: Reader) -> None:
    cards = page.text[: page.text.index("By object size")]
    assert "50.0 AP50" in re.sub(r"\s+", " ", cards)
    assert "Wrong classes cost most" in cards
    assert "Taken for another class most: “dog” for “bird”, once (50.0% of its objects)." in cards
    assert "n/a" in page.text


def test_pictures_of_the_images_with_mistakes_are_inside(page: Reader) -> None:
    pictures = page.named("image")
    assert len(pictures) == 2
    for picture in pictures:
        kind, data = (picture["href"] or "").split(",")
        assert kind == "data:image/jpeg;base64"
        assert base64.b64decode(data)[:3] == b"\xff\xd8\xff"
    # On 42 the dog is found as a bird: false and missed in one place, and the cat is right.
    boxes = [element for element in page.elements if element[0] in ("g", "rect")]
    styles = [attrs["class"] for tag, attrs in boxes if tag == "g" and attrs.get("class")]
    assert styles == ["hit", "miss", "false"] * 2
    drawn = {(attrs["x"], attrs["y"], attrs["width"]) for tag, attrs in boxes if tag == "rect"}
    assert {("10.0", "20.0", "300.0"), ("400.0", "100.0", "200.0")} <= drawn


def test_without_mistakes_there_are_no_pictures(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    page = Reader(report(make_dataset(TRUTH, write_images=True), PERFECT, fake_detector))
    assert not page.named("image")
    assert "No mistake on any image" in page.text


def test_nothing_found_and_nothing_to_find_are_reports_too(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    nothing = Reader(report(make_dataset(TRUTH, write_images=True), {}, fake_detector))
    assert "No detection is right at any confidence." in nothing.text
    empty = Reader(report(make_dataset({42: []}, write_images=True), ANSWERS, fake_detector))
    assert "n/a AP" in re.sub(r"\s+", " ", empty.text)


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "a\u202eb\x00\ud800&amp;' onmouseover='alert(3)",
)


def test_names_stay_text_whatever_they_are(
    tmp_path: Path, make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    dataset = make_dataset(TRUTH, write_images=True)
    samples = []
    for sample, name in zip(dataset.samples, ("<script>a", '"><svg onload=b'), strict=True):
        samples.append(dataclasses.replace(sample, path=sample.path.with_name(f"{name}.png")))
        sample.path.rename(samples[-1].path)
    dataset = dataclasses.replace(dataset, labels=HOSTILE, samples=samples)
    answers = {
        path.name: [(box, HOSTILE[2], score) for box, _, score in found]
        for path, found in zip((s.path for s in samples), ANSWERS.values(), strict=True)
    }
    result = evaluate(fake_detector(answers, HOSTILE), dataset)
    comparison = compare({**result.to_dict(), "model": HOSTILE[0]}, result.to_dict())
    document = html_report(
        result,
        dataset,
        diagnose(result, dataset),
        description={"model": HOSTILE[1], HOSTILE[0]: 3},
        title=HOSTILE[0],
        comparison=comparison,
        next_commands=[HOSTILE[1]],
    )
    document.encode()
    page = Reader(document)
    assert len(page.named("script")) == 1
    assert not page.named("img")
    allowed = {"onerror": 0, "onload": 0, "onmouseover": 0}
    for _, attributes in page.elements:
        assert not allowed.keys() & attributes.keys()
    for name in HOSTILE[:2]:
        assert name in page.text
    assert not set("\u202e\x00\ud800") & set(document)
    assert "<script>a.png" in page.text


def test_escaped_text_is_one_line_without_marks_of_direction() -> None:
    assert escaped("a <b>\n&\t\"c\" 'd'") == "a &lt;b&gt; &amp; &quot;c&quot; &#x27;d&#x27;"
    assert escaped("\u2066x\u202e\x07\udcff") == "\ufffdx\ufffd\ufffd\ufffd"


def test_the_change_from_a_baseline_is_shown(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    dataset = make_dataset(TRUTH, write_images=True)
    before = evaluate(fake_detector(PERFECT), dataset).to_dict()
    after = evaluate(fake_detector(ANSWERS), dataset).to_dict()
    comparison = compare({**before, "model": "old.keras", "split": "a"}, {**after, "split": "b"})
    page = Reader(report(dataset, ANSWERS, fake_detector, comparison=comparison))
    text = re.sub(r"\s+", " ", page.text)
    assert "Before: old.keras" in text.replace(" .", ".")
    assert "split differs: a before, b now" in text
    assert "−100.0" in text
    assert "against the baseline" in text


@pytest.mark.parametrize(("classes", "matrix"), [(1, True), (12, True), (90, True), (101, False)])
def test_many_classes_stay_readable_and_small(classes: int, matrix: bool, tmp_path: Path) -> None:
    """Up to 100 classes have a matrix that fits the page's width; beyond, the list remains."""
    random = np.random.default_rng(classes)
    Image.fromarray(random.integers(0, 255, (480, 640, 3), np.uint8)).save(tmp_path / "a.png")
    boxes = np.array([[x, 0, x + 4, 4] for x in range(0, 5 * classes, 5)], np.float32)
    labels = tuple(f"class {index}" for index in range(classes))
    sample = Sample(
        path=tmp_path / "a.png",
        image_id=1,
        width=640,
        height=480,
        boxes=boxes,
        classes=np.arange(classes, dtype=np.int32),
        crowd=np.zeros(classes, bool),
    )
    dataset = DetectionDataset("val", labels, tuple(range(1, classes + 1)), [sample])
    predictions = [
        {
            "image_id": 1,
            "category_id": int(random.integers(classes)) + 1,
            "bbox": [x0, y0, 4.0, 4.0],
            "score": float(random.random()),
        }
        for x0, y0, _, _ in boxes.tolist()
    ]
    result = evaluate_predictions(predictions, dataset)
    document = html_report(result, dataset, diagnose(result, dataset), description={}, title="many")
    page = Reader(document)
    matrices = [a for a in page.named("svg") if (a.get("class") or "").startswith("matrix")]
    assert len(matrices) == matrix
    assert all(float(a["width"] or 0) <= 1080 for a in matrices)
    assert len(document) < 1_200_000


def test_a_picture_of_many_boxes_shows_some_and_says_so(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480)).save(tmp_path / "a.png")
    count = 5000
    sample = Sample(
        path=tmp_path / "a.png",
        image_id=1,
        width=640,
        height=480,
        boxes=np.tile(np.array([[0, 0, 9, 9]], np.float32), (count, 1)),
        classes=np.zeros(count, np.int32),
        crowd=np.zeros(count, bool),
    )
    dataset = DetectionDataset("val", ("cat",), (1,), [sample])
    result = evaluate_predictions([], dataset)
    document = html_report(result, dataset, diagnose(result, dataset), description={}, title="")
    assert "5000 missed" in document
    assert "4880 boxes not drawn" in document
    assert len(document) < 200_000
