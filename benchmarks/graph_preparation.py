"""Bare inference of networks exported as they are beside the same networks prepared first.

    python -m edgedet.benchmarks.graph_preparation DIRECTORY [--seconds 20] [--json]

`DIRECTORY` holds what `tests/zoo/export_plain.py` wrote: pairs `NAME-plain-PRECISION.SUFFIX` and
`NAME-prepared-PRECISION.SUFFIX`. One thread; the two of a pair take turns.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.benchmarks.native_timing import Comparison, compare, table, to_json
from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.packages import import_openvino


@dataclass(frozen=True)
class Runnable:
    """A network ready for one inference after another.

    Attributes:
        run: does one.
        operators: of the file, constants not counted.
        precision: type that the engine really computes in.
    """

    run: Callable[[], object]
    operators: int
    precision: str


def open_litert(path: Path) -> Runnable:
    """A `.tflite` file on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    # Counted before the delegate takes them in.
    operators = len(_undelegated(path)._get_ops_details())
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    interpreter.set_tensor(entry["index"], np.zeros(entry["shape"], entry["dtype"]))
    interpreter.invoke()
    return Runnable(interpreter.invoke, operators, np.dtype(entry["dtype"]).name)


def _undelegated(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return Interpreter(model_path=str(path), experimental_op_resolver_type=plain)


def open_openvino(path: Path, hint: str) -> Runnable:
    """An `.xml` file on one thread.

    Args:
        path: the file.
        hint: `INFERENCE_PRECISION_HINT`; what OpenVINO makes of it is read back.
    """
    core = import_openvino().Core()
    model = core.read_model(path)
    kinds = [node.get_type_name() for node in model.get_ops()]
    operators = sum(kind not in ("Constant", "Parameter", "Result") for kind in kinds)
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    if hint:
        settings["INFERENCE_PRECISION_HINT"] = hint
    compiled = core.compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    request.infer()
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return Runnable(request.infer, operators, str(precision))


def measure(directory: Path, seconds: float) -> list[tuple[Comparison, Runnable, Runnable]]:
    """Time every pair of files; "ours" is the prepared network, the peer the plain one.

    Args:
        directory: with the files.
        seconds: to spend on each pair.

    Raises:
        MissingFileError: there is no such directory, or a file of a pair is missing.
        InvalidInputError: it holds no pair.
    """
    if not directory.is_dir():
        raise MissingFileError(f"There is no directory {directory}.")
    rows = []
    for path in sorted(directory.glob("*-prepared-*")):
        plain = path.with_name(path.name.replace("-prepared-", "-plain-"))
        if path.suffix not in (".tflite", ".xml"):
            continue
        if not plain.is_file():
            raise MissingFileError(f"{path} has no {plain.name} beside it; export both.")
        name = path.stem.replace("-prepared", "")
        for hint in ("",) if path.suffix == ".tflite" else ("f32", ""):
            pair = [
                open_litert(file) if path.suffix == ".tflite" else open_openvino(file, hint)
                for file in (path, plain)
            ]
            engine = "LiteRT" if path.suffix == ".tflite" else "OpenVINO"
            (row,) = compare(engine, name, pair[0].run, {"plain": (pair[1].run, None)}, seconds)
            rows.append((row, pair[0], pair[1]))
    if not rows:
        raise InvalidInputError(f"{directory} holds no pairs NAME-plain-… and NAME-prepared-….")
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each pair of files")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows = measure(options.directory, options.seconds)
    if options.json:
        content = [
            to_json(row)
            | {"precision": ours.precision}
            | {"operators": {"prepared": ours.operators, "plain": plain.operators}}
            for row, ours, plain in rows
        ]
        print(json.dumps(content, indent=2))
        return
    head = ("engine", "network", "runs in", "operators", "plain ms", "prepared ms", "ratio")
    lines = [
        (
            row.task,
            row.case,
            ours.precision,
            f"{plain.operators} → {ours.operators}",
            f"{row.peer_ms:.2f}",
            f"{row.ours_ms:.2f}",
            f"{row.ratio:.2f}",
        )
        for row, ours, plain in rows
    ]
    print(table(head, lines))


if __name__ == "__main__":
    main()
