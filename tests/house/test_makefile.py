"""What a machine lacks is said in one sentence each, before anything is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def make(target: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", "--silent", target, *(f"{name}={value}" for name, value in variables.items())],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )


def sentences(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in result.stderr.splitlines() if not line.startswith("make")]


def executable(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def python_that_fails(directory: Path, condition: str) -> str:
    """A Python whose one-line programs fail where they contain `condition`."""
    return executable(
        directory / "python",
        f'case "$2" in *{condition}*) exit 1;; esac\nexec "{sys.executable}" "$@"',
    )


def test_a_machine_that_has_everything_passes_in_silence() -> None:
    result = make("check-test", PYTHON=sys.executable)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("version_info", "is older than Python 3.10: name a newer one"),
        ("ensurepip", "can't make virtual environments: install the Debian package python3-venv."),
        ("Python.h", "are missing: install the Debian package python3-dev."),
    ],
)
def test_what_python_lacks_is_named(tmp_path: Path, condition: str, sentence: str) -> None:
    result = make("check-demo", PYTHON=python_that_fails(tmp_path, condition))
    assert result.returncode != 0
    assert len(sentences(result)) == 1
    assert sentence in sentences(result)[0]


def test_without_python_its_package_is_named() -> None:
    result = make("check-demo", PYTHON="nosuch-python")
    assert result.returncode != 0
    assert sentences(result) == ["nosuch-python is missing: install the Debian package python3."]


def test_without_a_compiler_its_package_is_named() -> None:
    result = make("check-demo", PYTHON=sys.executable, CXX="nosuch-compiler")
    assert result.returncode != 0
    assert sentences(result) == [
        "A C++17 compiler (nosuch-compiler) is missing: install the Debian package g++."
    ]


def test_without_googletest_its_package_is_named(tmp_path: Path) -> None:
    compiler = executable(tmp_path / "c++", "! grep -q gtest")
    result = make("check-test", PYTHON=sys.executable, CXX=compiler)
    assert result.returncode != 0
    assert sentences(result) == ["GoogleTest is missing: install the Debian package libgtest-dev."]


def test_without_the_tools_of_check_native_their_packages_are_named(tmp_path: Path) -> None:
    compiler, find = shutil.which("g++"), shutil.which("find")
    assert compiler is not None
    assert find is not None
    (tmp_path / "find").symlink_to(find)
    result = make("check-tools", PYTHON=sys.executable, CXX=compiler, PATH=str(tmp_path))
    assert result.returncode != 0
    packages = [sentence.split()[-1] for sentence in sentences(result)]
    assert packages[:3] == ["g++-aarch64-linux-gnu.", "qemu-user.", "clang."]


def test_everything_missing_is_said_at_once(tmp_path: Path) -> None:
    python = python_that_fails(tmp_path, "ensurepip")
    result = make("check-demo", PYTHON=python, CXX="nosuch-compiler")
    assert len(sentences(result)) == 2


def test_help_lists_the_targets() -> None:
    result = make("help")
    assert [line.split()[1] for line in result.stdout.splitlines()] == [
        *("help", "demo", "test", "check-native", "lint", "bench", "bench-native"),
        *("model", "zoo", "oracles", "clean"),
    ]
