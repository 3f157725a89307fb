"""The memory that many calls take, and results among threads that share a detector."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgedet.benchmarks import light_install
from edgedet.benchmarks.endurance import (
    differing_among_threads,
    growth,
    memory_over_calls,
    pictures,
    resident_bytes,
)
from edgedet.runtime.detector import Detector

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "runtime" / "data" / "blocks-int8.tflite"
BUNDLED = ROOT / "edgedet" / "assets" / "digits-m0-int8.tflite"


def test_threads_that_share_a_detector_find_what_one_finds() -> None:
    with Detector(BUNDLED, threads=1) as detector:
        images = pictures(4)
        assert len(detector.detect(images[0])) > 0
        assert differing_among_threads(detector, images, threads=8, each=6) == 0


def test_a_detector_that_mixes_threads_up_is_noticed() -> None:
    calls = 0

    def detect(image: Any) -> Any:
        nonlocal calls
        calls += 1
        score = 1.0 if calls > 10 else 0.0
        return SimpleNamespace(
            xyxy=np.zeros((1, 4)), confidence=np.full(1, score), class_id=np.zeros(1)
        )

    images = [np.zeros((2, 2, 3), np.uint8)] * 2
    assert differing_among_threads(SimpleNamespace(detect=detect), images, 2, 6) == 4


def test_what_a_thread_meets_is_raised() -> None:
    calls = 0

    def detect(image: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise RuntimeError("closed")
        return SimpleNamespace(xyxy=np.zeros(1), confidence=np.zeros(1), class_id=np.zeros(1))

    images = [np.zeros((2, 2, 3), np.uint8)] * 2
    with pytest.raises(RuntimeError, match="closed"):
        differing_among_threads(SimpleNamespace(detect=detect), images, 2, 5)


def test_memory_is_looked_at_twenty_times_and_growth_counts_from_a_tenth_on() -> None:
    memory = iter([100, 500, *range(500, 520)])
    seen: list[Any] = []
    detector = SimpleNamespace(detect=seen.append)
    image = np.zeros((2, 2, 3), np.uint8)
    found = memory_over_calls(detector, [image], 200, resident=lambda: next(memory))
    assert len(seen) == 200
    assert [number for number, _ in found] == list(range(0, 201, 10))
    # After 20 of 200 calls 500, after all 518.
    assert growth(found) == 18


def test_few_calls_are_enough_to_look() -> None:
    detector = SimpleNamespace(detect=lambda image: None)
    found = memory_over_calls(detector, [np.zeros(1, np.uint8)], 3, resident=lambda: 7)
    assert [number for number, _ in found] == [0, 1, 2, 3]
    assert growth(found) == 0


def test_a_system_that_does_not_tell_gives_nothing() -> None:
    detector = SimpleNamespace(detect=lambda image: None)
    assert memory_over_calls(detector, [np.zeros(1, np.uint8)], 3, resident=lambda: None) == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only")
def test_resident_memory_grows_by_what_is_taken() -> None:
    before = resident_bytes()
    taken = np.ones(2**26, np.uint8)
    after = resident_bytes()
    assert before is not None
    assert after is not None
    assert after - before > 0.9 * taken.nbytes


def test_the_script_prints_the_growth_and_the_comparison() -> None:
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "benchmarks" / "endurance.py",
            MODEL,
            *("--calls", "40", "--threads-at-once", "2", "--each", "3"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "growth after the first tenth: " in done.stdout
    assert done.stdout.splitlines()[-1] == "2 threads x 3: 0 of 6 differ"


def test_a_wheel_is_weighed_without_its_model(tmp_path: Path) -> None:
    path = tmp_path / "edgedet-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("edgedet/__init__.py", b"x" * 1000)
        archive.writestr("edgedet/assets/m0.tflite", b"x" * 50_000)
    whole, bare = light_install.wheel_bytes(path)
    assert whole == path.stat().st_size
    assert whole - bare == 50_000


def test_the_runtime_dependencies_are_followed_without_extras() -> None:
    names = light_install.runtime_distributions()
    assert {"numpy", "pillow", "typer", "rich", "ai-edge-litert", "pygments"} <= set(names)
    assert {"edgedet", "keras", "pytest", "openvino"}.isdisjoint(names)
    assert light_install.installed_bytes("rich") > 100_000


def test_wheels_of_a_directory_are_listed_by_their_normal_names(tmp_path: Path) -> None:
    (tmp_path / "ai_edge_litert-2.3.0-cp311-none-any.whl").write_bytes(bytes(7))
    (tmp_path / "notes.txt").write_bytes(bytes(9))
    assert light_install.wheels_in(tmp_path) == {"ai-edge-litert": 7}


def test_the_install_script_prints_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    light_install.main(["--runs", "1"])
    out = capsys.readouterr().out
    for figure in ("import edgedet: median", "resident after loading", "together"):
        assert figure in out
