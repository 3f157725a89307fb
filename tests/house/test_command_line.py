"""The `edgedet` command itself: which code runs for which words, and how errors end."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet import __version__, cli
from edgedet.errors import EdgeDetError, InvalidInputError, MissingDependencyError, MissingFileError

NAMES = [*cli.COMMANDS, *cli.ALIASES]


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        cli.main(words)
    return int(exit_.value.code or 0)


def command_that(monkeypatch: pytest.MonkeyPatch, body: Callable[[], object]) -> None:
    def command() -> None:
        body()

    monkeypatch.setattr(cli, "_load", lambda name: command)


def raising(error: BaseException) -> Callable[[], object]:
    def body() -> None:
        raise error

    return body


def test_help_shows_one_line_for_each_command_and_hides_aliases(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--help") == 0
    listed = capsys.readouterr().out.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in listed if line] == list(cli.COMMANDS)
    assert all(len(line) <= 80 for line in listed)


def test_help_loads_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Callable[..., object]:
        raise AssertionError(f"{name} was loaded")

    monkeypatch.setattr(cli, "_load", load)
    assert run("--help") == 0


def test_help_imports_no_command_and_no_array_library() -> None:
    code = """
import json, sys
from edgedet.cli import main
try:
    main(["--help"])
except SystemExit:
    print("MODULES", json.dumps(sorted(sys.modules)))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = json.loads(out.stdout.partition("MODULES")[2])
    assert [name for name in modules if name.startswith("edgedet.cli.")] == []
    assert {"numpy", "PIL", "keras", "tensorflow", "ai_edge_litert"}.isdisjoint(modules)


@pytest.mark.parametrize("name", NAMES)
def test_each_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    usage = capsys.readouterr().out
    assert usage.startswith(f"Usage: edgedet {name} ")
    assert "--help" in usage


@pytest.mark.parametrize(("alias", "name"), cli.ALIASES.items())
def test_an_alias_runs_the_command_it_stands_for(
    alias: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(command: str) -> Callable[[], None]:
        asked.append(command)
        return lambda: None

    monkeypatch.setattr(cli, "_load", load)
    assert run(alias) == 0
    assert asked == [name]


@pytest.mark.parametrize("call", [["edgedet"], [sys.executable, "-m", "edgedet"]])
def test_version(call: list[str]) -> None:
    if call == ["edgedet"]:
        call = [str(Path(sys.executable).with_name("edgedet"))]
    out = subprocess.run([*call, "--version"], capture_output=True, text=True, check=True)
    assert out.stdout == f"edgedet {__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nosuch"], "No such command 'nosuch'"),
        (["detct"], "Did you mean 'detect'?"),
        (["--nosuch"], "No such option"),
        (["detect", "--nosuch"], "No such option"),
        (["detect"], "Missing option"),
    ],
)
def test_wrong_usage_is_explained_and_exits_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (EdgeDetError("It can't be done."), "It can't be done."),
        (InvalidInputError("a.png is empty."), "a.png is empty."),
        (MissingFileError("a.png does not exist."), "a.png does not exist."),
        (MissingDependencyError("Install x."), "Install x."),
        (
            OSError(errno.ENOSPC, "No space left on device", "out.png"),
            "out.png: the disk is full; free some space and run again.",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "the disk is full; free some space and run again.",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "out.png"),
            "out.png: no permission; choose another place or change the permissions.",
        ),
        (
            ModuleNotFoundError("No module named 'keras.src'", name="keras.src"),
            'keras is not installed; install it with `pip install "edgedet[train]"`.',
        ),
        (
            ModuleNotFoundError("No module named 'pycocotools'", name="pycocotools"),
            'pycocotools is not installed; install it with `pip install "edgedet[eval]"`.',
        ),
    ],
)
def test_an_error_of_the_input_is_one_sentence_and_exits_2(
    error: Exception,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command_that(monkeypatch, raising(error))
    assert run("info") == 2
    captured = capsys.readouterr()
    assert captured.err == f"error: {sentence}\n"
    assert captured.out == ""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a fault"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "internal.bin"),
        ModuleNotFoundError("No module named 'edgedet.nosuch'", name="edgedet.nosuch"),
    ],
)
def test_a_fault_of_the_program_keeps_its_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    command_that(monkeypatch, raising(error))
    with pytest.raises(type(error)) as raised:
        cli.main(["info"])
    assert raised.value is error


def test_an_interrupt_exits_130_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_that(monkeypatch, raising(KeyboardInterrupt()))
    assert run("info") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_an_interrupt_while_a_command_is_imported_exits_130(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(name: str) -> Callable[..., object]:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_load", load)
    assert run("info") == 130


@pytest.mark.parametrize("words", [["--help"], ["info"]])
def test_a_reader_that_leaves_early_is_no_error(words: list[str]) -> None:
    # `info` stands for commands that print without flushing: they notice at the very end.
    code = f"""
import sys
from edgedet import cli
cli._load = lambda name: lambda: print("a result")
sys.stdin.read()
cli.main({words})
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.close()  # only now does the command begin to write
    assert process.stderr.read() == b""
    assert process.wait() == 1


def test_every_extra_that_errors_name_is_declared() -> None:
    from importlib.metadata import metadata

    assert set(cli.EXTRAS.values()) <= set(metadata("edgedet").get_all("Provides-Extra") or [])
