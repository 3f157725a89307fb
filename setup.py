"""Build of the package: the rooms at the top level, and the native module through CMake.

Everything else about the package stands in pyproject.toml.
"""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

# Rooms that lie at the top level of the source tree and are installed inside `edgedet`.
ROOMS = ("converters", "quantization", "benchmarks")


class CMakeBuild(build_ext):
    """Build `edgedet._native` with CMake, and put it where setuptools expects an extension."""

    def build_extension(self, ext: Extension) -> None:
        """Configure and build the CMake target `_native`."""
        import pybind11

        source = Path(__file__).resolve().parent
        module = Path(self.get_ext_fullpath(ext.name)).resolve()
        build = Path(self.build_temp).resolve() / "cmake"
        if getattr(self, "editable_mode", False):
            # setuptools' own choice is a new directory for each editable install.
            build = source / "build" / f"editable-{sys.implementation.cache_tag}"
        build.mkdir(parents=True, exist_ok=True)
        cmake = _program("cmake", "CMAKE_BIN_DIR")
        # Paths are passed on every run: those in CMake's cache may lead into an isolated build
        # environment that is gone.
        subprocess.run(
            [
                cmake,
                *("-S", str(source), "-B", str(build), "-G", "Ninja"),
                f"-DCMAKE_MAKE_PROGRAM={_program('ninja', 'BIN_DIR')}",
                f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
                f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={module.parent}",
                f"-DPython_EXECUTABLE={sys.executable}",
                f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
                "-DEDGEDET_BUILD_PYTHON=ON",
                "-DEDGEDET_BUILD_TESTS=OFF",
                *shlex.split(os.environ.get("CMAKE_ARGS", "")),
            ],
            check=True,
        )
        jobs = self.parallel or os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or os.cpu_count() or 1
        subprocess.run(
            [cmake, "--build", str(build), "--target", "_native", "--parallel", str(jobs)],
            check=True,
        )
        if not module.is_file():
            raise RuntimeError(f"the build made no {module}")


def _program(name: str, directory: str) -> str:
    """Path of a build tool: the one installed beside this Python, else the one on PATH."""
    try:
        own = Path(getattr(importlib.import_module(name), directory)) / name
    except (ImportError, AttributeError):
        own = None
    found = str(own) if own is not None and own.is_file() else shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is missing; install it with `pip install {name}`")
    return found


package_dir = {"edgedet": "edgedet"}
packages = find_packages(include=["edgedet", "edgedet.*"])
for room in ROOMS:
    package_dir[f"edgedet.{room}"] = room
    packages.append(f"edgedet.{room}")
    packages += [f"edgedet.{room}.{name}" for name in find_packages(room)]

setup(
    packages=packages,
    package_dir=package_dir,
    package_data={
        "edgedet": ["py.typed", "*.pyi", "assets/*", "recipes/*.yaml"],
        "edgedet.benchmarks.peers": ["workers/*.py"],
    },
    include_package_data=False,
    ext_modules=[Extension("edgedet._native", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
    zip_safe=False,
)
