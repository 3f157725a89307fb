"""The report of a conversion: whole in one file, and true to its numbers."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgedet.errors import EdgeDetError
from edgedet.evaluation.conversion_report import write_report
from edgedet.evaluation.html_conversion import conversion_page
from tests.evaluation.test_html_report import Reader

BASELINE = {
    "AP": 0.543,
    "AP50": 0.8,
    "APs": 0.3,
    "APm": 0.6,
    "APl": -1.0,
    "per_class": {"cat": 0.5, "dog": 0.6, "bird": 0.7},
}
INT8 = {
    "AP": 0.537,
    "AP50": 0.79,
    "APs": 0.28,
    "APm": 0.61,
    "APl": -1.0,
    "per_class": {"cat": 0.495, "dog": 0.53, "bird": 0.71},
}
ATTEMPTS = [
    {
        "step": "fitted ranges",
        "AP": 0.52,
        "drop": 2.3,
        "bytes": 1_100_000,
        "seconds": 40.0,
        "settings": {"ranges": "fitted", "bias_correction": False, "keep": []},
        "met": False,
    },
    {
        "step": "bias correction",
        "AP": 0.537,
        "drop": 0.6,
        "bytes": 1_100_000,
        "seconds": 62.0,
        "settings": {"ranges": "mse", "bias_correction": True, "keep": ["fpn_1"]},
        "met": True,
    },
]
TFLITE: dict[str, Any] = {
    "format": "tflite",
    "precision": "int8",
    "file": "runs/best-int8.tflite",
    "bytes": 1_170_000,
    "operators": {"CONV_2D": 159, "ADD": 34},
    "metrics": INT8,
    "drop": 0.6,
    "attempts": ATTEMPTS,
    "outcome": "stopped at bias correction",
    "met": True,
    "heads": [
        {"name": "class_3", "scale": 0.05, "zero_point": 47, "sqnr": 18.6, "correlation": 0.994},
        {"name": "box_3", "scale": 0.01, "zero_point": -3, "sqnr": 8.2, "correlation": 0.91},
    ],
    "layers": [{"name": "stem", "explanation": "stem (CONV_2D): 4.3 dB are lost here."}],
    "sensitivity": [{"layer": "node_1", "loss": 0.2}, {"layer": "node_9", "loss": 1.4}],
    "latency": [
        {"threads": 2, "p50_ms": 6.11, "p90_ms": 7.0},
        {"threads": 1, "p50_ms": 9.81, "p90_ms": 11.2},
    ],
    "inference_precision": "int8",
}
OPENVINO: dict[str, Any] = {
    "format": "openvino",
    "precision": "int8",
    "file": "runs/best-int8.xml",
    "bytes": 1_400_000,
    "operators": {"Convolution": 159},
    "metrics": {**INT8, "AP": 0.512},
    "outcome": "no step was enough",
    "met": False,
}


@pytest.fixture
def report(tmp_path: Path) -> dict[str, Any]:
    """A report in which all is known."""
    pictures = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(pictures):
        Image.fromarray(np.full((40, 60, 3), 80 * number, np.uint8)).save(path)
    return {
        "source": "best.keras",
        "model": "eff-spinenet-m0",
        "created": "2026-01-02",
        "data": "data.yaml",
        "budget": 1.0,
        "preparation": {
            "before": {"operators": {"MUL": 60, "CONV_2D": 159}, "macs": 200_000_000},
            "after": {"operators": {"MUL": 19, "CONV_2D": 159}, "macs": 150_000_000},
        },
        "baseline": BASELINE,
        "calibration": {
            "split": "train",
            "images": 3,
            "digest": "d31f",
            "pictures": [str(path) for path in pictures],
            "warnings": ["Two of the pictures are in the val split too."],
        },
        "formats": copy.deepcopy([TFLITE, OPENVINO]),
    }


def text(page: Reader) -> str:
    """What is read on the page."""
    return re.sub(r"\s+", " ", " ".join(data for tag, data in page.texts if tag != "style"))


def headings(page: Reader) -> list[str]:
    return [data for tag, data in page.texts if tag == "h2"]


def test_both_files_are_written(report: dict[str, Any], tmp_path: Path) -> None:
    write_report(tmp_path / "new" / "out", report)
    directory = tmp_path / "new" / "out"
    assert sorted(path.name for path in directory.iterdir()) == ["report.html", "report.json"]
    assert json.loads((directory / "report.json").read_text()) == report
    Reader((directory / "report.html").read_text())


def test_it_needs_no_other_file_and_no_network(report: dict[str, Any]) -> None:
    page = Reader(conversion_page(report))
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)


def test_it_says_first_what_was_lost_and_why(report: dict[str, Any]) -> None:
    shown = text(Reader(conversion_page(report)))
    short = shown[shown.index("In short") : shown.index("The files")]
    assert "tflite int8: stopped at bias correction." in short
    assert "tflite int8 loses most on “dog”: 7.0 AP." in short
    assert "tflite int8 loses most precision at stem (CONV_2D): 4.3 dB are lost here." in short
    assert "openvino int8: no step was enough." in short
    assert "Two of the pictures are in the val split too." in short
    cards = shown[: shown.index("In short")]
    assert "54.3 AP before" in cards
    assert "53.7 AP, tflite int8 1.17 MB −0.60 AP, within the budget" in cards
    assert "51.2 AP, openvino int8 1.40 MB −3.10 AP, over the budget" in cards


def test_without_an_outcome_the_loss_is_told(report: dict[str, Any]) -> None:
    for entry in report["formats"]:
        del entry["outcome"]
    shown = text(Reader(conversion_page(report)))
    assert "tflite int8 loses 0.60 AP." in shown
    report["formats"][0]["metrics"]["AP"] = 0.55
    assert "tflite int8 loses no AP." in text(Reader(conversion_page(report)))


def test_a_loss_just_beyond_the_budget_does_not_look_like_it(report: dict[str, Any]) -> None:
    report["formats"][0] |= {"metrics": {**INT8, "AP": 0.5326}, "met": False}
    report["formats"][0]["attempts"][1] |= {"AP": 0.5326, "met": False}
    shown = text(Reader(conversion_page(report)))
    assert "−1.04 AP, over the budget" in shown
    assert "53.3 1.04 1.10 MB 62 s over" in shown


@pytest.mark.parametrize(
    ("heading", "places"),
    [
        ("Accuracy by object size", [("metrics",)]),
        ("Accuracy by class", [("metrics",)]),
        ("What was tried", [("attempts",)]),
        ("Where precision is lost", [("heads",), ("layers",)]),
        ("Sensitivity of the layers", [("sensitivity",)]),
        ("Latency on this machine", [("latency",)]),
        ("Operators of each file", [("operators",)]),
        ("What preparing the graph did", ["preparation"]),
        ("Calibration pictures", ["calibration"]),
    ],
)
def test_what_is_not_known_is_left_out(
    heading: str, places: list[Any], report: dict[str, Any]
) -> None:
    assert heading in headings(Reader(conversion_page(report)))
    for place in places:
        owners = [report] if isinstance(place, str) else report["formats"]
        for owner in owners:
            owner[place if isinstance(place, str) else place[0]] = None
    assert heading not in headings(Reader(conversion_page(report)))
    for place in places:
        owners = [report] if isinstance(place, str) else report["formats"]
        for owner in owners:
            del owner[place if isinstance(place, str) else place[0]]
    assert heading not in headings(Reader(conversion_page(report)))


def test_a_report_of_hardly_anything_is_a_page(tmp_path: Path) -> None:
    write_report(tmp_path, {"formats": [{"format": "onnx", "precision": "float32"}]})
    page = Reader((tmp_path / "report.html").read_text())
    assert "onnx float32" in page.text
    write_report(tmp_path, {})


def test_losses_beyond_the_budget_are_marked(report: dict[str, Any]) -> None:
    document = conversion_page(report)
    sizes = document[document.index("Accuracy by object size") :]
    assert '53.7 <span class="down">−0.6</span>' in sizes
    assert '51.2 <b><span class="down">−3.1</span></b>' in sizes
    assert '61.0 <span class="up">+1.0</span>' in sizes
    report["budget"] = 5.0
    assert '51.2 <span class="down">−3.1</span>' in conversion_page(report)


def test_sizes_without_truth_have_no_change(report: dict[str, Any]) -> None:
    document = conversion_page(report)
    row = document[document.index("large objects") :]
    assert re.findall("<td[^>]*>(.*?)</td>", row)[:3] == ["n/a"] * 3


def test_the_class_that_loses_most_comes_first(report: dict[str, Any]) -> None:
    document = conversion_page(report)
    classes = document[document.index("Accuracy by class") : document.index("What was tried")]
    assert re.findall("<bdi>(cat|dog|bird)</bdi>", classes) == ["dog", "cat", "bird"]


def test_the_steps_show_what_they_cost(report: dict[str, Any]) -> None:
    shown = text(Reader(conversion_page(report)))
    tried = shown[shown.index("What was tried") : shown.index("Where precision is lost")]
    assert "fitted ranges ranges fitted 52.0 2.30 1.10 MB 40 s over" in tried
    assert "ranges mse; bias correction; keep 1: fpn_1 53.7 0.60 1.10 MB 62 s within" in tried
    assert tried.rstrip().endswith("stopped at bias correction")
    cells = re.findall('<td class="down"[^>]*>([^<]*)', conversion_page(report))
    assert "2.30" in cells
    assert "0.60" not in cells


def test_weak_outputs_are_marked_and_layers_sorted(report: dict[str, Any]) -> None:
    document = conversion_page(report)
    lost = document[document.index("Where precision is lost") : document.index("Latency on")]
    weak = [cell for cell in re.findall("<td.*?</td>", lost) if "dB" in cell and "down" in cell]
    assert len(weak) == 1
    assert "8.2 dB" in weak[0]
    assert lost.index("node_9") < lost.index("node_1<")


def test_operators_before_and_after(report: dict[str, Any]) -> None:
    shown = text(Reader(conversion_page(report)))
    done = shown[shown.index("What preparing the graph did") :]
    assert "all operators 219 178 −41" in done
    assert "multiply-adds 200.0 M 150.0 M −25.0%" in done
    assert "CONV_2D 159 159 0 MUL 60 19 −41" in done


def test_latency_by_threads(report: dict[str, Any]) -> None:
    shown = text(Reader(conversion_page(report)))
    files = shown[shown.index("The files") : shown.index("Accuracy by object size")]
    assert "best-int8.tflite tflite int8 53.7 −0.6 1.17 MB 193 9.81 int8 within" in files
    assert "tflite int8 2 6.11 7.00 int8" in shown


def test_the_contact_sheet_shows_the_calibration_pictures(
    report: dict[str, Any], tmp_path: Path
) -> None:
    page = Reader(conversion_page(report))
    assert [image["title"] for image in page.named("img")] == ["0.png", "1.png", "2.png"]
    report["calibration"]["pictures"] *= 40
    report["calibration"]["images"] = 120
    page = Reader(conversion_page(report))
    assert len(page.named("img")) == 48
    assert "120 pictures of the train split" in page.text
    assert "48 of them are shown" in page.text


def test_a_calibration_picture_that_is_gone_is_told(report: dict[str, Any]) -> None:
    Path(report["calibration"]["pictures"][0]).unlink()
    Path(report["calibration"]["pictures"][1]).write_text("no picture")
    page = Reader(conversion_page(report))
    assert len(page.named("img")) == 1
    assert "2 of them can't be read any more." in page.text


def test_numbers_that_json_lacks_become_null(report: dict[str, Any], tmp_path: Path) -> None:
    report["formats"][0]["heads"][0]["sqnr"] = float("nan")
    report["formats"][0]["attempts"] = tuple(report["formats"][0]["attempts"])
    report["formats"][0]["attempts"][0]["AP"] = float("inf")
    report["source"] = Path("best.keras")

    def refused(word: str) -> None:
        raise AssertionError(word)

    write_report(tmp_path / "out", report)
    content = json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=refused)
    assert content["formats"][0]["heads"][0]["sqnr"] is None
    assert content["formats"][0]["attempts"][0]["AP"] is None
    assert content["source"] == "best.keras"


HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a\u202eb\x00\ud800'")


def test_names_stay_text_whatever_they_are(report: dict[str, Any], tmp_path: Path) -> None:
    first, second, third = HOSTILE
    report |= {"source": first, "model": second, "data": third, "created": first}
    report["calibration"] |= {"split": first, "warnings": [second], "digest": third}
    report["preparation"]["before"]["operators"] = {first: 1}
    report["baseline"]["per_class"] = dict.fromkeys(HOSTILE, 0.5)
    entry = report["formats"][0]
    entry |= {"format": first, "precision": second, "file": first, "outcome": second}
    entry |= {"operators": {first: 1}, "inference_precision": second}
    entry["metrics"]["per_class"] = dict.fromkeys(HOSTILE, 0.1)
    entry["attempts"][0] |= {"step": first, "settings": {second: third}}
    entry["heads"][0]["name"] = first
    entry["layers"][0]["explanation"] = second
    entry["sensitivity"][0]["layer"] = first
    document = conversion_page(report)
    document.encode()
    page = Reader(document)
    assert len(page.named("script")) == 1
    assert len(page.named("img")) == 3
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert not set("\u202e\x00\ud800") & set(document)
    write_report(tmp_path / "out", report)


def test_a_write_that_fails_leaves_the_earlier_report(
    report: dict[str, Any], tmp_path: Path
) -> None:
    write_report(tmp_path / "out", report)
    earlier = (tmp_path / "out" / "report.json").read_bytes()
    (tmp_path / "out" / "report.html").unlink()
    (tmp_path / "out" / "report.html").mkdir()
    report["model"] = "another"
    with pytest.raises(EdgeDetError, match=r"report\.html is a directory"):
        write_report(tmp_path / "out", report)
    assert (tmp_path / "out" / "report.json").read_bytes() == earlier
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "report.html",
        "report.json",
    ]
