"""Where an inference's time goes: by operator, as the engines' own profilers tell it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.archive import read_model
from edgedet.benchmarks import tflite_nodes
from edgedet.benchmarks.blocks import UNNAMED, Block, block_path, block_tree
from edgedet.benchmarks.peak import measured_peak
from edgedet.benchmarks.timing_statistics import midmean
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.packages import import_openvino
from edgedet.runtime.cost import OPENVINO_KINDS, openvino_multiply_adds
from edgedet.runtime.detector import Detector

_ENGINES = ("litert", "openvino")
_RUNS = 40
_TIMEOUT_S = 600


@dataclass(frozen=True)
class OperatorTime:
    """One operator as the engine ran it.

    Attributes:
        layer: the network's name of it; empty where it isn't known.
        kind: the engine's name of what ran.
        path: the blocks it belongs to, outermost first.
        milliseconds: of one inference, the midmean of several.
        multiply_adds: of a convolution or dense layer, else 0.
    """

    layer: str
    kind: str
    path: tuple[str, ...]
    milliseconds: float
    multiply_adds: int


@dataclass(frozen=True)
class Profile:
    """Where the time of one file's inference goes.

    Attributes:
        file: the model file.
        threads: threads of the engine.
        engine: name of the engine.
        precision: type in which most convolutions multiply.
        run_ms: one whole inference while the profiler ran.
        peak: multiply-adds per second of the engine's best convolution on this machine.
        operators: in the order of execution.
        remark: what the reader should know about these figures; may be empty.
    """

    file: Path
    threads: int
    engine: str
    precision: str | None
    run_ms: float
    peak: float
    operators: tuple[OperatorTime, ...]
    remark: str = ""

    @property
    def between_ms(self) -> float:
        """Time of the inference that no operator accounts for."""
        return self.run_ms - sum(one.milliseconds for one in self.operators)

    def kinds(self) -> list[tuple[str, int, float, int]]:
        """(kind, operators, milliseconds, multiply-adds) of each kind, the longest first."""
        totals: dict[str, tuple[int, float, int]] = {}
        for one in self.operators:
            count, spent, work = totals.get(one.kind, (0, 0.0, 0))
            totals[one.kind] = (
                count + 1,
                spent + one.milliseconds,
                work + one.multiply_adds,
            )
        rows = [(kind, *total) for kind, total in totals.items()]
        return sorted(rows, key=lambda row: -row[2])

    def blocks(self, depth: int = 3) -> Block:
        """The operators summed over the blocks of the network."""
        layers = [(one.path, one.milliseconds, one.multiply_adds) for one in self.operators]
        return block_tree(layers, name=self.file.name, depth=depth)

    def rate(self, multiply_adds: int, milliseconds: float) -> float | None:
        """Multiply-adds per second; None where there are none or no time was seen."""
        return 1e3 * multiply_adds / milliseconds if multiply_adds and milliseconds > 0 else None

    def to_dict(self) -> dict[str, Any]:
        """All figures as JSON values; times in milliseconds."""
        return {
            "file": str(self.file),
            "threads": self.threads,
            "engine": self.engine,
            "precision": self.precision,
            "run_ms": round(self.run_ms, 4),
            "between_operators_ms": round(self.between_ms, 4),
            "peak_multiply_adds_per_second": round(self.peak),
            "remark": self.remark,
            "operators": [
                {
                    "layer": one.layer,
                    "kind": one.kind,
                    "block": "/".join(one.path),
                    "ms": round(one.milliseconds, 5),
                    "multiply_adds": one.multiply_adds,
                }
                for one in self.operators
            ],
        }


def profile(file: str | os.PathLike[str], *, threads: int, runs: int = _RUNS) -> Profile:
    """Time each operator of a `.tflite` or `.xml` file.

    Args:
        file: the model file.
        threads: threads of the engine.
        runs: inferences to take the midmean of.

    Raises:
        MissingFileError: the file isn't there.
        InvalidInputError: a file that can't be used, or one of an engine without a profiler.
        MissingDependencyError: the engine is not installed.
        EdgeDetError: the installed release of the engine can't be profiled.
    """
    path = Path(file)
    with Detector(path, threads=threads) as detector:
        engine, precision = detector.engine_name, detector.precision
    if engine not in _ENGINES:
        raise InvalidInputError(
            f"{path}: edgedet has no profiler for {engine}; convert the model to .tflite or .xml."
        )
    measured = (
        _litert(path, threads, runs) if engine == "litert" else _openvino(path, threads, runs)
    )
    run_ms, operators, remark = measured
    peak = measured_peak(engine, precision or "float32", threads)
    return Profile(path, threads, engine, precision, run_ms, peak, tuple(operators), remark)


def _litert(path: Path, threads: int, runs: int) -> tuple[float, list[OperatorTime], str]:
    found = _litert_events(path, threads, runs)
    graph = tflite_nodes.read_graph(read_model(path)[1])
    rows = [(name, number, spent) for name, number, spent in found["operators"]]
    matched = tflite_nodes.match(graph, rows)
    if matched is not None:
        return (
            found["invoke_us"] / 1e3,
            [
                OperatorTime(
                    node.name, name, block_path(node.name), spent / 1e3, node.multiply_adds
                )
                for node, name, spent in matched
            ],
            "",
        )
    operators = [OperatorTime("", name, (UNNAMED,), spent / 1e3, 0) for name, _, spent in rows]
    remark = "XNNPACK's operators could not be matched with the network's layers."
    return found["invoke_us"] / 1e3, operators, remark


def _litert_events(path: Path, threads: int, runs: int) -> dict[str, Any]:
    script = Path(__file__).with_name("litert_events.py")
    command = [sys.executable, str(script), str(path), str(threads), str(runs)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        reason = found.get("error")
    except (subprocess.SubprocessError, ValueError, IndexError):
        reason = "its process ended without a result"
    if reason is not None:
        raise EdgeDetError(
            f"{path}: the installed LiteRT can't be profiled ({reason}); install ai-edge-litert 2, "
            "or profile the OpenVINO file."
        )
    return found


def _openvino(path: Path, threads: int, runs: int) -> tuple[float, list[OperatorTime], str]:
    openvino = import_openvino()
    core = openvino.Core()
    model = core.read_model(path)
    work = _openvino_multiply_adds(model)
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "PERF_COUNT": True,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    origins = {
        node.get_friendly_name(): facts["originalLayersNames"].astype(str).split(",")
        for node in compiled.get_runtime_model().get_ops()
        if "originalLayersNames" in (facts := node.get_rt_info())
    }
    request = compiled.create_infer_request()
    passes = []
    for number in range(runs + 1):
        request.infer()
        rows = request.get_profiling_info()
        whole = float(request.latency)
        if number:
            passes.append((whole, rows))
    operators = []
    for nodes in zip(*(rows for _, rows in passes), strict=True):
        name, kind = nodes[0].node_name, f"{nodes[0].node_type} {nodes[0].exec_type}"
        names = origins.get(name, [name])
        multiply_adds = sum(work.get(origin, 0) for origin in dict.fromkeys([name, *names]))
        # One below a microsecond counts as not run too; what multiplies did.
        if not multiply_adds and all("NOT_RUN" in str(node.status) for node in nodes):
            continue
        spent = midmean([node.real_time.total_seconds() for node in nodes])
        operators.append(
            OperatorTime(
                name,
                kind,
                _openvino_path([name, *names]),
                1e3 * spent,
                multiply_adds,
            )
        )
    remark = ""
    if all(one.path == (UNNAMED,) for one in operators):
        remark = "The file keeps no names of layers; convert the model again for blocks."
    return midmean([whole for whole, _ in passes]), operators, remark


def _openvino_path(names: Sequence[str]) -> tuple[str, ...]:
    """The first name that tells a block."""
    paths = (block_path(name) for name in names)
    return next((path for path in paths if path != (UNNAMED,)), (UNNAMED,))


def _openvino_multiply_adds(model: Any) -> Mapping[str, int]:
    found = {}
    for node in model.get_ops():
        kind = node.get_type_name()
        if kind not in OPENVINO_KINDS or node.get_output_partial_shape(0).is_dynamic:
            continue
        found[node.get_friendly_name()] = openvino_multiply_adds(
            kind, list(node.get_input_shape(1)), list(node.get_output_shape(0))
        )
    return found
