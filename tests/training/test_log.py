"""The log of a run's steps: what a killed process leaves is cut to what the state knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgedet.errors import MissingDependencyError
from edgedet.training.log import StepLog


def _steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_a_resumed_log_goes_on_after_the_saved_step(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = StepLog(path)
    for step in range(1, 6):
        log.write(step, {"loss": 1.0})
    log.close()
    with path.open("a") as file:
        file.write('{"step": 6, "lo')  # killed here
    log = StepLog(path, after=3)
    log.write(4, {"loss": 2.0})
    log.close()
    assert _steps(path) == [1, 2, 3, 4]
    assert json.loads(path.read_text().splitlines()[3])["loss"] == 2.0


@pytest.mark.parametrize("line", ["", "null", "[1]", '{"loss": 1}', '{"step": "x"}', "\0"])
def test_lines_that_are_no_steps_are_left_out(line: str, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    StepLog(path, after=2).close()
    assert _steps(path) == [1, 2]


def test_a_new_run_starts_an_empty_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n')
    StepLog(path).close()
    assert path.read_text() == ""


def test_tensorboard_reads_the_events(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", exc_type=ImportError
    )
    log = StepLog(tmp_path / "log.jsonl", events=tmp_path / "events")
    log.write(1, {"loss": 2.5, "epoch": 1, "device_memory": None})
    log.write(2, {"loss": 1.5, "epoch": 1, "device_memory": None})
    log.write_metrics(2, {"AP": 0.25})
    log.close()
    found = accumulator.EventAccumulator(str(tmp_path / "events"))
    found.Reload()
    assert sorted(found.Tags()["scalars"]) == ["loss", "val/AP"]
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 2.5), (2, 1.5)]
    assert found.Scalars("val/AP")[0].value == 0.25


def test_without_tensorboard_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        __import__("sys").modules, "tensorboard.summary.writer.event_file_writer", None
    )
    with pytest.raises(MissingDependencyError, match="pip install tensorboard"):
        StepLog(tmp_path / "log.jsonl", events=tmp_path / "events")
    assert not (tmp_path / "log.jsonl").exists()


def test_a_last_line_without_its_end_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}')
    log = StepLog(path, after=2)
    log.write(3, {"loss": 1.0})
    log.close()
    assert _steps(path) == [1, 3]
