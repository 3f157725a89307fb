"""What `edgedet doctor` says of installations in order and out of order."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedet import cli
from edgedet.benchmarks import fingerprint, health
from edgedet.benchmarks.health import differences, examine

Edgedet = Callable[..., Any]


def by_name(checks: list[health.Check]) -> dict[str, health.Check]:
    return {check.name: check for check in checks}


def test_this_installation_is_healthy(edgedet: Edgedet) -> None:
    outcome = edgedet("doctor")
    assert outcome.code == 0, outcome.out
    assert "as expected" in outcome.out
    assert "kernels for" in outcome.out
    assert outcome.out.splitlines()[-1] == "next: edgedet demo"


def test_json_is_one_object_with_every_check(edgedet: Edgedet) -> None:
    outcome = edgedet("doctor", "--json")
    content = json.loads(outcome.out)
    assert outcome.code == 0
    assert content["healthy"] is True
    names = [check["name"] for check in content["checks"]]
    for name in ("Python", "numpy", "native module", "processor", "LiteRT", "self-check"):
        assert name in names
    assert {check["status"] for check in content["checks"]} <= {"ok", "note"}


def test_the_bundled_model_still_finds_what_was_written_down() -> None:
    """After training it anew: python -m edgedet.benchmarks.health writes it down."""
    expected = json.loads((health._ASSETS / "scene-detections.json").read_text())
    assert differences(health.detections_of_bundled_model(), expected) == []
    assert len(expected) > 5


def test_wrong_results_are_broken(edgedet: Edgedet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "detections_of_bundled_model", list)
    outcome = edgedet("doctor")
    assert outcome.code == 1
    assert "is not found" in outcome.out
    assert outcome.out.splitlines()[-1] == "broken: self-check"


ENTRY = {"label": "7", "confidence": 0.9, "box": [10.0, 10.0, 50.0, 50.0]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, 0),
        ({"box": [10.5, 10.0, 50.0, 50.5]}, 0),
        ({"confidence": 0.85}, 0),
        ({"box": [20.0, 10.0, 60.0, 50.0]}, 2),
        ({"label": "1"}, 2),
        ({"confidence": 0.6}, 2),
    ],
)
def test_rounding_is_tolerated_and_nothing_else(change: dict[str, Any], told: int) -> None:
    assert len(differences([{**ENTRY, **change}], [ENTRY])) == told


def test_detections_near_the_threshold_may_come_and_go() -> None:
    faint = {**ENTRY, "confidence": 0.3}
    assert differences([], [faint]) == []
    assert differences([faint], []) == []
    assert differences([ENTRY, ENTRY], [ENTRY]) != []


def test_missing_engines_and_extras_come_with_their_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package in ("openvino", "onnxruntime", "matplotlib"):
        monkeypatch.setitem(sys.modules, package, None)
    checks = by_name(examine(cli.EXTRAS))
    assert checks["OpenVINO"].status == "note"
    assert checks["OpenVINO"].remedy == 'pip install "edgedet[openvino]"'
    assert checks["ONNX Runtime"].remedy == 'pip install "edgedet[onnx]"'
    assert checks["extra eval"].told == "matplotlib not installed"
    assert checks["extra onnx"].remedy == 'pip install "edgedet[onnx]"'


def test_no_engine_for_tflite_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("ai_edge_litert", "tflite_runtime", "tensorflow"):
        monkeypatch.setitem(sys.modules, package, None)
    check = by_name(health._engines())["LiteRT"]
    assert (check.status, check.remedy) == ("broken", "pip install ai-edge-litert")


def test_an_engine_that_cannot_be_imported_is_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libgomp.so.1: missing')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    check = by_name(health._engines())["ONNX Runtime"]
    assert check.status == "broken"
    assert "libgomp.so.1: missing" in check.told


def test_a_broken_part_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def native() -> list[health.Check]:
        raise ImportError("cannot import name '_native'")

    monkeypatch.setattr(health, "_native", native)
    checks = by_name(examine(cli.EXTRAS))
    assert checks["native module"].status == "broken"
    assert checks["native module"].told == "ImportError: cannot import name '_native'"
    assert checks["self-check"].status == "ok"


@pytest.mark.parametrize(
    ("machine", "status", "remedy"),
    [
        ({"isa": ["avx2", "avx512_vnni"], "governor": "performance"}, "ok", ""),
        ({"isa": ["avx2"], "governor": None}, "note", "no instructions for int8"),
        ({"isa": [], "governor": None}, "ok", ""),
        ({"isa": ["asimddp"], "governor": "powersave"}, "note", "cpupower"),
    ],
)
def test_processors(
    machine: dict[str, Any], status: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "fingerprint", lambda: {"cpu": "c", **machine})
    (check,) = health._processor()
    assert check.status == status
    assert remedy in check.remedy


def test_variables_that_change_something_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in health._VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert health._environment()[0].status == "ok"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert health._environment()[0].told == "OMP_NUM_THREADS=1"
    monkeypatch.setenv("EDGEDET_LITERT_DELEGATE", "/missing.so")
    assert health._environment()[0].status == "broken"


def test_a_temporary_directory_that_cannot_be_written_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_space() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(health.tempfile, "TemporaryFile", no_space)
    check = by_name(health._directories())["temporary files"]
    assert check.status == "broken"
    assert "No space left" in check.told
