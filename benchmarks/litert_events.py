"""LiteRT's own profiler, through the C interface of its library: run as a script, prints JSON.

    python benchmarks/litert_events.py MODEL THREADS RUNS

LiteRT's Python packages offer no profiler. The library of ai-edge-litert 2 exports one
(litert/c/litert_profiler.h), which XNNPACK fills with the time of each of its operators. That
interface is young and its argument lists have changed between releases, and a wrong one ends a
process: so it is only ever called in a process of its own, by `edgedet.benchmarks.operator_times`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgedet.archive import read_model
from edgedet.benchmarks.timing_statistics import midmean

_WARMUP = 10
_CPU = 1
_WRITE = 1

# Sizes of an event in 8-byte words, with two or three numbers in each of its two notes of memory.
_EVENT_WORDS = (13, 11)
_MOST_EVENT_WORDS = 24

# enum tflite::Profiler::EventType
_DEFAULT, _OPERATOR, _DELEGATE_OPERATOR, _DELEGATE_PROFILED = 1, 2, 4, 8
_INVOKE = ("Invoke", _DEFAULT)
_KNOWN_TYPES = {1 << bit for bit in range(9)}

_Handle = ctypes.c_void_p


class LiteRt:
    """The C functions of LiteRT's library; a status other than 0 raises `RuntimeError`."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("ai_edge_litert")
        if spec is None or not spec.submodule_search_locations:
            raise RuntimeError("ai-edge-litert is not installed")
        path = Path(spec.submodule_search_locations[0]) / "libLiteRt.so"
        if not path.is_file():
            raise RuntimeError("this release of ai-edge-litert has no library with a profiler")
        self._library = ctypes.CDLL(str(path))

    def __call__(self, name: str, *arguments: Any) -> None:
        """Call a function for its effect."""
        function = getattr(self._library, f"LiteRt{name}", None)
        if function is None:
            raise RuntimeError(f"this release of ai-edge-litert has no LiteRt{name}")
        function.restype = ctypes.c_int
        if status := function(*arguments):
            raise RuntimeError(f"LiteRt{name} failed with status {status}")

    def made(self, name: str, *arguments: Any) -> Any:
        """Call a function that writes a handle to its last argument."""
        handle = _Handle()
        self(name, *arguments, ctypes.byref(handle))
        return handle


class ProfiledModel:
    """A compiled model with profiling on."""

    def __init__(self, model: bytes, threads: int) -> None:
        self._api = api = LiteRt()
        self._kept: list[Any] = [ctypes.create_string_buffer(model, len(model))]
        self._environment = api.made("CreateEnvironment", 0, None)
        self._model = api.made(
            "CreateModelFromBuffer", self._environment, self._kept[0], ctypes.c_size_t(len(model))
        )
        options = api.made("CreateOptions")
        api("SetOptionsHardwareAccelerators", options, _CPU)
        self._add(options, "runtime_options_string", "enable_profiling = true\n")
        self._add(options, "xnnpack", f"num_threads = {threads}\n")
        self._compiled = api.made("CreateCompiledModel", self._environment, self._model, options)
        self._signature = api.made("GetModelSignature", self._model, ctypes.c_size_t(0))
        self._inputs, self._outputs = self._buffers("Input"), self._buffers("Output")
        self._profiler = api.made("CompiledModelGetProfiler", self._compiled)

    def fill_input(self) -> None:
        """Write small numbers of mixed sign to the input, whatever its type."""
        size, place = ctypes.c_size_t(), _Handle()
        buffer = _Handle(self._inputs[0])
        self._api("GetTensorBufferPackedSize", buffer, ctypes.byref(size))
        self._api("LockTensorBuffer", buffer, ctypes.byref(place), _WRITE)
        # 0x3f3f3f3f is 0.747 as float32 and 0xbfbfbfbf is -1.5: no denormals, no NaN.
        pattern = b"\x3f\x3f\x3f\x3f\xbf\xbf\xbf\xbf"
        assert place.value is not None
        ctypes.memmove(place.value, pattern * (size.value // 8 + 1), size.value)
        self._api("UnlockTensorBuffer", buffer)

    def run(self) -> None:
        """One inference."""
        self._api(
            "RunCompiledModel",
            self._compiled,
            ctypes.c_size_t(0),
            ctypes.c_size_t(len(self._inputs)),
            self._inputs,
            ctypes.c_size_t(len(self._outputs)),
            self._outputs,
        )

    def events(self) -> list[tuple[str, int, int, int]]:
        """One inference's events: what, kind of event, microseconds, number of the operator."""
        self._api("ResetProfiler", self._profiler)
        self._api("StartProfiler", self._profiler)
        self.run()
        self._api("StopProfiler", self._profiler)
        count = ctypes.c_int()
        self._api("GetNumProfilerEvents", self._profiler, ctypes.byref(count))
        if not count.value:
            raise RuntimeError("LiteRT's profiler recorded nothing")
        words = (ctypes.c_uint64 * (count.value * _MOST_EVENT_WORDS))()
        self._api("GetProfilerEvents", self._profiler, count.value, words)
        return read_events(list(words), count.value)

    def _add(self, options: Any, identifier: str, settings: str) -> None:
        keep = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda payload: None)
        payload = ctypes.create_string_buffer(settings.encode())
        self._kept += [keep, payload]
        made = self._api.made("CreateOpaqueOptions", identifier.encode(), payload, keep)
        self._api("AddOpaqueOptions", options, made)

    def _buffers(self, kind: str) -> Any:
        count = ctypes.c_size_t()
        self._api(f"GetNumSignature{kind}s", self._signature, ctypes.byref(count))
        buffers = (_Handle * count.value)()
        for index in range(count.value):
            number = ctypes.c_size_t(index)
            tensor = self._api.made(f"GetSignature{kind}TensorByIndex", self._signature, number)
            # An element type, a rank, then up to 8 sides; a batch left open is run as 1.
            described = (ctypes.c_int32 * 64)()
            self._api("GetRankedTensorType", tensor, described)
            described[2:10] = [side if side >= 0 else 1 for side in described[2:10]]
            wanted = self._api.made(
                f"GetCompiledModel{kind}BufferRequirements",
                self._compiled,
                ctypes.c_size_t(0),
                number,
            )
            buffers[index] = self._api.made(
                "CreateManagedTensorBufferFromRequirements", self._environment, described, wanted
            ).value
        return buffers


def read_events(words: Sequence[int], count: int) -> list[tuple[str, int, int, int]]:
    """Events out of LiteRT's array: a name, a type, a start, a duration, notes, and a number.

    Raises:
        RuntimeError: the array is of another layout than those known.
    """
    for size in _EVENT_WORDS:
        rows = [words[size * row : size * (row + 1)] for row in range(count)]
        # The type is 4 bytes wide.
        if all(row[0] and row[1] & 0xFFFFFFFF in _KNOWN_TYPES for row in rows):
            return [
                (
                    ctypes.string_at(row[0]).decode("utf-8", "replace"),
                    row[1] & 0xFFFFFFFF,
                    row[3],
                    row[size - 3],
                )
                for row in rows
            ]
    raise RuntimeError("this release of ai-edge-litert lays its events out in an unknown way")


def measure(model: bytes, threads: int, runs: int) -> dict[str, Any]:
    """Microseconds of each operator, the midmean of `runs` inferences.

    Returns:
        `invoke_us` of the whole, and `operators`: name, number of the TFLite operator or None for
        an operator of XNNPACK, and microseconds, in the order of execution.

    Raises:
        RuntimeError: this release can't be profiled.
    """
    profiled = ProfiledModel(model, threads)
    profiled.fill_input()
    for _ in range(_WARMUP):
        profiled.run()
    found: list[tuple[int, list[int]]] = []
    operators: list[tuple[str, int | None]] = []
    for _ in range(runs):
        events = profiled.events()
        rows = [
            (name, number if kind == _OPERATOR else None, spent)
            for name, kind, spent, number in events
            if kind in (_OPERATOR, _DELEGATE_OPERATOR, _DELEGATE_PROFILED)
        ]
        names = [row[:2] for row in rows]
        if found and names != operators:
            raise RuntimeError("LiteRT's profiler recorded different operators from run to run")
        operators = names
        whole = sum(spent for name, kind, spent, _ in events if (name, kind) == _INVOKE)
        found.append((whole, [row[2] for row in rows]))
    times = [midmean(column) for column in zip(*(spent for _, spent in found), strict=True)]
    return {
        "invoke_us": midmean([whole for whole, _ in found]),
        "operators": [(*one, spent) for one, spent in zip(operators, times, strict=True)],
    }


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    path, threads, runs = arguments
    try:
        found = measure(read_model(Path(path))[1], int(threads), int(runs))
    except RuntimeError as error:
        found = {"error": str(error)}
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
