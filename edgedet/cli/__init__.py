"""The `edgedet` command: finds the command asked for, loads only that one, reports its errors.

One rule binds a command to its code: `edgedet NAME` runs the function `NAME` of `edgedet.cli.NAME`,
its parameters annotated for typer. The function gets a trailing underscore where NAME is a Python
builtin (`eval_`), and its module too where NAME is a keyword (`import_`). Where NAME is a typer
application instead (`data`), its commands are subcommands. Modules of commands import heavy
packages inside their functions.

The application is put together anew for each call, with the real function for the command asked
for and a summary for the others: `edgedet --help` costs no import of a command.
"""

from __future__ import annotations

import builtins
import errno
import importlib
import keyword
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

import edgedet
from edgedet.errors import EdgeDetError

COMMANDS = {
    "demo": "Run the bundled INT8 detector on the bundled picture.",
    "models": "List the architectures, their cost and their papers' figures.",
    "info": "Show what a model file contains, or what an architecture costs.",
    "import": "Bring weights that others published into a network of edgedet.",
    "synth": "Make a synthetic detection dataset.",
    "data": "Check, convert and preview a dataset.",
    "train": "Train a detector on a dataset.",
    "eval": "Measure a detector's accuracy on a dataset.",
    "convert": "Convert a trained model to the formats that devices run.",
    "detect": "Find objects in pictures and videos.",
    "parity": "Compare what files of one model find, as a gate.",
    "benchmark": "Measure a detector's latency, step by step.",
    "recommend": "Pick the detector that keeps a budget of time and accuracy.",
    "doctor": "Check this installation and run the bundled model.",
}
ALIASES = {"val": "eval", "export": "convert", "predict": "detect"}

# The extra that brings an optional package, by the name the package is imported under.
EXTRAS = {
    "grain": "train",
    "keras": "train",
    "sklearn": "train",
    "tensorflow": "train",
    "yaml": "train",
    "matplotlib": "eval",
    "pycocotools": "eval",
    "openvino": "openvino",
    "onnxruntime": "onnx",
    "av": "video",
}

# Conditions of the machine that no code can mend; other OSErrors are faults and keep a traceback.
_SURROUNDINGS = {
    errno.ENOSPC: "the disk is full; free some space and run again.",
    errno.EDQUOT: "the disk quota is used up; free some space and run again.",
    errno.EROFS: "the file system is read-only; choose another place.",
    errno.EACCES: "no permission; choose another place or change the permissions.",
    errno.EPERM: "no permission; choose another place or change the permissions.",
    errno.EMFILE: "too many files are open; raise the limit with `ulimit -n`.",
    errno.EIO: "the device failed to read or write; check the disk.",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Status 0 is done, 1 a failed `parity`, `data check`, `doctor`, `recommend` or
    `benchmark --compare`, 2 unusable input, 3 an INT8 file that loses too much, 130 interrupted.

    Args:
        arguments: words after `edgedet`; those of the process by default.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        try:
            typer.main.get_command(_application(words))(args=words, prog_name="edgedet")
        finally:
            # At interpreter exit, a pipe closed by the reader would print a warning instead.
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stdout = None  # nothing more can be flushed into it
        sys.exit(1)
    except (EdgeDetError, OSError, ModuleNotFoundError) as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(2)


def _application(words: Sequence[str]) -> typer.Typer:
    """The typer application in which the command that `words` ask for is real."""
    # The application's own options take no value, so the first other word is the command.
    wanted = next((word for word in words if not word.startswith("-")), None)
    application = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        # Square brackets in help texts, as in edgedet[train], are no markup.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    application.callback()(_root)
    for name in (*COMMANDS, *ALIASES):
        command = ALIASES.get(name, name)
        body = _load(command) if name == wanted else _unused
        if isinstance(body, typer.Typer):
            application.add_typer(body, name=name)
        else:
            application.command(name, short_help=COMMANDS[command], hidden=name in ALIASES)(body)
    return application


def _load(command: str) -> Callable[..., Any] | typer.Typer:
    name = f"{command}_" if keyword.iskeyword(command) else command
    module = importlib.import_module(f"edgedet.cli.{name}")
    body: Callable[..., Any] | typer.Typer = getattr(
        module, f"{command}_" if hasattr(builtins, command) else name
    )
    return body


def _unused() -> None:
    """Stands for the commands that were not asked for."""


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"edgedet {edgedet.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Train, quantize, convert, run and measure small object detectors."""


def _sentence(error: Exception) -> str | None:
    """What to tell the user about `error`; None when it is a fault of the program."""
    if isinstance(error, EdgeDetError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            return None
        return (
            f"{package} is not installed; install it with "
            f'`pip install "edgedet[{EXTRAS[package]}]"`.'
        )
    if isinstance(error, OSError) and error.errno in _SURROUNDINGS:
        place = f"{error.filename}: " if error.filename else ""
        return place + _SURROUNDINGS[error.errno]
    return None
