"""`edgedet doctor`: whether this installation works, and what keeps it from being fast."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def doctor(
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look at Python, packages, engines, processor and directories, and run the bundled model.

    Exits 0 when everything that is installed works, 1 when something is broken.
    """
    from edgedet.benchmarks.health import BROKEN, NOTE, examine
    from edgedet.cli import EXTRAS
    from edgedet.cli.native_log import without_native_log

    with without_native_log():
        checks = examine(EXTRAS)
    broken = [check for check in checks if check.status == BROKEN]
    if json_:
        print(json.dumps({"healthy": not broken, "checks": [check.to_dict() for check in checks]}))
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(show_header=False, box=None)
        table.add_column(no_wrap=True)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for check in checks:
            told = f"{check.told}\n{check.remedy}" if check.remedy else check.told
            table.add_row(check.status, escape(check.name), escape(told))
        Console().print(table)
        notes = sum(check.status == NOTE for check in checks)
        print(
            f"broken: {', '.join(check.name for check in broken)}"
            if broken
            else f"healthy, with {notes} note{'s' * (notes != 1)}"
        )
        if not broken:
            print("next: edgedet demo")
    if broken:
        raise typer.Exit(1)
