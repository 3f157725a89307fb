"""`edgedet eval` from pictures on disk to scores, with a real model."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgedet.archive.onnx import append_spec
from edgedet.evaluation import METRICS

# Finds squares of pure red, green and blue where they fill a cell of its input of 64x64.
MODEL = Path(__file__).parents[1] / "runtime" / "data" / "blocks-int8.tflite"
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
ENGINES = {".xml": "openvino", ".onnx": "onnxruntime"}
CATEGORY_IDS = {"red": 10, "green": 20, "blue": 30}

# Image id: squares of 16x16 as (colour, x, y).
SCENES: dict[int, list[tuple[str, int, int]]] = {
    101: [("red", 32, 48), ("blue", 96, 0)],
    7: [("green", 0, 112)],
    55: [],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data.yaml with the scenes as 128x128 pictures."""
    (tmp_path / "images").mkdir()
    annotations: list[dict[str, Any]] = []
    for image_id, squares in SCENES.items():
        picture = np.full((128, 128, 3), 128, np.uint8)
        for colour, x, y in squares:
            picture[y : y + 16, x : x + 16] = COLOURS[colour]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": CATEGORY_IDS[colour],
                    "bbox": [x, y, 16, 16],
                    "area": 256,
                    "iscrowd": 0,
                }
            )
        Image.fromarray(picture).save(tmp_path / "images" / f"{image_id}.png")
    content = {
        "images": [
            {"id": image_id, "file_name": f"{image_id}.png", "width": 128, "height": 128}
            for image_id in SCENES
        ],
        "categories": [{"id": number, "name": name} for name, number in CATEGORY_IDS.items()],
        "annotations": annotations,
    }
    (tmp_path / "val.json").write_text(json.dumps(content))
    file = tmp_path / "data.yaml"
    file.write_text(
        "path: .\nval: {images: images, annotations: val.json}\nnames: [red, green, blue]\n"
    )
    return file


@pytest.fixture
def evaluate(data: Path, edgedet: Callable[..., Any]) -> Callable[..., Any]:
    """Runs `edgedet eval` on the scenes, in their directory."""

    def run(*words: object, command: str = "eval", model: Path = MODEL) -> Any:
        return edgedet(command, "--model", model, "--data", data, *words)

    return run


def test_json_is_one_object_with_the_scores(evaluate: Callable[..., Any]) -> None:
    outcome = evaluate("--json", "--threads", 1)
    assert outcome.code == 0
    content = json.loads(outcome.out)
    assert set(content["metrics"]) == set(METRICS)
    assert content["metrics"]["AP50"] == pytest.approx(1)
    assert content["metrics"]["AR100"] >= 0.8
    assert content["metrics"]["APl"] == -1
    assert (content["images"], content["truths"]) == (3, 3)
    assert (content["engine"], content["threads"]) == ("litert", 1)
    assert (content["split"], content["conf"], content["iou"]) == ("val", 0.001, 0.5)
    assert [entry["category_id"] for entry in content["per_class"]] == [10, 20, 30]


def test_the_files_lie_in_the_run_directory(evaluate: Callable[..., Any], tmp_path: Path) -> None:
    content = json.loads(evaluate("--json", "--save-json", "--name", "first").out)
    directory = Path(content["directory"])
    assert (tmp_path / directory).samefile(tmp_path / "runs/eval/first")
    assert {path.name for path in directory.iterdir()} == set(content["files"].values())
    assert json.loads((directory / "metrics.json").read_text()) == content
    predictions = json.loads((directory / "predictions.json").read_text())
    assert len(predictions) == content["detections"]
    best = max(predictions, key=lambda entry: (entry["image_id"] == 7, entry["score"]))
    assert (best["image_id"], best["category_id"]) == (7, 20)
    assert best["bbox"] == pytest.approx([0, 112, 16, 16], abs=1)


def test_the_terminal_shows_points_of_100_and_the_next_command(
    evaluate: Callable[..., Any],
) -> None:
    outcome = evaluate()
    rows = [[cell.strip() for cell in line.split("│")] for line in outcome.out.splitlines()]
    assert ["AP50", "100.0"] in [row[1:3] for row in rows]
    assert ["green", "1"] in [row[1:3] for row in rows]
    assert outcome.out.splitlines()[-1] == f"next: edgedet benchmark {MODEL}"


@pytest.fixture
def blocks_model() -> ModuleType:
    """The script that made the model files of the runtime's tests."""
    file = MODEL.parents[1] / "blocks_model.py"
    spec = importlib.util.spec_from_file_location("blocks_model", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_every_format_is_scored_alike(
    suffix: str, blocks_model: ModuleType, evaluate: Callable[..., Any], tmp_path: Path
) -> None:
    """One network as TensorFlow Lite, OpenVINO and ONNX: the same detections, and a report."""
    file = tmp_path / f"blocks{suffix}"
    if suffix == ".xml":
        pytest.importorskip("openvino")
        blocks_model.write_openvino(file)
    else:
        pytest.importorskip("onnx")
        file.write_bytes(append_spec(blocks_model.onnx_model(), blocks_model.SPEC))
    words = ["--json", "--save-json", "--name"]
    theirs = json.loads(evaluate(*words, "theirs", model=file).out)
    ours = json.loads(evaluate(*words, "ours", model=MODEL.with_name("blocks-float32.tflite")).out)
    assert (ours["engine"], theirs["engine"]) == ("litert", ENGINES[suffix])
    assert theirs["metrics"] == pytest.approx(ours["metrics"])
    assert theirs["confusion_matrix"] == ours["confusion_matrix"]
    assert (tmp_path / theirs["directory"] / "report.html").is_file()
    found = [
        json.loads((tmp_path / content["directory"] / "predictions.json").read_text())
        for content in (ours, theirs)
    ]
    assert len(found[0]) == len(found[1]) > 0
    for mine, other in zip(*found, strict=True):
        assert (mine["image_id"], mine["category_id"]) == (other["image_id"], other["category_id"])
        assert other["score"] == pytest.approx(mine["score"], abs=1e-4)
        assert other["bbox"] == pytest.approx(mine["bbox"], abs=1e-2)


def test_val_is_another_name_for_it(evaluate: Callable[..., Any]) -> None:
    assert json.loads(evaluate("--json", command="val").out)["images"] == 3


def test_limit_takes_the_first_images(evaluate: Callable[..., Any]) -> None:
    content = json.loads(evaluate("--json", "--limit", 1).out)
    assert (content["images"], content["truths"], content["limit"]) == (1, 2, 1)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--report-conf", 1.5], "--report-conf must be from 0 to 1"),
        (["--baseline", "none.json"], "none.json does not exist"),
        (["--predictions", "p.json"], "either --model or --predictions"),
        (["--limit", 0], "--limit must be 1 or more"),
        (["--conf", 2], "conf must be a number from 0 to 1"),
        (["--split", "test"], "has no `test`"),
        (["--name", "a/b"], "plain name"),
    ],
)
def test_wrong_options_cost_one_sentence_and_leave_nothing(
    words: list[object], sentence: str, evaluate: Callable[..., Any], tmp_path: Path
) -> None:
    outcome = evaluate(*words)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_detections_that_are_there_already_score_the_same(
    evaluate: Callable[..., Any], edgedet: Callable[..., Any], data: Path
) -> None:
    ran = json.loads(evaluate("--json", "--save-json", "--name", "ran").out)
    outcome = edgedet(
        *("eval", "--predictions", "runs/eval/ran/predictions.json", "--data", data),
        *("--json", "--baseline", "runs/eval/ran/metrics.json"),
    )
    content = json.loads(outcome.out)
    assert outcome.code == 0
    assert content["speed"] == {}
    assert "model" not in content
    for key in ("metrics", "per_class", "per_size", "confusion_matrix", "errors", "confidence"):
        assert content[key] == ran[key]
    changes = content["comparison"]["metrics"]
    assert changes["AP50"] == pytest.approx({"before": 1, "after": 1, "difference": 0})
    assert changes["APl"] == {"before": None, "after": None, "difference": None}
    assert content["comparison"]["remarks"] == []


def test_without_a_model_the_terminal_names_no_speed(
    evaluate: Callable[..., Any], edgedet: Callable[..., Any], data: Path
) -> None:
    evaluate("--save-json", "--name", "ran")
    words = ["eval", "--predictions", "runs/eval/ran/predictions.json", "--data", data]
    lines = edgedet(*words, "--baseline", "runs/eval/ran").out.splitlines()
    assert "mean ms" not in lines[-4]
    assert lines[-3].startswith("best confidence 0.")
    assert lines[-2] == "report: runs/eval/exp/report.html"
    assert lines[-1] == f"next: edgedet data check {data}"
    assert any("Against the baseline" in line for line in lines)


def test_limit_leaves_out_detections_on_other_images(
    evaluate: Callable[..., Any], edgedet: Callable[..., Any], data: Path
) -> None:
    evaluate("--save-json", "--name", "ran")
    words = ["eval", "--predictions", "runs/eval/ran/predictions.json", "--data", data, "--json"]
    content = json.loads(edgedet(*words, "--limit", 1).out)
    assert (content["images"], content["truths"]) == (1, 2)
    assert content["metrics"]["AP50"] == pytest.approx(1)


def test_a_damaged_picture_is_named_and_nothing_is_left(
    evaluate: Callable[..., Any], tmp_path: Path
) -> None:
    picture = tmp_path / "images" / "7.png"
    picture.write_bytes(picture.read_bytes()[:60])
    outcome = evaluate()
    assert outcome.code == 2
    assert "7.png" in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "runs").exists()
