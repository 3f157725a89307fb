"""The contracts between the rooms are kept, and breaking any one of them is noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROOMS = ("converters", "quantization", "benchmarks")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The package as `make tree` lays it out, each room a directory of links of its own."""
    package = tmp_path / "edgedet"
    sources = {package: REPOSITORY / "edgedet"}
    sources |= {package / room: REPOSITORY / room for room in ROOMS}
    for target, source in sources.items():
        for file in source.rglob("*.py"):
            link = target / file.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    return tmp_path


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("lint-imports")),
            *("--config", str(REPOSITORY / "pyproject.toml"), "--no-cache"),
        ],
        cwd=tree,
        capture_output=True,
        text=True,
    )


def test_the_contracts_are_kept(tree: Path) -> None:
    result = lint(tree)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("spec", "import numpy"),
        ("files", "import numpy"),
        ("anchors", "import PIL"),
        ("errors", "import edgedet.spec"),
        ("runtime/added", "import keras"),
        ("runtime/added", "def run():\n    import tensorflow"),
        ("runtime/added", "import edgedet.models"),
        ("models/added", "import tensorflow"),
        ("models/added", "import edgedet.data"),
        ("data/added", "import keras"),
        ("data/added", "import edgedet.runtime"),
        ("training/added", "import edgedet.runtime"),
        ("training/added", "import edgedet.converters"),
        ("evaluation/added", "import keras"),
        ("evaluation/added", "import edgedet.quantization"),
        ("converters/added", "import edgedet.training"),
        ("converters/added", "import edgedet.runtime"),
        ("quantization/added", "import edgedet.converters"),
        ("quantization/added", "import edgedet.models"),
        ("benchmarks/added", "import edgedet.data"),
        ("benchmarks/added", "import keras"),
        ("runtime/added", "import edgedet.cli"),
        ("unplaced", "import json"),
    ],
)
def test_a_forbidden_import_is_noticed(tree: Path, module: str, statement: str) -> None:
    file = tree / "edgedet" / f"{module}.py"
    text = file.read_text() if file.exists() else ""
    file.unlink(missing_ok=True)
    file.write_text(f"{text}\n{statement}\n")
    result = lint(tree)
    assert result.returncode == 1
    assert f"edgedet.{module.replace('/', '.')}" in result.stdout
