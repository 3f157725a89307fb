"""Contenders as processes of their own: asked in turns, told apart, left out where they fail."""

from __future__ import annotations

import importlib.resources
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from edgedet.benchmarks.peers import __main__ as peers
from edgedet.benchmarks.peers.contenders import Contender, of_file, of_others
from edgedet.benchmarks.peers.turns import Worker, take_turns
from edgedet.errors import EdgeDetError, InvalidInputError

MODEL = Path(str(importlib.resources.files("edgedet") / "assets" / "digits-m0-int8.tflite"))


def test_a_file_is_run_by_edgedet_and_by_plain_litert(tmp_path: Path) -> None:
    ours, plain = of_file(MODEL)
    assert (ours.ours, plain.ours) == (True, False)
    assert ours.size == 256
    assert ours.network == "eff-spinenet-m0"
    assert 1e8 < (ours.multiply_adds or 0) < 2e8

    results, missing = peers.measure(
        [ours, plain], tmp_path, threads=1, conf=0.25, rounds=2, runs=1
    )
    assert not missing
    # Both letterbox, decode and suppress: what one finds, the other finds.
    assert results[0].boxes >= 8
    assert abs(results[0].boxes - results[1].boxes) <= 1
    table = peers.rows(results)
    assert {row[-1] for row in table if row[1].startswith("edgedet")} == {"1.00"}
    assert all(float(row[-2]) > 0 for row in table)


def test_a_contender_that_cannot_run_is_left_out(tmp_path: Path) -> None:
    missing_file = Contender(
        "none", "edgedet", 256, "edgedet", "edgedet_detector.py", {"model": "none.tflite"}
    )
    results, missing = peers.measure(
        [missing_file], tmp_path, threads=1, conf=0.25, rounds=1, runs=1
    )
    assert results == []
    (sentence,) = missing
    assert sentence.startswith("none, edgedet: edgedet_detector.py ended: ")
    assert "none.tflite" in sentence


def test_a_worker_ends_with_its_block(tmp_path: Path) -> None:
    picture = tmp_path / "picture.npy"
    np.save(picture, np.zeros((40, 60, 3), np.uint8))
    options = {
        "threads": 1, "picture": str(picture), "conf": 0.25, "iou": 0.5, "model": str(MODEL),
    }  # fmt: skip
    with Worker(Path(sys.executable), "edgedet_detector.py", options, os.environ) as worker:
        assert worker.facts["boxes"] == 0
        assert worker.facts["precision"] == "int8"
        (times,) = take_turns([worker], rounds=2, runs=3)
        assert len(times) == 6
    with pytest.raises((EdgeDetError, ValueError)):
        worker.run(1)


def test_others_come_at_our_sizes(tmp_path: Path) -> None:
    found = [(one.network, one.size) for one in of_others([384, 256, 256], tmp_path)]
    assert found.count(("yolo26n", 256)) == found.count(("yolo11n", 384)) == 3
    assert found[-1] == ("efficientdet-lite0", 320)
    assert all(one.published for one in of_others([256], tmp_path))


def test_files_that_nothing_runs(tmp_path: Path) -> None:
    renamed = tmp_path / "model.bin"
    renamed.write_bytes(MODEL.read_bytes())
    with pytest.raises(InvalidInputError, match=r"model\.bin"):
        of_file(renamed)
