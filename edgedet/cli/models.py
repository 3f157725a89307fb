"""`edgedet models`: every preset with its cost, beside what its paper prints."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.errors import InvalidInputError, MissingFileError

if TYPE_CHECKING:
    from edgedet.models import Count, Preset
    from edgedet.spec import ModelSpec

COUNTS = "models.json"
"""The asset that holds what `edgedet models --recount --json` printed."""

_HEADINGS = (
    "model\n", "input\n", "\nparameters", "paper\nM", "\n%",
    "mult-\nadds B", "paper\nB", "\n%", "\nAP",
)  # fmt: skip


def models(
    family: Annotated[
        str, typer.Option(metavar="PREFIX", help="Only names that begin so, as eff-spinenet.")
    ] = "",
    recount: Annotated[
        bool, typer.Option("--recount", help="Build every network and count: a minute or more.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the architectures that --model takes: input, parameters, multiply-adds, the papers' AP.

    Without --recount the figures are those counted when this version was made.
    """
    listed = list(_recounted(family)) if recount else _stored()
    listed = [model for model in listed if model["name"].startswith(family)]
    if not listed:
        raise InvalidInputError(f"No model begins with {family!r}; `edgedet models` lists all.")
    if json_:
        print(to_json(listed))
    else:
        _print_table(listed)


def describe(preset: Preset, count: Count) -> dict[str, Any]:
    """A preset and its cost as JSON values."""
    finest, coarsest = preset.levels
    return {
        "name": preset.name,
        "size": preset.size,
        "classes": preset.published.classes,
        "parameters": count.parameters,
        "multiply_adds": count.multiply_adds,
        "parts": {part: list(cost) for part, cost in count.by_part().items()},
        "published": {
            "parameters_millions": preset.published.parameters,
            "multiply_adds_billions": preset.published.multiply_adds,
            "ap": preset.published.ap,
        },
        "levels": list(range(finest, coarsest + 1)),
        "activation": preset.activation,
        "paper": preset.paper,
    }


def paper_spec(name: str) -> ModelSpec:
    """The spec of a preset, or of a name with options, for the classes that its paper counts.

    Raises:
        InvalidInputError: there is no such preset, or it has no such option.
    """
    from edgedet.models import parse_name, preset, preset_spec

    classes = preset(parse_name(name)[0]).published.classes
    return preset_spec(name, [str(index) for index in range(classes)])


def count_spec(spec: ModelSpec) -> Count:
    """The cost of the network that `spec` describes."""
    import keras

    from edgedet.models import build, count

    # Shapes are enough to count: making the weights takes two thirds of the time.
    with keras.StatelessScope(initialize_variables=False):
        return count(build(spec))


def to_json(listed: Sequence[Mapping[str, Any]]) -> str:
    """One JSON object, a line for each model."""
    lines = ",\n".join(json.dumps(model) for model in listed)
    return f'{{"models": [\n{lines}\n]}}'


def quiet_backend() -> None:
    """Import Keras without the trifles that TensorFlow reports of its start-up."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from edgedet.cli.native_log import without_native_log

    with without_native_log():
        import edgedet.models  # noqa: F401


def _stored() -> list[dict[str, Any]]:
    import importlib.resources

    file = importlib.resources.files("edgedet") / "assets" / COUNTS
    if not file.is_file():
        raise MissingFileError(f"The bundled {COUNTS} is missing; install edgedet again.")
    listed: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["models"]
    return listed


def _recounted(family: str) -> Iterator[dict[str, Any]]:
    """Count every preset of the family, behind a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    quiet_backend()
    import keras

    from edgedet.models import presets

    terminal = Console(stderr=True)
    progress = Progress(
        TextColumn("counting {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    )
    wanted = [preset for preset in presets() if preset.name.startswith(family)]
    with progress:
        task = progress.add_task("", total=len(wanted))
        for preset in wanted:
            progress.update(task, description=preset.name)
            yield describe(preset, count_spec(paper_spec(preset.name)))
            keras.backend.clear_session()
            progress.advance(task)


def _print_table(listed: Sequence[Mapping[str, Any]]) -> None:
    """A table under each paper's name, all with the same columns."""
    from rich.console import Console
    from rich.table import Table

    rows = [_row(model) for model in listed]
    lines = [*rows, *zip(*(heading.split("\n") for heading in _HEADINGS), strict=True)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def table(content: Sequence[Sequence[str]], *, headed: bool) -> Table:
        made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=headed)
        for place, (heading, width) in enumerate(zip(_HEADINGS, widths, strict=True)):
            made.add_column(
                heading, width=width, no_wrap=True, justify="right" if place else "left"
            )
        for row in content:
            made.add_row(*row)
        return made

    console = Console()
    console.print(table([], headed=True))
    paired = zip(listed, rows, strict=True)
    for paper, group in itertools.groupby(paired, key=lambda pair: pair[0]["paper"]):
        console.print(f"[bold]{paper}[/bold]", highlight=False)
        console.print(table([row for _, row in group], headed=False))
    print(
        "\nParameters are for as many classes as the paper counts, 91 or 90. Multiply-adds"
        "\nare those of convolutions; NAS-FPN's, printed twofold, are halved here. % is how"
        "\nfar ours lie above the paper's. AP is the papers', on COCO."
        f"\nnext: edgedet info {listed[0]['name']} --plot graph.png"
    )


def _row(model: Mapping[str, Any]) -> list[str]:
    published = model["published"]
    billions = model["multiply_adds"] / 1e9
    return [
        model["name"],
        str(model["size"]),
        f"{model['parameters']:,}".replace(",", " "),
        *_beside(model["parameters"] / 1e6, published["parameters_millions"]),
        f"{billions:.3f}",
        *_beside(billions, published["multiply_adds_billions"]),
        _known(published["ap"]),
    ]


def _beside(ours: float, paper: float | None) -> tuple[str, str]:
    return (_known(paper), "" if paper is None else f"{100 * (ours / paper - 1):+.1f}")


def _known(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
