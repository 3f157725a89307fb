"""`edgedet parity`: whether files of one model find the same objects."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.table import Table

    from edgedet.evaluation.parity import FileParity
    from edgedet.runtime.detector import Detector


def parity(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="REFERENCE FILE...", help="Two or more files: .tflite, .keras, .xml or .onnx."
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(help="A picture, a directory of pictures, or a quoted glob pattern."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="data.yaml of a data set, instead of --source.")
    ] = None,
    split: Annotated[str, typer.Option(help="Part of the data set.")] = "val",
    images: Annotated[
        int | None,
        typer.Option(help="Compare on this many pictures, evenly spread. [default: all]"),
    ] = None,
    conf: Annotated[float, typer.Option(help="Least confidence of a box that is shown.")] = 0.25,
    min_iou: Annotated[
        float | None,
        typer.Option(help="Least mean IoU of matched boxes. [default: 0.99; INT8 0.93]"),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(help="Least share of them with the same class. [default: 0.99; INT8 0.97]"),
    ] = None,
    min_matched: Annotated[
        float | None,
        typer.Option(help="Least share of boxes that are matched. [default: 0.99; INT8 0.95]"),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of the engines. [default: physical cores, at most 4]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for parity.html, with the worst pictures, and parity.json."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run the same pictures through two or more files of one model, and compare what they find.

    The first file is the reference. Exits 1 when another one differs from it by more than is
    tolerated, which depends on their precisions, and 2 when they can't be compared.
    """
    from rich.console import Console

    from edgedet.cli.native_log import without_native_log
    from edgedet.evaluation.parity import names_of, precision_of
    from edgedet.runtime.detector import Detector

    # What can fail fails before models are loaded.
    if len(files) < 2:
        raise InvalidInputError(f"{files[0]} can't be compared alone; name two files or more.")
    if (source is None) == (data is None):
        raise InvalidInputError("Name pictures to compare on: either --source or --data.")
    pictures = _chosen(_pictures(source, data, split), images)
    with ExitStack() as opened:
        detectors = []
        for file in files:
            with without_native_log():
                detectors.append(opened.enter_context(Detector(file, threads=threads)))
        results = _measured(
            detectors,
            pictures,
            conf=conf,
            min_iou=min_iou,
            min_agreement=min_agreement,
            min_matched=min_matched,
        )
        precision, labels = precision_of(detectors[0]), detectors[0].spec.labels
        engine = detectors[0].engine_name
    met = all(result.met for result in results)
    place = source if data is None else f"{split} split of {data}"
    content: dict[str, Any] = {
        "reference": str(files[0]),
        "reference_precision": precision,
        "reference_engine": engine,
        "source": place,
        "images": len(pictures),
        "conf": conf,
        "met": met,
        "files": [result.to_dict() for result in results],
    }
    if out is not None:
        content["directory"] = str(out)
        _write(out, content, results, labels)
    if json_:
        print(json.dumps(content))
    else:
        print(f"reference {files[0]} ({precision}, {engine}), {len(pictures)} pictures of {place}")
        Console().print(_table(results))
        print("class: share of the same class; score: mean distance of confidences;")
        print("alone: boxes that only the reference shows + boxes that only the file shows")
        for name, result in zip(names_of(results), results, strict=True):
            for failure in result.failures:
                print(f"{name}: {failure}")
        print("all within tolerance" if met else "beyond tolerance")
        if out is not None:
            print(f"report: {out / 'parity.html'}")
        print(f"next: {_next(files, results, source, data, out)}")
    if not met:
        raise typer.Exit(1)


def _pictures(source: str | None, data: Path | None, split: str) -> list[Path]:
    from edgedet.data.dataset import load_dataset
    from edgedet.runtime.sources import find_images

    if source is not None:
        return find_images(source)
    assert data is not None
    found = [sample.path for sample in load_dataset(data, split).samples]
    if not found:
        raise InvalidInputError(f"{data}: the {split} split has no pictures; name another.")
    return found


def _chosen(pictures: list[Path], count: int | None) -> list[Path]:
    if count is None:
        return pictures
    if count < 1:
        raise InvalidInputError(f"--images must be 1 or more, not {count}.")
    count = min(count, len(pictures))
    return [pictures[index * len(pictures) // count] for index in range(count)]


def _measured(
    detectors: Sequence[Detector], pictures: Sequence[Path], **options: Any
) -> list[FileParity]:
    """Compare with a bar of progress."""
    from edgedet.cli.progress_bar import progress_bar
    from edgedet.evaluation.parity import measure_parity

    progress = progress_bar("comparing")
    with progress:
        running = progress.add_task("pictures", total=len(pictures))
        return measure_parity(
            detectors,
            pictures,
            progress=lambda done, _: progress.update(running, completed=done),
            **options,
        )


def _write(
    out: Path, content: dict[str, Any], results: Sequence[FileParity], labels: Sequence[str]
) -> None:
    from edgedet.evaluation.html_parity import parity_page
    from edgedet.files import replacing

    document = parity_page(
        results,
        labels,
        reference=Path(content["reference"]),
        reference_precision=content["reference_precision"],
        source=content["source"],
        conf=content["conf"],
    )
    with replacing(out / "parity.json") as numbers, replacing(out / "parity.html") as page:
        numbers.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        page.write_text(document, encoding="utf-8")


def _table(results: Sequence[FileParity]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from edgedet.evaluation.parity import names_of

    table = Table()
    table.add_column("file", overflow="fold")
    for column in ("IoU", "class", "matched", "score", "alone", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for name, result in zip(names_of(results), results, strict=True):
        told = result.to_dict(0)
        shares = (told["mean_iou"], told["agreement"], told["matched"])
        distance = told["score_difference"]["mean_absolute"]
        table.add_row(
            escape(name),
            *("n/a" if value is None else f"{value:.4f}" for value in (*shares, distance)),
            f"{told['only_reference']} + {told['only_file']}",
            "ok" if result.met else "differs",
        )
    return table


def _next(
    files: Sequence[Path],
    results: Sequence[FileParity],
    source: str | None,
    data: Path | None,
    out: Path | None,
) -> str:
    names = shlex.join(str(file) for file in files)
    differing = [str(result.path) for result in results if not result.met]
    if not differing:
        return f"edgedet benchmark {names}"
    where = ["--source", source] if source is not None else ["--data", str(data)]
    if out is None:
        return f"edgedet parity {names} {shlex.join(where)} --out parity"
    return shlex.join(
        ["edgedet", "eval", "--model", differing[0], "--data", str(data or "data.yaml")]
    )
