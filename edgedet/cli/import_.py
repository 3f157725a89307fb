"""`edgedet import`: weights that others published, as a `.keras` file of one of our networks."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.errors import InvalidInputError, MissingFileError

if TYPE_CHECKING:
    import keras

    from edgedet.models.importers import TransferReport
    from edgedet.spec import ModelSpec

SOURCES = ("keras-applications", "automl", "model-garden", "effdet")
_MOST_NAMES = 6
# A network whose heads are not imported still needs a label; training gives it the data's.
_PLACEHOLDER = ("object",)


def import_(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="File of published weights.")],
    origin: Annotated[str, typer.Option("--from", help=f"Its origin: {', '.join(SOURCES)}.")],
    model: Annotated[str, typer.Option(help="Preset that the weights are for.")],
    out: Annotated[Path, typer.Option(help=".keras file to write.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="Text file of class names, one a line; default: COCO's, or numbers."),
    ] = None,
    imgsz: Annotated[
        int | None, typer.Option(help="Input side in pixels; default: the preset's.")
    ] = None,
    backbone_only: Annotated[
        bool, typer.Option("--backbone-only", help="Leave pyramid and heads at a fresh start.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bring published weights into a network of edgedet: to train on, to convert, to run.

    It says which of the source's arrays were used, which were not, and what keeps a fresh start:
    the class predictor, if the labels are others than the source's; all but the backbone, if the
    source is a classifier.
    """
    if origin not in SOURCES:
        raise InvalidInputError(f"There is no origin {origin!r}; use one of {', '.join(SOURCES)}.")
    if out.suffix != ".keras":
        raise InvalidInputError(f"{out} must end in .keras.")
    names = None if labels is None else _read_labels(labels)

    from edgedet.cli.native_log import without_native_log

    with without_native_log():
        from edgedet.models import build, preset_spec, save_model
        from edgedet.models.importers.coco_labels import published_labels

        plain = preset_spec(model, names or _PLACEHOLDER, size=imgsz)
        outputs, bring = _read(source, origin, backbone_only)
        ids = None
        if names is None:
            classes, rest = divmod(outputs or 0, plain.anchors.per_location)
            known = classes > 0 and not rest
            names, ids = published_labels(classes) if known else (_PLACEHOLDER, None)
        spec = dataclasses.replace(
            preset_spec(model, names, ids, size=imgsz),
            provenance={"imported": {"from": origin, "file": source.name}},
        )
        network = build(spec)
        report = bring(network)
        save_model(network, spec, out)
    if json_:
        print(json.dumps(_as_dict(out, spec, origin, report)))
    else:
        _print(out, model, spec, report)


def _read(
    source: Path, origin: str, backbone_only: bool
) -> tuple[int | None, Callable[[keras.Model], TransferReport]]:
    """Outputs of the source's class predictor, None without one; what fills a network from it."""
    if origin == "keras-applications":
        from edgedet.models.importers import import_keras_applications

        return None, partial(import_keras_applications, source)
    importer = importlib.import_module(f"edgedet.models.importers.{origin.replace('-', '_')}")
    arrays = importer.read(source)
    outputs = None if backbone_only else importer.class_outputs(arrays)
    function = getattr(importer, f"import_{origin.replace('-', '_')}")
    return outputs, partial(function, arrays, origin=str(source), backbone_only=backbone_only)


def _read_labels(path: Path) -> tuple[str, ...]:
    if path.is_dir():
        raise InvalidInputError(f"{path} is a directory; name the text file of labels within it.")
    if not path.is_file():
        raise MissingFileError(f"There is no file {path} of labels.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path} is no text in UTF-8; save it as such.") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise InvalidInputError(f"{path} names no class; write one a line.")
    return names


def _as_dict(out: Path, spec: ModelSpec, origin: str, report: TransferReport) -> dict[str, Any]:
    return {
        "file": str(out),
        "model": spec.name,
        "from": origin,
        "labels": list(spec.labels),
        "used": list(report.used),
        "unused": list(report.unused),
        "untouched": list(report.untouched),
    }


def _print(out: Path, model: str, spec: ModelSpec, report: TransferReport) -> None:
    print(f"{out}: {spec.name}, {spec.num_classes} labels")
    print(f"used: {len(report.used)} arrays of the source")
    print(f"not used: {_some(report.unused)}")
    print(f"at a fresh start: {_some(report.untouched)}")
    file = shlex.quote(str(out))
    if report.untouched:
        print(f"next: edgedet train --model {model} --weights {file} --data data.yaml")
    else:
        print(f"next: edgedet convert {file} --to tflite")


def _some(names: Sequence[str]) -> str:
    """How many, and the first of them."""
    if not names:
        return "nothing"
    more = ", ..." if len(names) > _MOST_NAMES else ""
    return f"{len(names)}: {', '.join(names[:_MOST_NAMES])}{more}"
