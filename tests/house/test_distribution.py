"""What the sdist and the wheel contain, the wheel being built from the sdist alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

import edgedet

REPOSITORY = Path(__file__).parents[2]
ROOMS = ("converters", "quantization", "benchmarks")
STEM = f"edgedet-{edgedet.__version__}"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(directory)]
    quick = {**os.environ, "CMAKE_ARGS": "-DCMAKE_BUILD_TYPE=Debug"}
    result = subprocess.run(
        [*build, str(REPOSITORY)], env=quick, cwd=directory, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return directory


@pytest.fixture(scope="module")
def sdist_names(dist: Path) -> set[str]:
    with tarfile.open(dist / f"{STEM}.tar.gz") as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob(f"{STEM}-*.whl")
    return path


@pytest.fixture(scope="module")
def wheel_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def python_files() -> set[str]:
    """Every module of the package, by its place in the installed package."""
    files = {path.relative_to(REPOSITORY) for path in (REPOSITORY / "edgedet").rglob("*.py")}
    for room in ROOMS:
        files |= {
            Path("edgedet") / path.relative_to(REPOSITORY)
            for path in (REPOSITORY / room).rglob("*.py")
        }
    return {path.as_posix() for path in files}


def data_files() -> set[str]:
    found = [*(REPOSITORY / "edgedet").glob("*.pyi"), *(REPOSITORY / "edgedet/assets").glob("*")]
    return {"edgedet/py.typed"} | {path.relative_to(REPOSITORY).as_posix() for path in found}


def test_the_wheel_holds_every_module_and_data_file(wheel_names: set[str]) -> None:
    assert python_files() | data_files() <= wheel_names


def test_the_wheel_holds_the_native_module_and_nothing_else_compiled(wheel_names: set[str]) -> None:
    compiled = [name for name in wheel_names if PurePosixPath(name).suffix in (".so", ".a", ".o")]
    assert len(compiled) == 1
    assert compiled[0].startswith("edgedet/_native.")


def test_the_wheel_installs_one_import_root(wheel_names: set[str]) -> None:
    roots = {name.partition("/")[0] for name in wheel_names}
    assert roots == {"edgedet", f"{STEM}.dist-info"}


def test_the_wheel_holds_its_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"{STEM}.dist-info/licenses/LICENSE").decode()
        metadata = archive.read(f"{STEM}.dist-info/METADATA").decode()
    assert "Apache License" in text
    assert "License-Expression: Apache-2.0" in metadata


def test_the_sdist_holds_sources_tests_and_build_files(sdist_names: set[str]) -> None:
    native = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "native").rglob("*")
        if path.suffix in (".cc", ".h") or path.name == "CMakeLists.txt"
    }
    files = {"CMakeLists.txt", "CMakePresets.json", "Makefile", "README.md", "LICENSE", "setup.py"}
    assert native | files | data_files() <= sdist_names
    assert "tests/house/test_distribution.py" in sdist_names


def test_the_sdist_holds_nothing_built(sdist_names: set[str]) -> None:
    assert [name for name in sdist_names if name.endswith((".so", ".pyc"))] == []


@pytest.mark.parametrize("module", [f"edgedet.{name}" for name in (*ROOMS, "ops", "runtime")])
def test_modules_of_the_wheel_import_from_it(wheel: Path, module: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = f"""
import importlib, sys
sys.path.insert(0, {str(tmp_path)!r})
print(importlib.import_module({module!r}).__file__)
"""
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert out.stdout.startswith(str(tmp_path))
