"""`edgedet data`: check a dataset, convert it, look at what training makes of it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgedet.data.findings import CheckReport

data = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check a dataset, convert it to another format, or preview its augmentation.",
)

DataYaml = Annotated[Path, typer.Argument(metavar="DATA.yaml", help="data.yaml of the dataset.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@data.command()
def check(
    data_yaml: DataYaml,
    split: Annotated[
        list[str] | None, typer.Option(help="Split to check, may be repeated; default: all.")
    ] = None,
    imgsz: Annotated[
        int, typer.Option(help="Input side in pixels that box sizes are compared with.")
    ] = 256,
    out: Annotated[
        Path | None, typer.Option(help="Directory of the report; default: runs/data/NAME.")
    ] = None,
    project: Annotated[Path, typer.Option(help="Directory of all runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of this run; exp, exp2, ...")] = None,
    json_: AsJson = False,
) -> None:
    """Read everything, pictures too, and report every defect with pictures of the worst.

    Writes check.json and check.html to runs/data/NAME/. Exits 1 when there are errors, which would
    stop training or make evaluation wrong; 0 when there are warnings at most; 2 when nothing can be
    read.
    """
    from rich.console import Console

    from edgedet.cli.progress_bar import progress_bar
    from edgedet.cli.run_directory import RunDirectory
    from edgedet.data.check_report import write_check
    from edgedet.data.checking import check_dataset
    from edgedet.quantization.calibration import DEFAULT_IMAGES, evenly

    run = RunDirectory(project, "data", name)
    progress = progress_bar("reading pictures")
    with progress:
        task = progress.add_task("pictures", total=None)
        report = check_dataset(
            data_yaml,
            splits=split,
            imgsz=imgsz,
            calibration=lambda total: evenly(total, DEFAULT_IMAGES),
            start=lambda total: progress.update(task, total=total),
            advance=lambda count: progress.advance(task, count),
        )
    try:
        directory = out or run.path()
        files = write_check(report, directory)
    finally:
        run.discard_if_empty()
    if json_:
        print(json.dumps({**report.to_dict(), "directory": str(directory), "files": files}))
    else:
        Console().print(_tables(report))
        print(f"look at {directory / files['html']}")
        if report.passed:
            print(f"next: edgedet train --data {shlex.quote(str(data_yaml))}")
    if not report.passed:
        raise typer.Exit(1)


@data.command()
def convert(
    data_yaml: DataYaml,
    to: Annotated[str, typer.Option(help="coco, voc or yolo.")],
    out: Annotated[Path, typer.Option(help="New or empty directory.")],
    link: Annotated[
        bool, typer.Option("--link/--copy", help="Link to the pictures, or copy them (default).")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Write all splits of a dataset in another format, with a data.yaml of its own.

    `map`, `classes` and `bad_boxes` of the data.yaml are applied. What the new format can't hold
    is told.
    """
    from edgedet.cli.progress_bar import progress_bar
    from edgedet.data.converting import convert_dataset

    progress = progress_bar("pictures")
    with progress:
        task = progress.add_task("pictures", total=None)
        result = convert_dataset(
            data_yaml,
            out,
            to,
            link=link,
            start=lambda total: progress.update(task, total=total),
            advance=lambda count: progress.advance(task, count),
        )
    if json_:
        content = {
            "data": str(result.data),
            "format": to,
            "pictures": result.pictures,
            "boxes": result.boxes,
            "lost": list(result.lost),
        }
        print(json.dumps(content))
        return
    for name, count in result.pictures.items():
        print(f"{name:5}  {count} pictures, {result.boxes[name]} boxes")
    for sentence in result.lost:
        print(f"lost: {sentence}")
    print(f"next: edgedet data check {shlex.quote(str(result.data))}")


@data.command()
def preview(
    data_yaml: DataYaml,
    split: Annotated[str, typer.Option(help="Part of the dataset.")] = "train",
    count: Annotated[int, typer.Option(help="Examples on the sheet.")] = 24,
    imgsz: Annotated[int, typer.Option(help="Input side in pixels.")] = 256,
    seed: Annotated[int, typer.Option(help="As that of the training run to look into.")] = 0,
    recipe: Annotated[
        str, typer.Option(help="Whose augmentation: a recipe as in `edgedet train`, or a file.")
    ] = "finetune",
    scale: Annotated[
        tuple[float, float] | None, typer.Option(help="Range of the random zoom, out and in.")
    ] = None,
    colour: Annotated[float | None, typer.Option(help="Strength of colour changes.")] = None,
    mosaic: Annotated[
        float | None, typer.Option(help="Probability of four pictures in one.")
    ] = None,
    autoaugment: Annotated[
        str | None, typer.Option(help="Learned policy for detection: v0, v1, v2 or v3.")
    ] = None,
    grid_mask: Annotated[float | None, typer.Option(help="Probability of a grid mask.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG to write; default: runs/data/NAME/preview.png.")
    ] = None,
    project: Annotated[Path, typer.Option(help="Directory of all runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of this run; exp, exp2, ...")] = None,
    json_: AsJson = False,
) -> None:
    """Write a contact sheet of training examples, before and after augmentation.

    The augmentation is the recipe's, with what the options change. Pictures are mirrored unless
    the data.yaml says `flip: false`.
    """
    from edgedet.cli.run_directory import RunDirectory
    from edgedet.data.dataset import load_dataset
    from edgedet.data.preview import write_preview
    from edgedet.training.recipes import options_from, read_recipe

    if not 32 <= imgsz <= 4096:
        raise InvalidInputError(f"--imgsz must be 32 to 4096 pixels, not {imgsz}.")
    run = RunDirectory(project, "data", name)
    dataset = load_dataset(data_yaml, split)
    changes = {
        "scale": scale,
        "colour": colour,
        "mosaic": mosaic,
        "autoaugment": autoaugment,
        "grid_mask": grid_mask,
    }
    options = options_from(
        read_recipe(recipe),
        {option: value for option, value in changes.items() if value is not None},
        images=len(dataset.samples),
    )
    try:
        written = write_preview(
            dataset,
            out or run.path() / "preview.png",
            size=imgsz,
            augmentation=options.augmentation(flip=dataset.flip),
            seed=seed,
            count=count,
        )
    finally:
        run.discard_if_empty()
    if json_:
        print(json.dumps({"preview": str(written), "split": split, "seed": seed}))
        return
    print(f"look at {written}")
    print(f"next: edgedet train --data {shlex.quote(str(data_yaml))}")


def _tables(report: CheckReport) -> RenderableType:
    """Counts, box sizes and findings for a terminal."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    from edgedet.data.check_report import size_names
    from edgedet.data.reading import shown_path

    counts = Table(title="Splits", title_justify="left")
    for head in ("split", "format"):
        counts.add_column(head)
    for head in ("pictures", "boxes", "crowd", "without boxes"):
        counts.add_column(head, justify="right")
    sizes = Table(title=f"Boxes by size in pixels at --imgsz {report.imgsz}", title_justify="left")
    sizes.add_column("split")
    for head in size_names():
        sizes.add_column(head, justify="right")
    for split in report.splits:
        row: list[Any] = [split.pictures, split.boxes, split.crowd, split.without_boxes]
        counts.add_row(split.name, split.format, *map(str, row))
        sizes.add_row(split.name, *map(str, split.sizes))
    findings = Table(title="Findings", title_justify="left")
    for head in ("", "split"):
        findings.add_column(head)
    findings.add_column("count", justify="right")
    findings.add_column("what")
    colours = {"error": "red", "warning": "yellow", "note": "dim"}
    for finding in report.findings:
        what = escape(shown_path(finding.sentence))
        if finding.examples:
            what += f"\n[dim]{escape(shown_path(finding.examples[0].sentence))}[/dim]"
        colour = colours[finding.severity]
        findings.add_row(
            f"[{colour}]{finding.severity}[/{colour}]", finding.split, str(finding.count), what
        )
    if not report.findings:
        return Group(counts, sizes, "Nothing to report.")
    return Group(counts, sizes, findings)
