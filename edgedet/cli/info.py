"""`edgedet info`: what a model file contains."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgedet.runtime.engines import Engine, TensorInfo

_MOST_LABELS = 12


def info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .tflite or .keras file.")],
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a model file's input, outputs, labels, anchors, quantization and origin."""
    from edgedet.cli.native_log import without_native_log
    from edgedet.runtime.engines import open_engine

    with without_native_log():
        engine = open_engine(file, threads=1)
    report = describe(file, engine)
    if json_:
        print(json.dumps(report))
    else:
        _print_report(report)


def describe(file: Path, engine: Engine) -> dict[str, Any]:
    """Everything known about a model file, as JSON values; None where something is not known."""
    spec = engine.spec
    parameters, multiply_adds = _cost(file, engine)
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "name": spec.name,
        "engine": engine.name,
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "quantization": _types(engine),
        "activation": spec.activation,
        "input": {
            **_tensor(engine.input_info),
            "colour": "RGB",
            "mean": list(spec.input.mean),
            "std": list(spec.input.std),
        },
        "outputs": [_tensor(tensor) for tensor in (*engine.class_info, *engine.box_info)],
        "anchors": dataclasses.asdict(spec.anchors),
        "labels": list(spec.labels),
        "category_ids": list(spec.category_ids),
        "provenance": dict(spec.provenance),
    }


def _cost(file: Path, engine: Engine) -> tuple[int | None, int | None]:
    """(parameters, multiply-adds) of the network."""
    from edgedet.archive import read_model
    from edgedet.runtime.cost import count_cost
    from edgedet.runtime.engines.keras import KerasEngine

    if isinstance(engine, KerasEngine):
        from edgedet.models import count_macs

        return engine.model.count_params(), count_macs(engine.model)

    cost = count_cost(read_model(file)[1])
    return (cost.parameters, cost.multiply_adds) if cost else (None, None)


def _types(engine: Engine) -> str:
    classes, boxes = engine.class_info[0].dtype.name, engine.box_info[0].dtype.name
    outputs = classes if classes == boxes else f"{classes} and {boxes}"
    return f"{engine.input_info.dtype.name} input, {outputs} outputs"


def _tensor(tensor: TensorInfo) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype.name,
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
    }


def _print_report(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    labels = [str(label) for label in report["labels"]]
    shown = ", ".join(labels[:_MOST_LABELS])
    if len(labels) > _MOST_LABELS:
        shown += f" and {len(labels) - _MOST_LABELS} more"
    anchors = report["anchors"]
    rows = {
        "file": f"{report['file']}, {_count(report['bytes'])}B",
        "model": f"{report['name']}, {report['activation']}",
        "parameters": _count(report["parameters"]),
        "multiply-adds": _count(report["multiply_adds"]),
        "types": report["quantization"],
        "input": f"RGB, mean {report['input']['mean']}, std {report['input']['std']}",
        "anchors": (
            f"levels {anchors['min_level']} to {anchors['max_level']}, scale {anchors['scale']:g}, "
            f"{anchors['octaves']} per octave, aspect ratios "
            f"{', '.join(f'{ratio:g}' for ratio in anchors['aspect_ratios'])}"
        ),
        "labels": f"{len(labels)}: {shown}",
    }
    for key, value in report["provenance"].items():
        rows[str(key)] = value if isinstance(value, str) else json.dumps(value)
    facts = Table(show_header=False, box=None)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for key, value in rows.items():
        facts.add_row(escape(key), escape(value))
    tensors = Table("tensor", "shape", "type", "scale", "zero point")
    for tensor in (report["input"], *report["outputs"]):
        quantized = tensor["scale"] is not None
        tensors.add_row(
            escape(tensor["name"]),
            "x".join(str(side) for side in tensor["shape"]),
            tensor["dtype"],
            f"{tensor['scale']:.6g}" if quantized else "",
            str(tensor["zero_point"]) if quantized else "",
        )
    console = Console()
    console.print(facts)
    console.print(tensors)
    print(f"next: {_next_command(report)}")


def _next_command(report: dict[str, Any]) -> str:
    import shlex

    file = shlex.quote(report["file"])
    if report["engine"] == "keras":
        return f"edgedet convert {file} --to tflite --int8 --data data.yaml"
    return f"edgedet detect --model {file} --source PICTURE"


def _count(value: int | None) -> str:
    """A number in thousands, millions or thousand millions, as in `650.8 k`."""
    if value is None:
        return "not known"
    for factor, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= factor:
            return f"{value / factor:.4g} {unit}"
    return f"{value} "
