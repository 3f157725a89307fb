"""A conversion with a budget: no more than is needed, the best file kept, and what it reports."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import edgedet
from edgedet.converters import budget, escalation
from edgedet.converters.budget import BudgetResult, convert_within
from edgedet.errors import EdgeDetError, InvalidInputError, MissingFileError
from edgedet.evaluation.conversion_report import write_report
from edgedet.files import replacing
from edgedet.quantization.accuracy import Accuracy
from edgedet.quantization.block_sensitivity import BlockSensitivity
from edgedet.quantization.settings import QuantizationSettings

COUNTS = {part: {"operators": {"Conv2D": 3}, "macs": 5} for part in ("before", "after")}
RANKED = [BlockSensitivity((f"layer{n}",), loss) for n, loss in enumerate((4.0, 3.0, 2.0, 1.0))]


def accuracy(points: float) -> Accuracy:
    values = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl"), points / 100)
    return Accuracy(values, {"cat": points / 100}, "int8")


class Fake:
    """Conversions that cost a moment, and whose accuracy depends on their settings."""

    def __init__(self, score: Callable[[str, QuantizationSettings], float]) -> None:
        self.score = score
        self.converted: list[tuple[str, QuantizationSettings]] = []
        self.sources: list[Path] = []
        self.ranked = 0

    def convert(self, source: Path, formats: list[str], **options: Any) -> list[Any]:
        (name,) = formats
        precision = options.get("precision", "float32")
        suffix = {"tflite": ".tflite", "openvino": ".xml", "onnx": ".onnx"}[name]
        options["out"].mkdir(exist_ok=True)
        path = options["out"] / f"{source.stem}-{precision}{suffix}"
        settings = options.get("settings")
        points = 50.0
        if precision == "int8":
            self.converted.append((name, settings))
            self.sources.append(source)
            points = self.score(name, settings)
        path.write_text(f"{name} {points}")
        if suffix == ".xml":
            path.with_suffix(".bin").write_text(f"weights {points}")
        facts = {"heads": [], "worst_layers": []}
        return [
            SimpleNamespace(path=path, spec=None, file_bytes=9, operators={}, to_dict=lambda: facts)
        ]

    def measure(self, path: Path, dataset: object, progress: object) -> Accuracy:
        return accuracy(float(path.read_text().split()[1]))

    def rank(self, *_: object) -> list[BlockSensitivity]:
        self.ranked += 1
        return RANKED


@pytest.fixture
def run(
    model_file: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[BudgetResult, Fake]]:
    """Convert with made-up accuracies."""

    def start(
        score: Callable[[str, QuantizationSettings], float], *formats: str, **options: Any
    ) -> tuple[BudgetResult, Fake]:
        fake = Fake(score)
        network = SimpleNamespace(
            variant=SimpleNamespace(stack=None, size=None, label=""), spec=None
        )
        monkeypatch.setattr(budget, "effect", lambda *_: COUNTS)
        monkeypatch.setattr(escalation, "convert", fake.convert)
        monkeypatch.setattr(escalation, "measure", fake.measure)
        monkeypatch.setattr(escalation, "rank_blocks", fake.rank)
        monkeypatch.setattr(escalation, "observe", lambda *_: None)
        monkeypatch.setattr(escalation, "fit_ranges", lambda *_: {})
        monkeypatch.setattr(escalation.archive, "read_model", lambda path: (None, b""))
        for module in (budget, escalation):
            monkeypatch.setattr(
                module, "exported_network", lambda *_, **__: contextlib.nullcontext(network)
            )
        pictures = budget.choose_images(data, edgedet.archive.read_spec(model_file), 12)
        monkeypatch.setattr(budget, "choose_images", lambda *_: pictures)
        options.setdefault("out", tmp_path / "out")
        result = convert_within(model_file, formats or ("tflite",), data=data, **options)
        return result, fake

    return start


Run = Callable[..., tuple[BudgetResult, Fake]]


def test_the_first_step_within_the_budget_is_the_last(run: Run, tmp_path: Path) -> None:
    result, fake = run(lambda *_: 49.2)
    assert result.met
    assert fake.converted == [("tflite", QuantizationSettings())]
    assert fake.ranked == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tiny-int8.tflite"]
    assert result.files == {"tflite": tmp_path / "out" / "tiny-int8.tflite"}
    assert result.report["preparation"] == COUNTS
    (entry,) = result.report["formats"]
    assert entry["drop"] == pytest.approx(0.8)
    assert entry["outcome"] == "stopped at fitted ranges: 0.80 AP lost, 1 allowed"
    assert entry["sensitivity"] == []


def test_steps_come_cheapest_first_and_go_on_from_the_best(run: Run) -> None:
    def score(_: str, settings: QuantizationSettings) -> float:
        points = {"fitted": 40.0, "percentile": 42.0, "mse": 41.0}[settings.ranges]
        points += settings.bias_correction - settings.equalization
        return points + len(settings.keep)

    result, fake = run(score, max_drop=5.1)
    best = QuantizationSettings("percentile", bias_correction=True)
    assert [settings for _, settings in fake.converted] == [
        QuantizationSettings(),
        QuantizationSettings("mse"),
        QuantizationSettings("percentile"),
        best,
        QuantizationSettings("percentile", bias_correction=True, equalization=True),
        QuantizationSettings("percentile", True, False, ("layer0",)),
        QuantizationSettings("percentile", True, False, ("layer0", "layer1")),
        QuantizationSettings("percentile", True, False, ("layer0", "layer1", "layer2")),
    ][: len(fake.converted)]
    assert len(fake.converted) == 7
    assert result.met
    assert result.settings["tflite"].keep == ("layer0", "layer1")
    (entry,) = result.report["formats"]
    assert [attempt["met"] for attempt in entry["attempts"]] == [False] * 6 + [True]
    assert entry["sensitivity"][0] == {"layer": "layer0", "loss": 4.0}


def test_steps_that_a_format_ignores_are_left_out(run: Run) -> None:
    _, fake = run(lambda *_: 30.0, "onnx")
    assert not any(settings.equalization for _, settings in fake.converted)


def test_the_best_is_kept_aside_if_none_is_good_enough(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "tiny-int8.tflite").write_text("earlier")

    def score(name: str, settings: QuantizationSettings) -> float:
        if name == "openvino":
            return 49.5
        return 45.0 if settings.ranges == "mse" and not settings.bias_correction else 30.0

    result, fake = run(score, "tflite", "openvino")
    assert not result.met
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        "tiny-int8.tflite": "earlier",
        "tiny-int8-over-budget.tflite": "tflite 45.0",
        "tiny-int8.xml": "openvino 49.5",
        "tiny-int8.bin": "weights 49.5",
    }
    assert result.settings["tflite"] == QuantizationSettings("mse")
    first, second = result.report["formats"]
    assert (first["met"], second["met"]) == (False, True)
    assert first["metrics"]["AP"] == 0.45
    assert first["outcome"] == (
        "no step kept the budget of 1 AP; the best of 8 was mse ranges: 5.00 AP lost"
    )
    assert fake.ranked == 1


def test_fine_tuning_is_the_last_step(run: Run, tmp_path: Path) -> None:
    asked: list[QuantizationSettings] = []

    def fine_tune(source: Path, settings: QuantizationSettings, report: object) -> Path:
        asked.append(settings)
        return tmp_path / "trained.keras"

    scores = iter([30.0] * 8 + [49.9])
    result, fake = run(lambda *_: next(scores), fine_tune=fine_tune)
    assert result.met
    assert asked == [QuantizationSettings()]
    assert fake.sources[-1] == tmp_path / "trained.keras"
    assert result.files["tflite"].name == "tiny-int8.tflite"
    result, fake = run(lambda *_: 30.0, fine_tune=lambda *_: None)
    assert len(fake.converted) == 8


def test_a_step_that_fails_is_left_out(run: Run) -> None:
    def score(_: str, settings: QuantizationSettings) -> float:
        if settings.ranges == "percentile":
            raise EdgeDetError("the package gave up")
        return 45.0

    result, fake = run(score)
    assert len(fake.converted) == 8
    (entry,) = result.report["formats"]
    assert len(entry["attempts"]) == 7
    assert entry["outcome"].endswith("; percentile ranges failed: the package gave up")

    def never(*_: object) -> float:
        raise EdgeDetError("the package gave up")

    with pytest.raises(EdgeDetError, match="gave up"):
        run(never)


def test_fine_tuning_that_fails_leaves_the_best(run: Run) -> None:
    def fine_tune(*_: object) -> Path:
        raise EdgeDetError("not enough memory")

    result, _ = run(lambda *_: 45.0, fine_tune=fine_tune)
    assert not result.met
    (entry,) = result.report["formats"]
    assert entry["outcome"].endswith("; quantization-aware training failed: not enough memory")


def test_full_disk_in_a_later_step_ends_the_search(run: Run, tmp_path: Path) -> None:
    def score(_: str, settings: QuantizationSettings) -> float:
        if settings.ranges == "percentile":
            with replacing(tmp_path / "file.tflite"):
                raise OSError(errno.ENOSPC, "No space left on device")
        return 45.0

    with pytest.raises(EdgeDetError, match=r"file\.tflite: the disk is full"):
        run(score)
    assert not list((tmp_path / "out").glob("**/*"))


def test_a_gain_is_no_loss(run: Run) -> None:
    result, _ = run(lambda *_: 50.4, max_drop=0.0)
    assert result.met
    assert result.report["formats"][0]["outcome"].startswith("stopped at fitted ranges: 0.00 AP")


def test_interrupted_work_leaves_earlier_files(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "tiny-int8.tflite").write_text("earlier")

    def interrupted(*_: object) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupted)
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        "tiny-int8.tflite": "earlier"
    }
    with pytest.raises(KeyboardInterrupt):
        run(interrupted, out=tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("place", ["file", "file/out"])
def test_target_that_cannot_be_written(place: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fakes: list[object] = []
    with pytest.raises(EdgeDetError, match="can't be written"):
        run(lambda *_: fakes.append(0) or 50.0, out=tmp_path / place)
    assert not fakes


@pytest.mark.parametrize(
    ("formats", "options", "sentence"),
    [
        ((), {}, "no format to convert to"),
        (("caffe",), {}, "no INT8 of format 'caffe'"),
        (("tflite",), {"max_drop": -0.5}, "must be 0 AP or more, not -0.5"),
        (("tflite",), {"max_drop": float("nan")}, "must be 0 AP or more, not nan"),
        (("tflite",), {"calibration_images": 1}, "there is one picture to calibrate on"),
    ],
)
def test_bad_requests(
    formats: tuple[str, ...],
    options: dict[str, Any],
    sentence: str,
    model_file: Path,
    data: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        convert_within(model_file, formats, data=data, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def changed(data: Path, directory: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the data set whose val split has other annotations."""
    shutil.copytree(data.parent, directory)
    truth = json.loads((directory / "train.json").read_text())
    change(truth)
    (directory / "val.json").write_text(json.dumps(truth))
    text = (directory / "data.yaml").read_text()
    split = "{images: images, annotations: train.json}"
    (directory / "data.yaml").write_text(
        text.replace(f"val: {split}", "val: {images: images, annotations: val.json}")
    )
    return directory / "data.yaml"


def test_empty_val_split(model_file: Path, data: Path, tmp_path: Path) -> None:
    empty = changed(data, tmp_path / "data", lambda truth: truth["annotations"].clear())
    with pytest.raises(InvalidInputError, match="has no boxes"):
        convert_within(model_file, data=empty, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_black_pictures(model_file: Path, data: Path, tmp_path: Path) -> None:
    copy = changed(data, tmp_path / "data", lambda truth: None)
    for path in (copy.parent / "images").iterdir():
        with Image.open(path) as image:
            size = image.size
        Image.new("RGB", size).save(path)
    with pytest.raises(InvalidInputError, match="all calibration pictures are black"):
        convert_within(model_file, data=copy, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_model(data: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no model file"):
        convert_within(tmp_path / "absent.keras", data=data, out=tmp_path / "out")


def test_a_real_conversion(model_file: Path, data: Path, tmp_path: Path) -> None:
    texts: list[str] = []
    result = convert_within(
        model_file,
        data=data,
        max_drop=100.0,
        out=tmp_path,
        latency=lambda path: [{"threads": 1, "p50_ms": 1.0, "p90_ms": 2.0}],
        progress=lambda text, done, total: texts.append(text),
    )
    assert result.met
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-int8.tflite"]
    with edgedet.Detector(result.files["tflite"], threads=1) as detector:
        assert detector.spec.provenance["quantization"] == "int8"
    assert {"Evaluating float32", "Evaluating tflite: fitted ranges"} <= set(texts)
    report = result.report
    assert set(report["baseline"]["per_class"]) == {"cat", "dog", "bird"}
    # The tests' val split is the train split.
    assert report["calibration"]["images"] == 12
    assert any("in the val split too" in warning for warning in report["calibration"]["warnings"])
    (entry,) = report["formats"]
    assert entry["bytes"] == result.files["tflite"].stat().st_size
    assert sum(entry["operators"].values()) > 100
    assert len(entry["heads"]) == 10
    assert entry["latency"][0]["p50_ms"] == 1.0
    write_report(tmp_path / "report", report)
    assert json.loads((tmp_path / "report" / "report.json").read_text())["budget"] == 100.0
