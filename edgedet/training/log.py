"""`log.jsonl`: one JSON object for each step of a run; and the same for TensorBoard."""

from __future__ import annotations

import importlib
import json
import os
import time
from pathlib import Path
from typing import Any

import keras

from edgedet.errors import MissingDependencyError
from edgedet.files import write_bytes


class StepLog:
    """Appends the steps of a run to a file, and to TensorBoard's events if wanted.

    Args:
        path: the `.jsonl` file.
        after: steps to keep of an earlier part of the run; later lines belong to work that was
            lost with the process and is done again.
        events: directory of TensorBoard's event files, or None.

    Raises:
        MissingDependencyError: events are wanted and tensorboard is not installed.
    """

    def __init__(self, path: Path, *, after: int = 0, events: Path | None = None) -> None:
        self._writer = _event_writer(events) if events is not None else None
        _keep_first(path, after)
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Append the values of one step."""
        row = {"step": step, **values, "time": round(time.time(), 3)}
        self._file.write(json.dumps(row) + "\n")
        if self._writer is not None:
            self._write_events(step, values)

    def write_metrics(self, step: int, metrics: dict[str, Any]) -> None:
        """Metrics of an epoch, for TensorBoard alone: `results.csv` has them otherwise."""
        if self._writer is not None:
            self._write_events(step, {f"val/{name}": value for name, value in metrics.items()})

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._file.flush()
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()

    def _write_events(self, step: int, values: dict[str, Any]) -> None:
        summary = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        event = importlib.import_module("tensorboard.compat.proto.event_pb2")
        entries = [
            summary.Summary.Value(tag=name, simple_value=float(value))
            for name, value in values.items()
            if isinstance(value, (int, float)) and name != "epoch"
        ]
        self._writer.add_event(  # type: ignore[union-attr]
            event.Event(wall_time=time.time(), step=step, summary=summary.Summary(value=entries))
        )


def device_memory() -> int | None:
    """Bytes in use on the first device of the JAX backend; None where nobody counts them."""
    if keras.backend.backend() != "jax":
        return None
    jax = importlib.import_module("jax")
    counted = jax.local_devices()[0].memory_stats() or {}
    used = counted.get("peak_bytes_in_use", counted.get("bytes_in_use"))
    return None if used is None else int(used)


def _event_writer(directory: Path) -> Any:
    try:
        module = importlib.import_module("tensorboard.summary.writer.event_file_writer")
    except ImportError:
        raise MissingDependencyError(
            "--tensorboard needs tensorboard; install it with `pip install tensorboard`."
        ) from None
    return module.EventFileWriter(os.fspath(directory))


def _keep_first(path: Path, steps: int) -> None:
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            row = json.loads(line)
            earlier = row["step"] <= steps
        except (ValueError, KeyError, TypeError):
            continue  # a killed process may leave half a line
        if earlier and line.endswith(b"\n"):
            kept.append(line)
    write_bytes(path, b"".join(kept))
