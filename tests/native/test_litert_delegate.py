"""The LiteRT delegate against the plain graph, and what it takes over.

    EDGEDET_LITERT_DELEGATE=build/release/native/litert_delegate/libedgedet_delegate.so

names the library, and so does the build in that place; these tests are skipped without one.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgedet
from edgedet.errors import InvalidInputError

interpreters: Any = pytest.importorskip("ai_edge_litert.interpreter")
Graph: Any = runpy.run_path(str(Path(__file__).with_name("tflite_nodes.py")))["Graph"]

ASSETS = Path(edgedet.__file__).parent / "assets"
VARIABLE = "EDGEDET_LITERT_DELEGATE"
BUILT = Path(__file__).parents[2] / "build/release/native/litert_delegate/libedgedet_delegate.so"


@pytest.fixture(scope="module")
def library() -> str:
    path = os.environ.get(VARIABLE) or str(BUILT)
    if not Path(path).is_file():
        pytest.skip("libedgedet_delegate is not built")
    return path


def opened(model: bytes, library: str | None) -> Any:
    delegates = [interpreters.load_delegate(library)] if library else None
    return interpreters.Interpreter(
        model_content=model, num_threads=1, experimental_delegates=delegates
    )


def results(interpreter: Any, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    interpreter.allocate_tensors()
    for entry in interpreter.get_input_details():
        values = random.normal(0, 40 if entry["dtype"] == np.int8 else 3, entry["shape"])
        interpreter.set_tensor(
            entry["index"], np.clip(values, -128, 127).astype(entry["dtype"], casting="unsafe")
        )
    interpreter.invoke()
    return [interpreter.get_tensor(entry["index"]) for entry in interpreter.get_output_details()]


def kernels(model: bytes, library: str) -> list[dict[str, Any]]:
    """The kernels made of the graph's operators, before XNNPACK takes the others."""
    interpreter = opened(model, library)
    return [entry for entry in interpreter._get_ops_details() if entry["op_name"] == "DELEGATE"]


def weighted(graph: Graph) -> int:
    coarse = graph.enlarged(graph.input(4, 3, 20), 8, 6)
    maps = [graph.input(8, 6, 20), coarse, graph.pooled(graph.input(16, 11, 20))]
    terms = [graph.scaled(t, f) for t, f in zip(maps, (0.3, 0.6, 0.1), strict=True)]
    return graph.add(graph.add(terms[0], terms[1]), terms[2])


def with_fused(activation: str) -> Callable[[Graph], int]:
    def made(graph: Graph) -> int:
        coarse = graph.enlarged(graph.input(4, 3, 20), 8, 6)
        return graph.add(graph.input(8, 6, 20), coarse, activation)

    return made


def pooled_twice(graph: Graph) -> int:
    fine = graph.scaled(graph.pooled(graph.pooled(graph.input(13, 16, 8))), 1.5)
    return graph.add(fine, graph.input(4, 4, 8))


def four_times(graph: Graph) -> int:
    return graph.add(graph.input(8, 12, 5), graph.enlarged(graph.input(2, 3, 5), 8, 12))


FUSIONS: dict[str, Callable[[Graph], int]] = {
    "sum": with_fused("NONE"),
    "fused relu": with_fused("RELU"),
    "fused relu6": with_fused("RELU6"),
    "pooled": lambda graph: graph.add(graph.pooled(graph.input(15, 12, 7)), graph.input(8, 6, 7)),
    "weighted": weighted,
    "weighted swish": lambda graph: graph.gated(weighted(graph)),
    "weighted hard_swish": lambda graph: graph.activated("HARD_SWISH", weighted(graph)),
    "relu behind": lambda graph: graph.activated("RELU", weighted(graph)),
    "relu6 behind": lambda graph: graph.activated("RELU6", weighted(graph)),
    "pooled twice": pooled_twice,
    "four times": four_times,
}


@pytest.mark.parametrize("name", FUSIONS)
def test_a_float_fusion_becomes_one_kernel_and_stays_the_same(name: str, library: str) -> None:
    graph = Graph()
    model = graph.to_bytes(FUSIONS[name](graph))
    assert len(kernels(model, library)) == 1
    (expected,), (found,) = results(opened(model, None)), results(opened(model, library))
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["sum", "fused relu", "fused relu6", "pooled", "four times"])
def test_an_int8_fusion_is_within_one_step(name: str, library: str) -> None:
    graph = Graph(np.int8)
    model = graph.to_bytes(FUSIONS[name](graph))
    assert len(kernels(model, library)) == 1
    (expected,), (found,) = results(opened(model, None)), results(opened(model, library))
    assert len(np.unique(expected)) > 20
    assert np.abs(expected.astype(int) - found).max() <= 1


@pytest.mark.parametrize("name", ["weighted", "weighted swish", "relu6 behind", "pooled twice"])
def test_int8_graphs_that_round_in_between_are_left_alone(name: str, library: str) -> None:
    graph = Graph(np.int8)
    assert kernels(graph.to_bytes(FUSIONS[name](graph)), library) == []


def read_twice(graph: Graph) -> list[int]:
    coarse = graph.enlarged(graph.input(4, 4, 8), 8, 8)
    return [graph.add(graph.input(8, 8, 8), coarse), graph.activated("RELU", coarse)]


def given_out(graph: Graph) -> list[int]:
    coarse = graph.enlarged(graph.input(4, 4, 8), 8, 8)
    return [graph.add(graph.input(8, 8, 8), coarse), coarse]


def sum_given_out(graph: Graph) -> list[int]:
    total = weighted(graph)
    return [graph.gated(total), total]


LEFT_ALONE: dict[str, Callable[[Graph], list[int]]] = {
    "resampled map read twice": read_twice,
    "resampled map is an output": given_out,
    "sum before swish is an output": sum_given_out,
    "corners aligned": lambda graph: [
        graph.add(
            graph.input(8, 8, 8), graph.enlarged(graph.input(4, 4, 8), 8, 8, align_corners=True)
        )
    ],
    "no whole factor": lambda graph: [
        graph.add(graph.input(6, 6, 8), graph.enlarged(graph.input(4, 4, 8), 6, 6))
    ],
    "two factors": lambda graph: [
        graph.add(graph.input(8, 12, 8), graph.enlarged(graph.input(4, 4, 8), 8, 12))
    ],
    "pooling of 2x3": lambda graph: [
        graph.add(graph.input(4, 4, 8), graph.pooled(graph.input(8, 8, 8), 2, 3))
    ],
    "pooling of 3x2": lambda graph: [
        graph.add(graph.input(4, 4, 8), graph.pooled(graph.input(8, 8, 8), 3, 2))
    ],
    "broadcast": lambda graph: [
        graph.add(graph.enlarged(graph.input(2, 2, 8), 4, 4), graph.input(1, 1, 8))
    ],
    "plain sum": lambda graph: [graph.gated(graph.add(graph.input(4, 4, 8), graph.input(4, 4, 8)))],
    "another activation": lambda graph: [
        graph.add(graph.input(4, 4, 8), graph.pooled(graph.input(8, 8, 8)), "RELU_N1_TO_1")
    ],
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_no_fusion_is_left_alone(name: str, library: str) -> None:
    graph = Graph()
    model = graph.to_bytes(*LEFT_ALONE[name](graph))
    assert kernels(model, library) == []
    for expected, found in zip(
        results(opened(model, None)), results(opened(model, library)), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_other_input_sizes_are_refused_not_overrun(library: str) -> None:
    graph = Graph()
    interpreter = opened(graph.to_bytes(with_fused("NONE")(graph)), library)
    interpreter.allocate_tensors()
    for entry in interpreter.get_input_details():
        interpreter.resize_tensor_input(entry["index"], [1, 64, 64, 20])
    with pytest.raises((RuntimeError, ValueError)):
        results(interpreter)


def test_the_bundled_model_gives_what_it_gives_without(library: str) -> None:
    content = (ASSETS / "digits-m0-int8.tflite").read_bytes()
    assert len(kernels(content, library)) >= 5
    for expected, found in zip(
        results(opened(content, None)), results(opened(content, library)), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_a_detector_takes_the_library_that_the_environment_names(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, scene = ASSETS / "digits-m0-int8.tflite", ASSETS / "scene.png"
    expected = edgedet.Detector(model, threads=1).detect(scene)
    monkeypatch.setenv(VARIABLE, library)
    detector = edgedet.Detector(model, threads=1)
    found = detector.detect(scene)
    assert len(found) > 0
    np.testing.assert_array_equal(found.xyxy, expected.xyxy)
    np.testing.assert_array_equal(found.class_id, expected.class_id)


def test_a_library_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "no/such/library.so")
    with pytest.raises(InvalidInputError, match=rf"^{VARIABLE} names no/such/library.so"):
        edgedet.Detector(ASSETS / "digits-m0-int8.tflite")


def test_it_needs_the_c_library_only(library: str) -> None:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("needs nm")
    listed = subprocess.run(
        [nm, "-D", "--undefined-only", library], capture_output=True, text=True, check=True
    )
    needed = [line.split()[-1] for line in listed.stdout.splitlines() if line.split()[0] == "U"]
    assert needed
    assert [name for name in needed if "@GLIBC" not in name] == []
    exported = subprocess.run(
        [nm, "-D", "--defined-only", library], capture_output=True, text=True, check=True
    )
    names = {line.split()[-1] for line in exported.stdout.splitlines()}
    assert names == {"tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate"}
