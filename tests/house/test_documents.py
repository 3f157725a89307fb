"""What the documents tell people to type and to open exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgedet import cli

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every `edgedet ...` line of the code blocks: the document's name and the line's words."""
    for document in DOCUMENTS:
        for block in re.findall(r"^```\w*\n(.*?)^```", document.read_text(), re.M | re.S):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("edgedet "):
                    yield document.name, shlex.split(line, comments=True)


@pytest.mark.parametrize(
    ("document", "words"),
    [pytest.param(name, words, id=f"{name}: {shlex.join(words)}") for name, words in commands()],
)
def test_a_command_in_a_document_exists_with_its_options(
    document: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = words[1]
    assert name in {**cli.COMMANDS, **cli.ALIASES}
    with pytest.raises(SystemExit):
        # `data` is a group of commands.
        cli.main([*(words[1:3] if name == "data" else words[1:2]), "--help"])
    known = set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))
    asked = {word.strip("[]").partition("=")[0] for word in words}  # [--option] in a synopsis
    assert {word for word in asked if word.startswith("--")} <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_links_of_a_document_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (document.parent / link).exists()] == []


def test_the_readme_and_the_continuous_check_call_the_same_targets() -> None:
    def targets(path: Path) -> list[str]:
        return re.findall(r"^make (\w+)", path.read_text(), re.M)

    assert targets(REPOSITORY / ".ci" / "run") == targets(REPOSITORY / "README.md")
