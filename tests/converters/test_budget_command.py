"""`edgedet convert --int8`: what it prints, what it leaves, and its exit status."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedet.cli import main
from edgedet.converters import budget
from edgedet.converters.budget import BudgetResult
from edgedet.converters.formats import convert as convert_to
from edgedet.quantization.settings import QuantizationSettings

METRICS = {"AP": 0.5, "AP50": 0.7, "APs": -1, "APm": 0.5, "APl": 0.5, "per_class": {"cat": 0.5}}


@pytest.fixture(scope="module")
def converted(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (conversion,) = convert_to(model_file, ["tflite"], out=tmp_path_factory.mktemp("converted"))
    return conversion.path


@pytest.fixture
def run(
    model_file: Path, converted: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    """Convert, the search finding a given drop; gives the status and the options it was given."""
    asked: list[dict[str, Any]] = []

    def start(drop: float, *words: object) -> tuple[int, list[dict[str, Any]]]:
        def convert_within(source: Path, formats: list[str], **options: Any) -> BudgetResult:
            asked.append({"formats": formats, **options})
            met = drop <= options["max_drop"]
            file = tmp_path / f"tiny-int8{'' if met else '-over-budget'}.tflite"
            shutil.copyfile(converted, file)
            attempt = {"step": "fitted ranges", "settings": {}, "AP": 0.5 - drop / 100,
                       "drop": drop, "bytes": 12345, "seconds": 1.0, "met": met}  # fmt: skip
            entry = {"format": "tflite", "precision": "int8", "file": str(file), "bytes": 12345,
                     "operators": {"CONV_2D": 3}, "metrics": METRICS, "drop": drop,
                     "attempts": [attempt], "outcome": "stopped there", "met": met, "heads": [],
                     "layers": [], "sensitivity": [], "latency": options["latency"](file),
                     "inference_precision": "int8"}  # fmt: skip
            report = {"source": str(source), "model": "tiny", "created": "2020-02-02",
                      "data": str(data), "budget": options["max_drop"], "preparation": None,
                      "baseline": METRICS, "formats": [entry],
                      "calibration": {"split": "train", "images": 12, "digest": "0",
                                      "pictures": [], "warnings": ["these are few"]}}  # fmt: skip
            return BudgetResult(met, {"tflite": file}, {"tflite": QuantizationSettings()}, report)

        monkeypatch.setattr(budget, "convert_within", convert_within)
        with pytest.raises(SystemExit) as exit_:
            main(["convert", str(model_file), "--int8", "--data", str(data), *map(str, words)])
        return int(exit_.value.code or 0), asked

    return start


def test_a_file_within_the_budget(
    run: Callable[..., Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, asked = run(0.4, "--calibration-images", 7)
    printed = capfd.readouterr().out
    file = tmp_path / "tiny-int8.tflite"
    assert code == 0
    assert asked[0]["max_drop"] == 1.0
    assert asked[0]["calibration_images"] == 7
    assert "calibration: these are few" in printed
    assert "49.60" in printed
    assert f"{file}: stopped there" in printed
    assert printed.splitlines()[-1].startswith(f"next: edgedet eval --model {file} --data ")
    report = json.loads((tmp_path / "tiny-int8-report" / "report.json").read_text())
    threads = [timed["threads"] for timed in report["formats"][0]["latency"]]
    assert threads == [1, 2]
    assert all(timed["p50_ms"] > 0 for timed in report["formats"][0]["latency"])
    assert (tmp_path / "tiny-int8-report" / "report.html").read_text().startswith("<!doctype")


def test_a_missed_budget_has_a_status_of_its_own(
    run: Callable[..., Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _ = run(0.4, "--max-drop", 0.3, "--json")
    told = json.loads(capfd.readouterr().out)
    assert code == 3
    assert told["met"] is False
    assert told["files"] == [str(tmp_path / "tiny-int8-over-budget.tflite")]
    assert told["report_html"] == str(tmp_path / "tiny-int8-report" / "report.html")


def test_a_copy_with_suppression_comes_on_top(
    run: Callable[..., Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _ = run(0.0, "--nms")
    assert code == 0
    copy = tmp_path / "tiny-int8-nms.tflite"
    assert b"TFLite_Detection_PostProcess" in copy.read_bytes()
    assert f"{copy}: the same, ending in boxes" in capfd.readouterr().out
    with pytest.raises(SystemExit) as exit_:
        main(["detect", "--model", str(copy), "--source", "edgedet/assets/scene.png"])
    assert exit_.value.code == 2
    assert "use tiny-int8.tflite, converted without --nms" in capfd.readouterr().err


def test_training_is_the_last_resort_unless_refused(
    run: Callable[..., Any], model_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained: list[Path] = []

    def train(spec: Any, dataset: Any, directory: Path, options: Any, **others: Any) -> Path:
        assert options.quantization_aware
        assert options.learning_rate == 1e-4
        others["reporter"].starting(1, 3, 10, 0, 16)
        others["reporter"].stepped(1, {})
        trained.append(others["weights"])
        return directory / "best.keras"

    monkeypatch.setattr("edgedet.training.trainer.train", train)
    told: list[str] = []
    _, asked = run(0.0)
    fine_tune = asked[0]["fine_tune"]
    files = [
        fine_tune(model_file, QuantizationSettings(), lambda text, done, total: told.append(text))
        for _ in range(2)
    ]
    # Once for all formats.
    assert trained == [model_file]
    assert files[0] == files[1]
    assert told == ["Quantization-aware training, epoch 1 of 3"]
    assert run(0.0, "--no-qat")[1][1]["fine_tune"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--no-check", "--max-drop", "2"], "--max-drop is --int8's"),
        (["--batch", "2"], "add --no-check for a larger --batch"),
        (["--max-drop", "-1"], "must be 0 AP or more"),
        (["--no-check", "--batch", "2", "--nms"], "leave --batch out"),
    ],
)
def test_what_does_not_go_together_is_said(
    words: list[str],
    said: str,
    model_file: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["convert", str(model_file), "--int8", "--data", str(data), "--out",
              str(tmp_path / "out"), *words])  # fmt: skip
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
