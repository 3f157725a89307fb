"""`edgedet benchmark` and its parts with a real model; times themselves are not judged."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgedet.benchmarks.cold_start import measure_cold_start
from edgedet.errors import EdgeDetError

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "runtime" / "data" / "blocks-int8.tflite"
FLOAT_MODEL = MODEL.with_name("blocks-float32.tflite")


@pytest.fixture
def benchmark(tmp_path: Path, edgedet: Callable[..., Any]) -> Callable[..., Any]:
    """Runs `edgedet benchmark` with few runs on a picture with one object."""
    picture = np.full((96, 128, 3), 128, np.uint8)
    picture[32:48, 32:48] = (255, 0, 0)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    options = ("--runs", 10, "--warmup", 1, "--source", "picture.png")
    return lambda *words: edgedet("benchmark", *options, *words)


def test_json_is_one_object_with_every_figure(
    benchmark: Callable[..., Any], tmp_path: Path
) -> None:
    outcome = benchmark(MODEL, FLOAT_MODEL, "--threads", "1,2", "--json")
    assert outcome.code == 0
    content = json.loads(outcome.out)
    measured = [(Path(entry["file"]).name, entry["threads"]) for entry in content["results"]]
    assert measured == [
        (MODEL.name, 1),
        (MODEL.name, 2),
        (FLOAT_MODEL.name, 1),
        (FLOAT_MODEL.name, 2),
    ]
    for entry in content["results"]:
        steps = [entry[stage]["p50"] for stage in ("preprocess", "inference", "postprocess")]
        assert all(step > 0 for step in steps)
        assert entry["total"]["mean"] >= sum(
            entry[stage]["mean"] for stage in ("preprocess", "inference", "postprocess")
        )
        assert entry["total"]["p50"] <= entry["total"]["p90"] <= entry["total"]["p99"]
        assert entry["cold_start"]["total"] > 0
        assert entry["engine"] == "litert"
        assert entry["detections"] == 1
    assert content["results"][0]["size_bytes"] == MODEL.stat().st_size
    assert (content["width"], content["height"], content["runs"]) == (128, 96, 10)
    assert content["machine"]["python"]
    assert json.loads((tmp_path / "runs/benchmark/exp/benchmark.json").read_text()) == content


def test_the_terminal_shows_each_step_and_the_next_command(
    benchmark: Callable[..., Any],
) -> None:
    outcome = benchmark(MODEL, "--threads", 1)
    steps = [line.split("│")[1].strip() for line in outcome.out.splitlines() if "│" in line]
    heading = f"{MODEL.name}, threads 1"
    assert steps == [heading, "preprocess", "inference", "postprocess", "total"]
    assert "cold start" in outcome.out
    assert outcome.out.splitlines()[-1] == f"next: edgedet benchmark {MODEL} --threads 1,2"


def test_a_csv_file_has_a_row_for_each_result(
    benchmark: Callable[..., Any], tmp_path: Path
) -> None:
    assert benchmark(MODEL, FLOAT_MODEL, "--threads", "1,2").code == 0
    directory = tmp_path / "runs/benchmark/exp"
    content = json.loads((directory / "benchmark.json").read_text())
    with (directory / "benchmark.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(Path(row["file"]).name, row["threads"]) for row in rows] == [
        (MODEL.name, "1"),
        (MODEL.name, "2"),
        (FLOAT_MODEL.name, "1"),
        (FLOAT_MODEL.name, "2"),
    ]
    for row, entry in zip(rows, content["results"], strict=True):
        assert float(row["total_p95_ms"]) == entry["total"]["p95"]
        assert float(row["inference_spread_ms"]) == entry["inference"]["spread"]
        assert float(row["cold_total_ms"]) == entry["cold_start"]["total"]
        assert int(row["multiply_adds"]) == 1806
        assert row["ap"] == row["sustained_p50_ms"] == ""


def test_a_sustained_run_and_a_profile_are_asked_for(
    benchmark: Callable[..., Any], tmp_path: Path
) -> None:
    outcome = benchmark(MODEL, "--threads", "1,2", "--minutes", "0.02", "--profile")
    assert outcome.code == 0
    assert len(re.findall(r"minutes, [\d.]+ pictures/s, p50", outcome.out)) == 2
    assert "G multiply-adds/s" in outcome.out
    content = json.loads((tmp_path / "runs/benchmark/exp/benchmark.json").read_text())
    for entry in content["results"]:
        assert entry["sustained"]["windows"][0]["calls"] > 0
    (profile,) = content["profiles"]
    assert profile["threads"] == 1
    assert sum(one["multiply_adds"] for one in profile["operators"]) == 1806
    page = (tmp_path / "runs/benchmark/exp/benchmark.html").read_text()
    for title in ("Latency", "Threads", "Sustained run", "Where the time goes", "Machine"):
        assert title in page


def test_a_profile_that_fails_does_not_lose_the_measurement(
    benchmark: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgedet.benchmarks import operator_times

    def profile(file: Path, *, threads: int) -> None:
        raise EdgeDetError(f"{file} can't be profiled.")

    monkeypatch.setattr(operator_times, "profile", profile)
    outcome = benchmark(MODEL, "--threads", 1, "--profile", "--json")
    assert outcome.code == 0
    assert "note: " in outcome.err
    assert json.loads(outcome.out)["profiles"] == []


def test_accuracy_is_what_eval_measures(
    benchmark: Callable[..., Any], edgedet: Callable[..., Any], tmp_path: Path
) -> None:
    pytest.importorskip("pycocotools")
    data = write_coloured_squares(tmp_path)
    outcome = benchmark(MODEL, "--threads", "1,2", "--data", data, "--json")
    assert outcome.code == 0
    scores = [entry["accuracy"] for entry in json.loads(outcome.out)["results"]]
    evaluated = edgedet("eval", "--model", MODEL, "--data", data, "--json")
    expected = json.loads(evaluated.out)["metrics"]["AP"]
    assert [score["AP"] for score in scores] == pytest.approx([expected] * 2, abs=1e-5)
    assert expected > 0
    assert (scores[0]["images"], scores[0]["split"]) == (2, "val")
    page = (tmp_path / "runs/benchmark/exp/benchmark.html").read_text()
    assert "Accuracy and latency" in page


def write_coloured_squares(directory: Path) -> Path:
    """A data set of two pictures with a red square each; its data.yaml."""
    images, labels = directory / "images" / "val", directory / "labels" / "val"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for name, left in (("a", 32), ("b", 64)):
        picture = np.full((128, 128, 3), 128, np.uint8)
        picture[32:48, left : left + 16] = (255, 0, 0)
        Image.fromarray(picture).save(images / f"{name}.png")
        (labels / f"{name}.txt").write_text(f"0 {(left + 8) / 128} {40 / 128} 0.125 0.125\n")
    data = directory / "data.yaml"
    data.write_text("train: images/val\nval: images/val\nnames: [red, green, blue]\n")
    return data


def test_the_page_stands_alone_and_escapes_names(
    benchmark: Callable[..., Any], tmp_path: Path
) -> None:
    named = tmp_path / "a<b>&.tflite"
    named.write_bytes(MODEL.read_bytes())
    assert benchmark(named, "--threads", 1).code == 0
    page = (tmp_path / "runs/benchmark/exp/benchmark.html").read_text()
    assert "a&lt;b&gt;&amp;.tflite" in page
    assert "a<b>" not in page
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"|@import|url\(', page) == []
    assert "prefers-color-scheme: dark" in page


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "There is no model file to measure"),
        ([MODEL, "--minutes", "0"], "minutes must be above 0"),
        ([MODEL, "--data", "missing.yaml"], "missing.yaml"),
        (["missing.tflite"], "missing.tflite"),
        ([MODEL, "--threads", "0"], "--threads must be numbers from 1 up"),
        ([MODEL, "--threads", "two"], "--threads must be numbers from 1 up"),
        ([MODEL, "--runs", "0"], "runs must be 1 or more"),
        ([MODEL, "--source", "missing.png"], "missing.png"),
        ([MODEL, "--name", "../x"], "plain name"),
    ],
)
def test_wrong_input_costs_one_sentence_and_leaves_nothing(
    words: list[object], sentence: str, benchmark: Callable[..., Any], tmp_path: Path
) -> None:
    outcome = benchmark(*words)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_cold_start_has_three_parts_and_a_peak_of_memory() -> None:
    found = measure_cold_start(MODEL, np.zeros((48, 64, 3), np.uint8), 1)
    assert min(found.import_ms, found.load_ms, found.first_detect_ms) > 0
    assert found.total_ms == found.import_ms + found.load_ms + found.first_detect_ms
    # More than Python with NumPy needs, less than a training framework would.
    assert found.peak_memory_bytes is None or 10 * 2**20 < found.peak_memory_bytes < 400 * 2**20


def test_a_failed_cold_start_names_the_file_and_the_reason() -> None:
    with pytest.raises(EdgeDetError, match=r"missing\.tflite: the cold start could not be meas"):
        measure_cold_start(Path("missing.tflite"), np.zeros((8, 8, 3), np.uint8), 1)


def test_the_overhead_script_prints_both_medians_and_their_ratio() -> None:
    script = ROOT / "benchmarks" / "detect_overhead.py"
    done = subprocess.run(
        [sys.executable, script, MODEL, "--threads", "1", "--runs", "5"],
        capture_output=True,
        text=True,
        check=True,
    )
    medians = dict(re.findall(r"^ *(\S.*?) +p50 +([\d.]+)", done.stdout, re.MULTILINE))
    assert list(medians) == [
        "preprocess",
        "inference",
        "postprocess",
        "Detector.detect, 640x480",
        "bare invoke",
    ]
    detect, invoke = float(medians["Detector.detect, 640x480"]), float(medians["bare invoke"])
    (ratio,) = re.findall(r"^ratio of the medians: ([\d.]+)", done.stdout, re.MULTILINE)
    assert float(ratio) == pytest.approx(detect / invoke, rel=0.05)


def test_the_overhead_script_refuses_a_missing_model_in_one_sentence() -> None:
    script = ROOT / "benchmarks" / "detect_overhead.py"
    done = subprocess.run(
        [sys.executable, script, "missing.tflite"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: There is no model file missing.tflite; check the path.\n"
