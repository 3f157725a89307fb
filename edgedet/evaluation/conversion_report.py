"""What a conversion did to a model, as `report.html` and `report.json` beside its files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgedet.evaluation.html_conversion import conversion_page
from edgedet.files import replacing


def write_report(directory: str | os.PathLike[str], report: Mapping[str, Any]) -> None:
    """Write `report.html` and `report.json`; neither is touched unless both can be written.

    Args:
        directory: created where missing; files of an earlier report are replaced.
        report: JSON values. What isn't known is None or left out::

            source, model, created, data: of the conversion, as text
            budget: most AP that may be lost, in points of 100
            preparation: before and after, each with operators {kind: count} and macs
            baseline: AP, AP50, APs, APm, APl and per_class {label: AP} of the float model,
                fractions 0..1 as `EvaluationResult.metrics` has them, -1 without truth
            calibration: split, images, digest, pictures [path] and warnings [sentence]
            formats: one entry for each file:
                format, precision, file, bytes, operators {kind: count}
                metrics: as baseline; drop: AP lost, in points of 100
                attempts: step, settings, AP, drop, bytes, seconds and met of each
                outcome: why it stopped; met: whether within the budget
                heads: name, scale, zero_point, sqnr (dB) and correlation of each output
                layers: name, kind, sqnr (dB) and explanation, the worst first
                sensitivity: layer and loss
                latency: threads, p50_ms and p90_ms
                inference_precision: the type that the engine computes in

    Raises:
        EdgeDetError: a file can't be written.
    """
    directory = Path(directory)
    known = _finite(report)
    document = conversion_page(known)
    numbers = json.dumps(known, indent=1, allow_nan=False) + "\n"
    with (
        replacing(directory / "report.json") as json_file,
        replacing(directory / "report.html") as page,
    ):
        json_file.write_text(numbers, encoding="utf-8")
        page.write_bytes(document.encode("utf-8"))


def _finite(value: Any) -> Any:
    """The value with None for numbers that JSON doesn't have, and tuples as lists."""
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, os.PathLike) else value
