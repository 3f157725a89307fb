"""What the quick start and the README tell a newcomer to run, run in their order, only smaller."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
QUICKSTART = REPOSITORY / "docs" / "quickstart.md"
README = REPOSITORY / "README.md"
# Setting up is what the continuous check does itself.
SET_UP = ("python3 -m venv", ". .venv", "pip install", "make ")


def blocks(document: Path) -> Iterator[tuple[str, str]]:
    """(language, content) of every code block."""
    for found in re.finditer(r"^```(\w*)\n(.*?)^```", document.read_text(), re.M | re.S):
        yield found[1], found[2]


def shell_lines(document: Path) -> list[str]:
    return [
        line
        for language, block in blocks(document)
        if language == "sh"
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip() and not line.startswith("#")
    ]


def smaller(words: list[str]) -> list[str]:
    """The same command on a handful of pictures."""
    if words[1] == "synth":
        words = [*words, "--images", "24", "--val", "8"]
    if words[1] == "train":
        words = [*words, "--epochs", "1"]
    return words


def run(words: list[str], cwd: Path) -> None:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        f"{shlex.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    )


def test_the_quick_start_runs_as_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("pycocotools")
    ran = 0
    for language, block in blocks(QUICKSTART):
        if language == "python":
            run([sys.executable, "-c", block], tmp_path)
            ran += 1
            continue
        assert language == "sh"
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(SET_UP):
                continue
            words = shlex.split(line, comments=True)
            assert words[0] == "edgedet"
            run([sys.executable, "-m", *smaller(words)], tmp_path)
            ran += 1
    assert ran == 9
    for left in (
        "demo.png",
        "digits/data.yaml",
        "runs/train/quick/results.png",
        "runs/train/quick/best-int8-report/report.html",
        "runs/detect/exp",
        "runs/eval/exp",
        "runs/benchmark/exp",
    ):
        assert (tmp_path / left).exists(), left


def test_the_readme_says_what_the_quick_start_does(tmp_path: Path) -> None:
    known = shell_lines(QUICKSTART)
    commands = [line for line in shell_lines(README) if not line.startswith(SET_UP)]
    assert commands
    assert set(commands) <= set(known)
    (tmp_path / "edgedet").symlink_to(REPOSITORY / "edgedet")
    (python,) = (block for language, block in blocks(README) if language == "python")
    run([sys.executable, "-c", python], tmp_path)
    assert (tmp_path / "out.png").is_file()
