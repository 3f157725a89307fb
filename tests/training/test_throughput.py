"""`edgedet train --benchmark`: what it times, and that it leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedet.data.dataset import DetectionDataset
from edgedet.errors import InvalidInputError
from edgedet.models import preset_spec
from edgedet.training import Execution, TrainingOptions
from edgedet.training.throughput import WARMUP, measure

SPEC = preset_spec("efficientdet-d0", ["a", "b"], size=128)


def test_steps_pipeline_and_both_are_timed(small: None, digits: DetectionDataset) -> None:
    told: list[tuple[str, int, int]] = []
    spec = preset_spec("efficientdet-d0", digits.labels, digits.category_ids, size=128)
    result = measure(
        spec,
        TrainingOptions(batch_size=4),
        Execution(),
        3,
        dataset=digits,
        progress=lambda *words: told.append(words),
    )
    for name in ("step", "pipeline"):
        assert result[f"{name}_images_per_second"] > 0
    # Together they can't be much faster than either.
    slower = min(result["step_images_per_second"], result["pipeline_images_per_second"])
    assert 0 < result["images_per_second"] < 5 * slower
    assert result["batch"] == 4
    assert {name for name, *_ in told} == {"step", "pipeline", "both"}
    assert ("both", WARMUP + 3, WARMUP + 3) in told


def test_without_data_the_step_alone_is_timed(small: None) -> None:
    result = measure(SPEC, TrainingOptions(batch_size=2), Execution(), 2)
    assert result["step_images_per_second"] == pytest.approx(2 / result["step_seconds"], rel=1e-2)
    assert "images_per_second" not in result


def test_fewer_than_one_step_are_refused(small: None) -> None:
    with pytest.raises(InvalidInputError, match="steps to time"):
        measure(SPEC, TrainingOptions(), Execution(), 0)


def test_the_command_prints_the_benchmark_and_leaves_nothing(
    small: None, edgedet: Callable[..., Any], tmp_path: Path
) -> None:
    words = ("train", "--benchmark", 2, "--imgsz", 128, "--batch", 2)
    code, out, _ = edgedet(*words, "--json")
    assert code == 0
    assert json.loads(out)["model"] == "eff-spinenet-m0"
    code, out, _ = edgedet(*words)
    assert code == 0
    assert "step alone" in out
    assert list(tmp_path.iterdir()) == []
