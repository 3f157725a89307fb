"""What the native runtime is measured beside: other people's packages, found or found missing."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

PEERS_LIBRARY = "libedgedet_peers.so"
ALLOCATIONS_LIBRARY = "libedgedet_allocation_peak.so"
INSTRUCTIONS_PLUGIN = "libedgedet_count_instructions.so"
WORKLOADS_PROGRAM = "edgedet_workloads"


class Peers:
    """Looks for each peer once, and keeps a sentence about each that is missing.

    Args:
        build: CMake's build directory with EDGEDET_BUILD_BENCHMARKS=ON.
    """

    def __init__(self, build: Path | None) -> None:
        self.build = build
        self.missing: list[str] = []
        self._found: dict[str, Any] = {}

    def opencv(self) -> Any:
        """OpenCV on one thread, or None."""
        found = self._package("cv2", "OpenCV", "opencv-python-headless")
        if found is not None:
            found.setNumThreads(1)
        return found

    def openvino(self) -> Any:
        """The package openvino, or None."""
        return self._package("openvino", "OpenVINO", "openvino")

    def litert(self) -> Any:
        """LiteRT's `Interpreter`, or None."""
        module = self._package("ai_edge_litert.interpreter", "LiteRT", "ai-edge-litert")
        return None if module is None else module.Interpreter

    def torchvision(self) -> Callable[[FloatArray, FloatArray, float], IntArray] | None:
        """The algorithm of torchvision's CPU nms, or None."""
        path = self.built(PEERS_LIBRARY)
        if path is None:
            return None
        function = ctypes.CDLL(str(path)).edgedet_peer_torchvision_nms
        function.restype = ctypes.c_int64
        function.argtypes = [
            *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_void_p)
        ]

        def nms(boxes: FloatArray, scores: FloatArray, iou_threshold: float) -> IntArray:
            kept = np.empty(len(scores), np.int64)
            count = function(
                boxes.ctypes.data, scores.ctypes.data, len(scores), iou_threshold, kept.ctypes.data
            )
            return kept[:count]

        return nms

    def built(
        self, name: str, directory: str = "native/bench", package: str | None = None
    ) -> Path | None:
        """The path of something that CMake builds, where it has a Debian package, or None."""
        path = None if self.build is None else self.build / directory / name
        if path is not None and path.is_file():
            return path.resolve()
        needed = "" if package is None else f"install the Debian package {package} and "
        self.miss(f"{name} is missing: {needed}run `make bench-native`, which builds it.")
        return None

    def _package(self, module: str, name: str, package: str) -> Any:
        if module not in self._found:
            try:
                self._found[module] = importlib.import_module(module)
            except ImportError:
                self._found[module] = None
                self.miss(f"{name} is missing: install it with `pip install {package}`.")
        return self._found[module]

    def miss(self, sentence: str) -> None:
        """Keep the sentence, once."""
        if sentence not in self.missing:
            self.missing.append(sentence)
