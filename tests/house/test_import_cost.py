"""What `import edgedet` brings with it, and what the runtime can do without."""

from __future__ import annotations

import subprocess
import sys

import pytest

import edgedet

HEAVY = "keras tensorflow ai_edge_litert openvino onnxruntime numpy PIL typer rich".split()

# Everything that is no runtime dependency.
OPTIONAL = (
    "keras tensorflow jax torch grain yaml sklearn scipy pycocotools matplotlib pandas "
    "openvino onnx onnxruntime"
).split()


def python(code: str) -> str:
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return out.stdout


def test_importing_edgedet_imports_nothing_heavy() -> None:
    loaded = python("import sys, edgedet; print(*{name.split('.')[0] for name in sys.modules})")
    assert set(loaded.split()).isdisjoint(HEAVY)


def test_importing_edgedet_takes_less_than_0_3_s() -> None:
    code = "import time; t = time.process_time(); import edgedet; print(time.process_time() - t)"
    assert min(float(python(code)) for _ in range(3)) < 0.3


@pytest.mark.parametrize(
    "module",
    [
        "edgedet.runtime",
        "edgedet.runtime.detector",
        "edgedet.benchmarks",
        "edgedet.cli.demo",
        "edgedet.cli.detect",
        "edgedet.cli.info",
        "edgedet.cli.benchmark",
        "edgedet.cli.doctor",
        "edgedet.cli.recommend",
    ],
)
def test_runs_with_the_runtime_dependencies_only(module: str) -> None:
    python(f"""
import importlib, sys
for name in {OPTIONAL}:
    sys.modules[name] = None  # importing it raises ModuleNotFoundError
importlib.import_module({module!r})
""")


@pytest.mark.parametrize("module", [f"edgedet.cli.{name}" for name in ("train", "convert", "eval")])
def test_the_help_of_a_training_command_costs_no_framework(module: str) -> None:
    loaded = python(f"import sys, {module}; print(*{{n.split('.')[0] for n in sys.modules}})")
    assert {"keras", "tensorflow", "grain", "sklearn"}.isdisjoint(loaded.split())


@pytest.mark.parametrize("name", edgedet.__all__)
def test_public_names_resolve(name: str) -> None:
    assert getattr(edgedet, name) is not None
    assert name in dir(edgedet)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Detectr'"):
        edgedet.Detectr  # noqa: B018
