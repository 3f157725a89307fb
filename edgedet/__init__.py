"""Small object detectors for CPUs and phones: train, quantize, convert, run, measure.

The names below are imported on first use, so that `import edgedet` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgedet.errors import EdgeDetError
    from edgedet.runtime.detections import Detections
    from edgedet.runtime.detector import Detector
    from edgedet.spec import ModelSpec

__version__ = "0.1.0"

__all__ = ["Detections", "Detector", "EdgeDetError", "ModelSpec", "__version__"]

_HOMES = {
    "Detections": "edgedet.runtime.detections",
    "Detector": "edgedet.runtime.detector",
    "EdgeDetError": "edgedet.errors",
    "ModelSpec": "edgedet.spec",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
