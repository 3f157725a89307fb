"""What two files of one model find on the same pictures: matching, numbers and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgedet.errors import InvalidInputError
from edgedet.evaluation.html_parity import parity_page
from edgedet.evaluation.parity import (
    FLOAT_TOLERANCE,
    INT8_TOLERANCE,
    Boxes,
    FileParity,
    PictureDifference,
    compare_boxes,
    measure_parity,
    tolerance_of,
)
from edgedet.runtime.detections import Detections
from tests.evaluation.test_html_report import Reader

LABELS = ("cat", "dog", "bird")
BOX = (10.0, 10.0, 110.0, 110.0)
SHIFTED = (20.0, 10.0, 120.0, 110.0)  # IoU 9 / 11 with BOX
FAR = (300.0, 200.0, 400.0, 300.0)

Found = list[tuple[tuple[float, float, float, float], int, float]]


def boxes(found: Found) -> Boxes:
    return Boxes(
        np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
        np.array([score for _, _, score in found], np.float32),
        np.array([index for _, index, _ in found], np.int64),
    )


def compared(reference: Found, file: Found) -> PictureDifference:
    return compare_boxes(Path("a.png"), boxes(reference), boxes(file), 0.25)


class FakeDetector:
    """Stands in for `Detector`: finds the same on every picture."""

    def __init__(
        self, found: Found, precision: str | None = None, labels: tuple[str, ...] = LABELS
    ) -> None:
        provenance = {} if precision is None else {"quantization": precision}
        self.spec = SimpleNamespace(labels=labels, provenance=provenance)
        self.path = Path(f"m-{precision}.tflite")
        self.engine_name = "litert"
        self.precision = None
        self.found = found
        self.asked: list[float] = []

    def detect(self, image: Any, conf: float, max_det: int) -> Detections:
        self.asked.append(conf)
        found = boxes([entry for entry in self.found if entry[2] >= conf][:max_det])
        return Detections(found.xyxy, found.scores, found.classes, self.spec.labels)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (640, 480)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def measured(picture: Path) -> Callable[..., Any]:
    def run(*detectors: FakeDetector, **options: Any) -> Any:
        return measure_parity(detectors, [picture], **options)  # type: ignore[arg-type]

    return run


@pytest.mark.parametrize(
    ("reference", "file", "expected"),
    [
        pytest.param([(BOX, 0, 0.9)], [(BOX, 0, 0.8)], (1, 0, 0, 0, 0), id="the same"),
        pytest.param([(BOX, 0, 0.9)], [(SHIFTED, 1, 0.8)], (1, 1, 0, 0, 0), id="another class"),
        pytest.param([(BOX, 0, 0.9)], [(FAR, 0, 0.9)], (0, 0, 1, 1, 0), id="elsewhere"),
        pytest.param([(BOX, 0, 0.9)], [], (0, 0, 1, 0, 0), id="lost"),
        pytest.param([], [(BOX, 0, 0.9)], (0, 0, 0, 1, 0), id="added"),
        pytest.param([(BOX, 0, 0.26)], [(BOX, 0, 0.24)], (1, 0, 0, 0, 1), id="fell below"),
        pytest.param([(BOX, 0, 0.24)], [(BOX, 0, 0.26)], (1, 0, 0, 0, 1), id="rose above"),
        pytest.param([(BOX, 0, 0.24)], [(BOX, 0, 0.23)], (0, 0, 0, 0, 0), id="shown by neither"),
        pytest.param([(BOX, 0, 0.26)], [(BOX, 1, 0.24)], (0, 0, 1, 0, 0), id="hidden, other class"),
        # Two classes at one place, in other order of overlap: each finds its own class.
        pytest.param(
            [(BOX, 0, 0.9), (SHIFTED, 1, 0.5)],
            [(SHIFTED, 0, 0.9), (BOX, 1, 0.5)],
            (2, 0, 0, 0, 0),
            id="two classes",
        ),
        # The class that is shown turns, though both have the other one below the confidence.
        pytest.param(
            [(BOX, 0, 0.6), (BOX, 1, 0.2)],
            [(BOX, 1, 0.6), (BOX, 0, 0.2)],
            (1, 1, 0, 0, 0),
            id="turned class",
        ),
        pytest.param(
            [(BOX, 0, 0.9)],
            [(SHIFTED, 0, 0.9), (BOX, 0, 0.3)],
            (1, 0, 0, 1, 0),
            id="best overlap first",
        ),
    ],
)
def test_boxes_find_their_counterparts(
    reference: Found, file: Found, expected: tuple[int, ...]
) -> None:
    found = compared(reference, file)
    told = (
        len(found.overlaps),
        int((~found.same_class).sum()),
        len(found.only_reference.scores),
        len(found.only_file.scores),
        found.crossed,
    )
    assert told == expected
    # The other way round the same is lost that was added.
    back = compared(file, reference)
    assert (len(back.only_reference.scores), len(back.only_file.scores)) == (told[3], told[2])


def test_a_pair_has_the_box_of_each_side() -> None:
    found = compared([(FAR, 2, 0.9), (BOX, 0, 0.8)], [(SHIFTED, 0, 0.7)])
    assert found.reference.xyxy.tolist() == [list(BOX)]
    assert found.file.xyxy.tolist() == [list(SHIFTED)]
    assert found.overlaps.tolist() == pytest.approx([9 / 11])
    assert found.only_reference.xyxy.tolist() == [list(FAR)]


def test_the_best_overlap_makes_the_pair() -> None:
    found = compared([(BOX, 0, 0.9)], [(SHIFTED, 0, 0.9), (BOX, 0, 0.3)])
    assert found.overlaps.tolist() == [1.0]
    assert found.only_file.xyxy.tolist() == [list(SHIFTED)]


def test_the_worst_pictures_come_first() -> None:
    same, other = [(BOX, 0, 0.9)], [(BOX, 1, 0.9)]
    pictures = (
        compared(same, [(SHIFTED, 0, 0.9)]),
        compared(same, same),
        compared([*same, (FAR, 0, 0.9)], other),
        compared(same, other),
    )
    result = FileParity(Path("m.tflite"), "litert", "int8", INT8_TOLERANCE, pictures)
    assert result.worst(9) == [pictures[2], pictures[3], pictures[0]]
    assert result.worst(1) == [pictures[2]]


def test_numbers_of_a_file(measured: Callable[..., Any]) -> None:
    reference = FakeDetector([(BOX, 0, 0.9), (FAR, 1, 0.5)], "float32")
    file = FakeDetector([(SHIFTED, 0, 0.8), (FAR, 2, 0.7), ((500, 0, 540, 40), 0, 0.4)], "int8")
    (result,) = measured(reference, file)
    told = result.to_dict()
    assert told["mean_iou"] == pytest.approx((9 / 11 + 1) / 2)
    assert told["agreement"] == 0.5
    assert told["matched"] == pytest.approx(4 / 5)
    assert (told["matched_boxes"], told["only_reference"], told["only_file"]) == (2, 0, 1)
    assert told["score_difference"]["mean"] == pytest.approx(0.05)
    assert told["score_difference"]["mean_absolute"] == pytest.approx(0.15)
    assert told["score_difference"]["greatest"] == pytest.approx(0.2)
    assert told["failures"] == [
        "mean IoU 0.9091 is below 0.93",
        "class agreement 0.5000 is below 0.97",
        "share of matched boxes 0.8000 is below 0.95",
    ]
    assert [entry["only_file"] for entry in told["worst"]] == [1]
    assert not result.met


@pytest.mark.parametrize(
    ("precisions", "expected"),
    [
        (("float32", "float16"), FLOAT_TOLERANCE),
        (("float32", "int8"), INT8_TOLERANCE),
        (("int8", "float32"), INT8_TOLERANCE),
        (("float32", "dynamic"), INT8_TOLERANCE),
        (("float32", "int16x8"), INT8_TOLERANCE),
        ((None, "float32"), FLOAT_TOLERANCE),
    ],
)
def test_the_tolerance_is_that_of_the_coarser_file(
    precisions: tuple[Any, Any], expected: Any, measured: Callable[..., Any]
) -> None:
    (result,) = measured(*(FakeDetector([(BOX, 0, 0.9)], name) for name in precisions))
    assert result.tolerance == expected
    assert tolerance_of(*(name or "float32" for name in precisions)) == expected


@pytest.mark.parametrize("option", ["min_iou", "min_agreement", "min_matched"])
def test_a_tolerance_can_be_chosen(option: str, measured: Callable[..., Any]) -> None:
    reference = FakeDetector([(BOX, 0, 0.9), (FAR, 0, 0.9)], "float32")
    found: Mapping[str, Found] = {
        "min_iou": [(SHIFTED, 0, 0.9), (FAR, 0, 0.9)],
        "min_agreement": [(BOX, 0, 0.9), (FAR, 1, 0.9)],
        "min_matched": [(BOX, 0, 0.9)],
    }
    file = FakeDetector(found[option], "float32")
    assert not measured(reference, file)[0].met
    assert measured(reference, file, **{option: 0.4})[0].met


def test_each_file_is_compared_with_the_first(measured: Callable[..., Any]) -> None:
    good, bad = [(BOX, 0, 0.9)], [(FAR, 0, 0.9)]
    results = measured(*(FakeDetector(found) for found in (good, good, bad)))
    assert [result.met for result in results] == [True, False]


def test_a_file_that_finds_nothing_does_not_pass(measured: Callable[..., Any]) -> None:
    (result,) = measured(FakeDetector([(BOX, 0, 0.9)]), FakeDetector([], "int8"))
    assert (result.mean_iou, result.agreement, result.matched) == (None, None, 0.0)
    assert result.failures == ["share of matched boxes 0.0000 is below 0.95"]


def test_classes_are_matched_by_name(measured: Callable[..., Any]) -> None:
    file = FakeDetector([(BOX, 2, 0.9)], labels=("dog", "bird", "cat"))
    (result,) = measured(FakeDetector([(BOX, 0, 0.9)]), file)
    assert result.agreement == 1.0


def test_detectors_are_asked_for_boxes_a_little_less_sure(measured: Callable[..., Any]) -> None:
    reference, file = FakeDetector([(BOX, 0, 0.9)]), FakeDetector([(BOX, 0, 0.9)])
    measured(reference, file, conf=0.6)
    measured(reference, file, conf=0.1)
    assert file.asked == pytest.approx([0.5, 0.05])


def test_the_rounding_of_floats_is_no_difference_to_be_shown(
    measured: Callable[..., Any],
) -> None:
    nearly = (10.0, 10.0, 110.001, 110.0)
    reference = FakeDetector([(BOX, 0, 0.9)])
    (same,) = measured(reference, FakeDetector([(nearly, 0, 0.9)]))
    assert same.pictures[0].severity > 0
    assert same.worst(5) == []
    (shifted,) = measured(reference, FakeDetector([(SHIFTED, 0, 0.9)]))
    assert shifted.worst(5) == list(shifted.pictures)


@pytest.mark.parametrize(
    ("detectors", "options", "sentence"),
    [
        ([FakeDetector([])], {}, "One file can't be compared"),
        ([FakeDetector([]), FakeDetector([])], {}, "which proves nothing"),
        (
            [FakeDetector([]), FakeDetector([], labels=("cat", "dog", "cow"))],
            {},
            r"other classes than .* \(the class 'cow'\)",
        ),
        ([FakeDetector([]), FakeDetector([], labels=("cat",))], {}, r"\(1 classes\)"),
        ([FakeDetector([]), FakeDetector([])], {"min_iou": 1.5}, "least iou must be from 0 to 1"),
        ([FakeDetector([]), FakeDetector([])], {"conf": 0}, "conf must be above 0"),
        ([FakeDetector([]), FakeDetector([])], {"conf": float("nan")}, "conf must be above 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    detectors: list[FakeDetector],
    options: dict[str, Any],
    sentence: str,
    measured: Callable[..., Any],
) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        measured(*detectors, **options)


def page_of(results: Any, labels: tuple[str, ...] = LABELS) -> Reader:
    return Reader(
        parity_page(
            results,
            labels,
            reference=Path("<b>.tflite"),
            reference_precision="float32",
            source="<i>",
            conf=0.25,
        )
    )


def test_the_page_draws_both_boxes_where_they_differ(measured: Callable[..., Any]) -> None:
    near = (300.0, 200.0, 402.0, 300.0)
    third, fourth = (10.0, 300.0, 60.0, 350.0), (100.0, 300.0, 150.0, 350.0)
    reference = FakeDetector([(BOX, 0, 0.9), (FAR, 1, 0.8), (third, 0, 0.7)])
    file = FakeDetector([(BOX, 1, 0.9), (near, 1, 0.8), (fourth, 0, 0.7)])
    page = page_of(measured(reference, file))
    drawn: dict[str, list[str]] = {"hit": [], "miss": [], "false": []}
    style = ""
    for tag, attributes in page.elements:
        if tag == "g":
            style = attributes["class"] or ""
        elif tag == "rect":
            drawn[style].append(f"{attributes['x']} {attributes['width']}")
    assert drawn == {
        "hit": ["300.0 102.0"],
        "miss": ["10.0 100.0", "10.0 50.0"],
        "false": ["10.0 100.0", "100.0 50.0"],
    }
    caption = "2 matched, mean IoU 0.990, 1 of another class, 1 only in the reference, 1 only here"
    assert caption in page.text


def test_the_page_needs_no_differences(measured: Callable[..., Any]) -> None:
    same = FakeDetector([(BOX, 0, 0.9)])
    page = page_of(measured(same, same))
    assert "Nowhere: all boxes are the same." in page.text
    assert not page.named("image")


def test_names_stay_text_whatever_they_are(measured: Callable[..., Any]) -> None:
    labels = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "bird")
    reference = FakeDetector([(BOX, 0, 0.9)], labels=labels)
    file = FakeDetector([(BOX, 1, 0.9)], "<script>", labels=labels)
    page = page_of(measured(reference, file), labels)
    assert len(page.named("script")) == 1
    assert not page.named("img")
    assert {title for tag, title in page.texts if tag == "title"} >= {f"{labels[0]} 0.90"}


def test_no_picture_is_refused() -> None:
    pair: Any = [FakeDetector([]), FakeDetector([])]
    with pytest.raises(InvalidInputError, match="There is no picture"):
        measure_parity(pair, [])
