"""`edgedet info`: what a model file contains, or what an architecture costs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.table import Table

    from edgedet.models import Count, Preset
    from edgedet.runtime.engines import Engine, TensorInfo
    from edgedet.runtime.engines.stored import StoredModel
    from edgedet.spec import ModelSpec

    Described = Engine | StoredModel

_MOST_LABELS = 12
_PICTURES = (".png", ".svg", ".pdf")


def info(
    model: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME",
            help="A .tflite, .xml, .onnx or .keras file, or a name of `edgedet models`.",
        ),
    ],
    layers: Annotated[
        bool, typer.Option("--layers", help="List the layers of an architecture, too.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw an architecture's table of nodes into this .png, .svg or .pdf."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a model file's input, outputs, labels, anchors, quantization and origin.

    Or, for the name of an architecture, with options at its end or without, as in
    efficientdet-d0-relu6 or retinanet-resnet50-nasfpn-5@256: its parameters and multiply-adds by
    part and by level, for as many classes as its paper counts.
    """
    if not model.strip():
        raise InvalidInputError("Name a model file, or a model that `edgedet models` lists.")
    if not _is_file(model):
        _info_of_preset(model, layers, plot, json_)
        return
    if layers or plot:
        raise InvalidInputError(
            "--layers and --plot are for architectures: give a name that `edgedet models` lists."
        )
    from edgedet.cli.native_log import without_native_log

    file = Path(model)
    with without_native_log():
        report = describe(file, _opened(file))
    if json_:
        print(json.dumps(report))
    else:
        _print_report(report)


def _is_file(model: str) -> bool:
    """Whether a file is meant: no architecture has a suffix or a directory in its name."""
    path = Path(model)
    return bool(path.suffix) or len(path.parts) != 1 or path.is_file()


def _opened(file: Path) -> Described:
    """The file in its engine, or what it says of itself where that is not installed."""
    from edgedet.errors import MissingDependencyError
    from edgedet.runtime.engines import open_engine
    from edgedet.runtime.engines.stored import read_stored

    try:
        return open_engine(file, threads=1)
    except MissingDependencyError:
        stored = read_stored(file)
        if stored is None:
            raise
        return stored


def describe(file: Path, engine: Described) -> dict[str, Any]:
    """Everything known about a model file, as JSON values; None where something is not known."""
    from edgedet.archive import stored_bytes

    spec = engine.spec
    parameters, multiply_adds = _cost(file, engine)
    return {
        "file": str(file),
        "bytes": stored_bytes(file),
        "name": spec.name,
        "engine": engine.name,
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "quantization": _types(engine),
        "precision": engine.precision,
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


def describe_preset(
    name: str, chosen: Preset, spec: ModelSpec, count: Count, *, layers: bool = False
) -> dict[str, Any]:
    """Everything known about an architecture, as JSON values.

    Args:
        name: as the user gave it, options included.
        chosen: the preset with its options.
        spec: its spec for the classes that its paper counts.
        count: the cost of its network.
        layers: whether to list the layers.
    """
    from edgedet.cli import models

    report = {
        **models.describe(chosen, count),
        "name": name,
        "preset": spec.name,
        "options": dict(spec.options),
        "untrained": count.untrained,
        "by_level": {str(level): list(cost) for level, cost in count.by_level().items()},
        "activation": spec.activation,
        "input": dataclasses.asdict(spec.input),
        "anchors": dataclasses.asdict(spec.anchors),
    }
    if spec.options or spec.activation != chosen.activation:
        # The paper's figures are another network's.
        report["published"] = dict.fromkeys(report["published"])
    if layers:
        report["layers"] = [dataclasses.asdict(layer) for layer in count.layers]
    return report


def _info_of_preset(name: str, layers: bool, plot: Path | None, json_: bool) -> None:
    from rich.console import Console

    from edgedet.cli import models

    if plot is not None and plot.suffix.lower() not in _PICTURES:
        raise InvalidInputError(f"--plot writes {', '.join(_PICTURES)}; {plot} is none of these.")
    models.quiet_backend()
    from edgedet.models import preset

    spec = models.paper_spec(name)
    chosen = preset(spec.name, spec.options)
    if plot is not None:
        _plot(name, chosen, plot)
    terminal = Console(stderr=True)
    if terminal.is_terminal:
        with terminal.status(f"building {name}"):
            count = models.count_spec(spec)
    else:
        count = models.count_spec(spec)
    report = describe_preset(name, chosen, spec, count, layers=layers)
    if plot is not None:
        report["plot"] = str(plot)
    if json_:
        print(json.dumps(report))
    else:
        _print_preset(report)


def _plot(name: str, chosen: Preset, file: Path) -> None:
    from matplotlib.figure import Figure

    from edgedet.files import replacing
    from edgedet.models.drawing import diagram, draw, figure_size

    drawn = diagram(dataclasses.replace(chosen, name=name))
    figure = Figure(figsize=figure_size(drawn), layout="constrained")
    draw(drawn, figure.subplots())
    with replacing(file) as aside:
        figure.savefig(aside, dpi=130)


def _print_preset(report: dict[str, Any]) -> None:
    from rich.console import Console

    published = report["published"]
    printed = [
        text
        for value, text in (
            (published["parameters_millions"], "{:g} M parameters"),
            (published["multiply_adds_billions"], "{:g} B multiply-adds"),
            (published["ap"], "AP {:g} on COCO"),
        )
        if value is not None
        for text in [text.format(value)]
    ]
    options = ", ".join(f"{key} {value}" for key, value in report["options"].items())
    rows = {
        "model": f"{report['name']}, {report['activation']}",
        "options": options or "none",
        "paper": report["paper"],
        "it prints": ", ".join(printed) or "nothing of this network",
        "parameters": f"{_spaced(report['parameters'])} at {report['classes']} classes, "
        f"and {_spaced(report['untrained'])} untrained",
        "multiply-adds": _spaced(report["multiply_adds"]),
        "input": _input(report["input"]),
        "anchors": _anchors(report["anchors"]),
    }
    console = Console()
    console.print(_facts(rows))
    console.print(_costs("part", report["parts"]))
    console.print(_costs("level", _levels(report)))
    if "layers" in report:
        console.print(_layers(report["layers"]))
    if "plot" in report:
        print(f"drawn to {report['plot']}")
    print(f"next: edgedet train --model {report['name']} --data data.yaml")


def _levels(report: dict[str, Any]) -> dict[str, list[int]]:
    """Costs by level, and what belongs to none."""
    levels = {
        f"{level}, stride {2 ** int(level)}": cost for level, cost in report["by_level"].items()
    }
    totals = report["parameters"], report["multiply_adds"]
    rest = [
        total - sum(cost[place] for cost in levels.values()) for place, total in enumerate(totals)
    ]
    return {**levels, "none": rest} if any(rest) else levels


def _costs(heading: str, costs: dict[str, list[int]]) -> Table:
    from rich.table import Table

    table = Table(heading)
    for column in ("parameters", "%", "multiply-adds", "%"):
        table.add_column(column, justify="right")
    totals = [sum(cost[place] for cost in costs.values()) for place in range(2)]
    for name, cost in costs.items():
        cells = []
        for value, total in zip(cost, totals, strict=True):
            cells += [_spaced(value), f"{100 * value / total:.1f}" if total else ""]
        table.add_row(name, *cells)
    return table


def _layers(layers: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("layer", "kind", "map", title="layers that cost something", title_justify="left")
    for column in ("parameters", "multiply-adds"):
        table.add_column(column, justify="right", no_wrap=True)
    for layer in layers:
        if layer["parameters"] or layer["multiply_adds"]:
            table.add_row(
                layer["name"],
                layer["kind"],
                "x".join(str(side) for side in layer["output"]),
                _spaced(layer["parameters"]),
                _spaced(layer["multiply_adds"]),
            )
    return table


def _cost(file: Path, engine: Described) -> tuple[int | None, int | None]:
    """(parameters, multiply-adds) of the network."""
    from edgedet.runtime.cost import count_file
    from edgedet.runtime.engines.keras import KerasEngine

    if isinstance(engine, KerasEngine):
        from edgedet.models import count_macs

        return engine.model.count_params(), count_macs(engine.model)

    cost = count_file(file)
    return (cost.parameters, cost.multiply_adds) if cost else (None, None)


def _types(engine: Described) -> str:
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
    rows = {
        "file": f"{report['file']}, {_count(report['bytes'])}B",
        "model": f"{report['name']}, {report['activation']}",
        "parameters": _count(report["parameters"]),
        "multiply-adds": _count(report["multiply_adds"]),
        "types": report["quantization"],
        "runs in": report["precision"] or "not known",
        "input": f"RGB, mean {report['input']['mean']}, std {report['input']['std']}",
        "anchors": _anchors(report["anchors"]),
        "labels": f"{len(labels)}: {shown}",
    }
    for key, value in report["provenance"].items():
        rows[str(key)] = value if isinstance(value, str) else json.dumps(value)
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
    console.print(_facts(rows))
    console.print(tensors)
    print(f"next: {_next_command(report)}")


def _facts(rows: dict[str, str]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    facts = Table(show_header=False, box=None)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for key, value in rows.items():
        facts.add_row(escape(key), escape(value))
    return facts


def _anchors(anchors: dict[str, Any]) -> str:
    return (
        f"levels {anchors['min_level']} to {anchors['max_level']}, scale {anchors['scale']:g}, "
        f"{anchors['octaves']} per octave, aspect ratios "
        f"{', '.join(f'{ratio:g}' for ratio in anchors['aspect_ratios'])}"
    )


def _input(input_: dict[str, Any]) -> str:
    mean, std = (", ".join(f"{value:.5g}" for value in input_[key]) for key in ("mean", "std"))
    return f"{input_['width']}x{input_['height']} RGB, mean {mean}, std {std}"


def _spaced(value: int) -> str:
    return f"{value:,}".replace(",", " ")


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
