"""The files and the tables that an evaluation leaves."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from edgedet.data.dataset import DetectionDataset
from edgedet.errors import EdgeDetError, MissingDependencyError
from edgedet.evaluation import ClassScore, evaluate
from edgedet.evaluation.contact_sheet import (
    FALSE_COLOUR,
    HIT_COLOUR,
    MISSED_COLOUR,
    write_contact_sheet,
)
from edgedet.evaluation.mistakes import ImageMistakes
from edgedet.evaluation.plots import plot_precision_recall, precision_recall_figure
from edgedet.evaluation.points import points, signed
from edgedet.evaluation.report import tables, write_report

MakeDataset = Callable[..., DetectionDataset]
MakeDetector = Callable[..., Any]

CAT = (10.0, 20.0, 310.0, 320.0)
DOG = (400.0, 100.0, 600.0, 300.0)
TRUTH = {42: [(CAT, "cat", False), (DOG, "dog", False)], 7: [(CAT, "dog", False)]}
# On 42 all is found; on 7 a bird is seen instead of a dog.
ANSWERS = {
    "42.png": [(CAT, "cat", 0.9), (DOG, "dog", 0.8)],
    "7.png": [(DOG, "bird", 0.7)],
}
PERFECT = {**ANSWERS, "7.png": [(CAT, "dog", 0.7)]}


def test_metrics_json_holds_the_description_the_scores_and_the_files(
    make_dataset: MakeDataset, fake_detector: MakeDetector, tmp_path: Path
) -> None:
    dataset = make_dataset(TRUTH, write_images=True)
    result = evaluate(fake_detector(ANSWERS), dataset)
    out = tmp_path / "run"
    content = write_report(result, dataset, out, description={"model": "m.tflite"})
    assert json.loads((out / "metrics.json").read_text()) == content
    assert content["model"] == "m.tflite"
    assert content["metrics"] == result.metrics
    assert {entry["label"] for entry in content["per_class"]} == {"cat", "dog", "bird"}
    assert content["files"] == {
        "report": "report.html",
        "metrics": "metrics.json",
        "pr_curve": "pr_curve.png",
        "mistakes": "mistakes.png",
    }
    assert {path.name for path in out.iterdir()} == set(content["files"].values())


@pytest.mark.parametrize("full_at", ["pr_curve", "mistakes", "predictions", "report", "metrics"])
def test_a_disk_that_fills_leaves_no_part_of_a_report(
    full_at: str,
    make_dataset: MakeDataset,
    fake_detector: MakeDetector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = make_dataset(TRUTH, write_images=True)
    result = evaluate(fake_detector(ANSWERS), dataset)
    rename = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.stem == full_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(EdgeDetError, match="the disk is full"):
        write_report(result, dataset, tmp_path / "run", description={}, save_json=True)
    assert not list(tmp_path.glob("run/*"))


def test_predictions_json_is_read_by_pycocotools(
    make_dataset: MakeDataset,
    fake_detector: MakeDetector,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from pycocotools.coco import COCO

    from edgedet.evaluation.coco_format import coco_truth

    dataset = make_dataset(TRUTH, write_images=True)
    result = evaluate(fake_detector(ANSWERS), dataset)
    content = write_report(result, dataset, tmp_path / "run", description={}, save_json=True)
    coco = COCO()
    coco.dataset = coco_truth(dataset)
    coco.createIndex()
    loaded = coco.loadRes(str(tmp_path / "run" / content["files"]["predictions"]))
    capsys.readouterr()
    assert len(loaded.anns) == 3
    assert sorted(loaded.getCatIds(catNms=["cat", "dog"])) == [3, 90]


def test_the_sheet_shows_images_with_mistakes_only(
    make_dataset: MakeDataset, fake_detector: MakeDetector, tmp_path: Path
) -> None:
    dataset = make_dataset(TRUTH, write_images=True)
    write_report(
        evaluate(fake_detector(ANSWERS), dataset), dataset, tmp_path / "run", description={}
    )
    sheet = Image.open(tmp_path / "run" / "mistakes.png").convert("RGB")
    assert sheet.width == 320  # one tile: image 42 has no mistake
    picture = np.asarray(sheet)[30:]  # without the legend
    assert _has_colour(picture, FALSE_COLOUR)
    assert _has_colour(picture, MISSED_COLOUR)
    assert not _has_colour(picture, HIT_COLOUR)


def test_the_sheet_begins_with_the_worst_and_ends_at_its_count(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    """Images 0 to 5 with as many false detections; their grey tells them apart."""
    dataset = make_dataset({n: [] for n in range(6)})
    for sample in dataset.samples:
        sample.path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (640, 480), (40 * sample.image_id,) * 3).save(sample.path)
    box = np.array([[0, 0, 10, 10]], np.float32)
    none = box[:0]
    mistakes = [
        ImageMistakes(
            image_id=n,
            hits=none,
            hit_classes=(),
            hit_scores=(),
            false=np.repeat(box, n, axis=0),
            false_classes=(90,) * n,
            false_scores=(0.5,) * n,
            missed=none,
            missed_classes=(),
        )
        for n in range(6)
    ]
    paths = {sample.image_id: sample.path for sample in dataset.samples}
    shown = write_contact_sheet(mistakes, paths, {90: "cat"}, tmp_path / "sheet.png", count=3)
    assert shown == 3
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 3 * 320
        assert [sheet.getpixel((320 * n + 160, 200)) for n in range(3)] == [
            (200, 200, 200),
            (160, 160, 160),
            (120, 120, 120),
        ]


def test_without_mistakes_there_is_no_sheet(
    make_dataset: MakeDataset, fake_detector: MakeDetector, tmp_path: Path
) -> None:
    dataset = make_dataset(TRUTH, write_images=True)
    result = evaluate(fake_detector(PERFECT), dataset)
    content = write_report(result, dataset, tmp_path / "run", description={})
    assert "mistakes" not in content["files"]
    assert not (tmp_path / "run" / "mistakes.png").exists()


def _scores(*areas: float) -> list[ClassScore]:
    return [
        ClassScore(f"_a$^$b{n}", n, 5, {"AP50": area}, np.full(101, area), {})
        for n, area in enumerate(areas)
    ]


ABSENT = ClassScore("never seen", 99, 0, {"AP50": -1.0}, np.full(101, -1.0), {})


@pytest.mark.parametrize("classes", [0, 1, 10, 80])
def test_the_plot_is_a_picture_whatever_the_classes(classes: int, tmp_path: Path) -> None:
    """Names that matplotlib would take for formulas or leave out are no hindrance."""
    plot_precision_recall(
        [*_scores(*[0.5] * classes), ABSENT], tmp_path / "pr.png", title="a [strange] $^$title"
    )
    with Image.open(tmp_path / "pr.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == (960, 660)


def _legend(scores: list[ClassScore]) -> list[str]:
    (axes,) = precision_recall_figure(scores).axes
    return [text.get_text().split()[0] for text in axes.get_legend().get_texts()]


def test_the_legend_names_each_class_that_has_objects_and_their_mean() -> None:
    assert _legend([*_scores(0.5, 0.9), ABSENT]) == ["50.0", "90.0", "70.0"]


def test_up_to_twelve_classes_can_be_told_apart() -> None:
    (axes,) = precision_recall_figure(_scores(*[0.5] * 12)).axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 13


def test_of_many_classes_the_weakest_are_named() -> None:
    areas = [0.9] * 10 + [0.1, 0.5, 0.3, 0.2, 0.4]
    assert _legend(_scores(*areas))[:-1] == ["10.0", "20.0", "30.0", "40.0", "50.0"]


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgedet\[eval\]'"):
        plot_precision_recall([], tmp_path / "pr.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "text"), [(0.5432, "54.3"), (1.0, "100.0"), (0.0, "0.0"), (-1.0, "n/a")]
)
def test_scores_are_shown_as_points_of_100(value: float, text: str) -> None:
    assert points(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "+1.2"), (-0.0123, "−1.2"), (0.0, "0.0"), (-0.0001, "0.0"), (None, "n/a")],
)
def test_differences_carry_their_sign(value: float | None, text: str) -> None:
    assert signed(value) == text


def test_the_tables_name_every_metric_and_class(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    result = evaluate(fake_detector(PERFECT), make_dataset(TRUTH))
    console = Console(file=io.StringIO(), width=80)
    console.print(tables(result))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    rows = {cells[1].strip(): cells for cells in (line.split("│") for line in lines) if cells[1:]}
    assert rows["AP"][2].strip() == "100.0"
    assert rows["APs"][2].strip() == "n/a"
    assert [cell.strip() for cell in rows["dog"][2:5]] == ["2", "100.0", "100.0"]
    assert [cell.strip() for cell in rows["bird"][2:5]] == ["0", "n/a", "n/a"]


def test_metrics_json_holds_what_the_report_shows(
    make_dataset: MakeDataset, fake_detector: MakeDetector, tmp_path: Path
) -> None:
    dataset = make_dataset(TRUTH, write_images=True)
    result = evaluate(fake_detector(ANSWERS), dataset)
    content = write_report(result, dataset, tmp_path / "run", description={}, conf=0.5)
    assert content["confidence"]["best"] == {
        "conf": 0.75,
        "precision": 1.0,
        "recall": 0.6667,
        "f1": 0.8,
    }
    assert content["confusion_matrix"]["counts"] == [
        [1, 0, 0, 0],
        [0, 1, 0, 1],
        [0, 0, 0, 0],
        [0, 0, 1, 0],
    ]
    assert (content["errors"]["counts"]["missed"], content["errors"]["conf"]) == (1, 0.5)
    assert content["calibration"]["conf"] == 0.5
    dog = content["per_class"][1]
    assert (dog["precision"], dog["recall"], dog["best_conf"]) == (1, 0.5, 0.41)
    assert content["worst_images"] == [
        {"image_id": 7, "file_name": "7.png", "missed": 1, "false": 1, "right": 0}
    ]
    assert len(content["pr_curve"]["precision"]) == 3
    assert len(content["pr_curve"]["precision"][0]) == len(content["pr_curve"]["recall"]) == 101
    lines = (tmp_path / "run" / "metrics.json").read_text().splitlines()
    assert len(lines) == len(content) + 2


def test_a_detector_run_above_the_reports_confidence_is_judged_there(
    make_dataset: MakeDataset, fake_detector: MakeDetector, tmp_path: Path
) -> None:
    dataset = make_dataset(TRUTH, write_images=True)
    result = evaluate(fake_detector(PERFECT), dataset, conf=0.6)
    content = write_report(result, dataset, tmp_path / "run", description={})
    assert content["errors"]["conf"] == 0.6
    assert content["confidence"]["thresholds"][0] == 0.6


def test_names_of_several_lines_are_no_hindrance(
    make_dataset: MakeDataset, fake_detector: MakeDetector, tmp_path: Path
) -> None:
    dataset = make_dataset(TRUTH, write_images=True)
    strange = dataclasses.replace(dataset, labels=("c\nat", "d\nog", "\x00bi\ud800rd"))
    result = dataclasses.replace(evaluate(fake_detector(ANSWERS), dataset))
    content = write_report(result, strange, tmp_path / "run", description={})
    assert "mistakes" in content["files"]


def _has_colour(picture: np.ndarray, colour: str) -> bool:
    value = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return bool((picture == value).all(axis=-1).any())
