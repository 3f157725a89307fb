"""Times of operators: which layer they are given to, and the engines' profilers themselves."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from edgedet.archive import read_model
from edgedet.benchmarks import operator_times, peak
from edgedet.benchmarks.litert_events import read_events
from edgedet.benchmarks.operator_times import OperatorTime, Profile, profile
from edgedet.benchmarks.tflite_nodes import Graph, Node, match, read_graph
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.runtime.cost import count_file

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "runtime" / "data" / "blocks-int8.tflite"
FLOAT_MODEL = MODEL.with_name("blocks-float32.tflite")
BUNDLED = ROOT / "edgedet" / "assets" / "digits-m0-int8.tflite"


def graph(*nodes: tuple[str, tuple[int, ...], int]) -> Graph:
    """Operators of (kind, tensors read, tensor written); tensor 0 is the input."""
    made = tuple(
        Node(index, kind, f"{kind}_{index}", inputs, (output,), 0)
        for index, (kind, inputs, output) in enumerate(nodes)
    )
    return Graph(made, frozenset({0}))


CONVOLUTION = "Convolution (NHWC, QC8) IGEMM"
DEPTHWISE = "Convolution (NHWC, QC8) DWConv"


def indices(found: list[tuple[Node, str, float]] | None) -> list[tuple[int, float]] | None:
    return None if found is None else [(node.index, spent) for node, _, spent in found]


def test_operators_are_matched_in_order_and_by_kind() -> None:
    chain = graph(("CONV_2D", (0,), 1), ("DEPTHWISE_CONV_2D", (1,), 2), ("ADD", (1, 2), 3))
    found = match(chain, [(CONVOLUTION, None, 5.0), (DEPTHWISE, None, 3.0), ("Add (ND)", None, 1)])
    assert indices(found) == [(0, 5), (1, 3), (2, 1)]


def test_an_operator_that_was_put_in_belongs_to_what_stands_before() -> None:
    chain = graph(("ADD", (0,), 1), ("CONV_2D", (1,), 2))
    rows = [("Add (ND)", None, 2.0), ("Clamp (NC)", None, 0.5), (CONVOLUTION, None, 4.0)]
    assert indices(match(chain, rows)) == [(0, 2.5), (1, 4)]


def test_an_operator_that_was_merged_is_left_out() -> None:
    chain = graph(("CONV_2D", (0,), 1), ("RESHAPE", (1,), 2), ("ADD", (2,), 3))
    found = match(chain, [(CONVOLUTION, None, 5.0), ("Add (ND)", None, 1.0)])
    assert indices(found) == [(0, 5), (2, 1)]


def test_what_waits_for_an_operator_of_litert_runs_in_a_later_stretch() -> None:
    # 1 is LiteRT's own; 2 waits for it, 3 doesn't, and so runs before both.
    branches = graph(
        ("CONV_2D", (0,), 1),
        ("RESIZE_NEAREST_NEIGHBOR", (1,), 2),
        ("ADD", (1, 2), 3),
        ("DEPTHWISE_CONV_2D", (1,), 4),
    )
    rows = [
        (CONVOLUTION, None, 5.0),
        (DEPTHWISE, None, 3.0),
        ("RESIZE_NEAREST_NEIGHBOR", 1, 9.0),
        ("Add (ND)", None, 1.0),
    ]
    assert indices(match(branches, rows)) == [(0, 5), (3, 3), (1, 9), (2, 1)]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([(DEPTHWISE, None, 1.0), (DEPTHWISE, None, 1.0)], id="another kind"),
        pytest.param([(CONVOLUTION, None, 1.0)], id="a convolution too few"),
        pytest.param([("Add (ND)", None, 1.0)], id="nothing that fits"),
        pytest.param([], id="nothing"),
        pytest.param([(CONVOLUTION, None, 1.0), (CONVOLUTION, 7, 1.0)], id="an unknown number"),
    ],
)
def test_what_does_not_fit_is_not_matched(rows: list[tuple[str, int | None, float]]) -> None:
    chain = graph(("CONV_2D", (0,), 1), ("CONV_2D", (1,), 2))
    assert match(chain, rows) is None


@pytest.mark.parametrize("file", [MODEL, FLOAT_MODEL, BUNDLED], ids=lambda path: path.stem)
def test_the_nodes_hold_all_multiply_adds(file: Path) -> None:
    nodes = read_graph(read_model(file)[1]).nodes
    cost = count_file(file)
    assert cost is not None
    assert sum(node.multiply_adds for node in nodes) == cost.multiply_adds


@pytest.mark.parametrize("size", [11, 13])
def test_events_are_read_whatever_the_notes_of_memory(size: int) -> None:
    names = [ctypes.create_string_buffer(text) for text in (b"Invoke", b"Add (ND)")]
    words = [0] * (24 * 2)
    for row, (name, kind, spent, number) in enumerate(
        [(names[0], 1, 900, 0), (names[1], 8, 70, 3)]
    ):
        words[size * row] = ctypes.addressof(name)
        words[size * row + 1] = kind
        words[size * row + 3] = spent
        words[size * row + size - 3] = number
    assert read_events(words, 2) == [("Invoke", 1, 900, 0), ("Add (ND)", 8, 70, 3)]


def test_events_of_an_unknown_layout_are_refused() -> None:
    with pytest.raises(RuntimeError, match="unknown way"):
        read_events([3] * 48, 2)


def test_litert_tells_the_time_of_every_operator() -> None:
    pytest.importorskip("ai_edge_litert.compiled_model")
    found = profile(BUNDLED, threads=1, runs=4)
    assert (found.engine, found.precision, found.remark) == ("litert", "int8", "")
    cost = count_file(BUNDLED)
    assert cost is not None
    assert sum(one.multiply_adds for one in found.operators) == cost.multiply_adds
    blocks = found.blocks()
    assert {"stem", "node_0", "box", "class"} <= set(blocks.parts)
    assert blocks.milliseconds == pytest.approx(sum(one.milliseconds for one in found.operators))
    assert blocks.milliseconds > 0
    depthwise = [kind for kind, *_ in found.kinds() if "DWConv" in kind]
    assert len(depthwise) == 1


def test_openvino_tells_the_time_of_every_operator(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from tests.runtime import blocks_model

    file = tmp_path / "blocks.xml"
    blocks_model.write_openvino(file)
    found = profile(file, threads=1, runs=3)
    assert (found.engine, found.precision) == ("openvino", "float32")
    cost = count_file(file)
    assert cost is not None
    assert sum(one.multiply_adds for one in found.operators) == cost.multiply_adds
    assert found.run_ms > 0


def test_an_engine_without_a_profiler_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(operator_times, "_ENGINES", ("openvino",))
    with pytest.raises(InvalidInputError, match="no profiler for litert"):
        profile(MODEL, threads=1)


def test_a_litert_that_cannot_be_profiled_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "litert_events.py").write_text('print(\'{"error": "no library"}\')')
    monkeypatch.setattr(operator_times, "__file__", str(tmp_path / "operator_times.py"))
    with pytest.raises(EdgeDetError, match=r"can't be profiled \(no library\)"):
        profile(MODEL, threads=1)
    # As where the library ends the process.
    (tmp_path / "litert_events.py").write_text("import os; os.abort()")
    with pytest.raises(EdgeDetError, match="its process ended without a result"):
        profile(MODEL, threads=1)


def test_a_profile_sums_by_kind() -> None:
    operators = (
        OperatorTime("a", "conv", ("a",), 1.0, 10),
        OperatorTime("b", "add", ("b",), 5.0, 0),
        OperatorTime("c", "conv", ("b",), 2.0, 20),
    )
    found = Profile(Path("m.tflite"), 1, "litert", "int8", 9.0, 1e4, operators)
    assert found.kinds() == [("add", 1, 5.0, 0), ("conv", 2, 3.0, 30)]
    assert found.between_ms == 1
    assert found.rate(30, 3.0) == 10_000
    assert found.rate(0, 3.0) is None
    assert found.rate(30, 0.0) is None
    assert found.to_dict()["operators"][2]["block"] == "b"


@pytest.mark.parametrize("quantized", [False, True])
def test_the_peak_is_that_of_a_convolution_with_the_work_it_says(
    quantized: bool, tmp_path: Path
) -> None:
    model = peak.convolution_model(quantized)
    (node,) = read_graph(model).nodes
    assert (node.kind, node.multiply_adds) == ("CONV_2D", 32 * 32 * 256 * 256)


@pytest.mark.parametrize("precision", ["int8", "float32"])
@pytest.mark.parametrize("engine", ["litert", "openvino"])
def test_the_peak_is_measured(engine: str, precision: str) -> None:
    pytest.importorskip("openvino" if engine == "openvino" else "ai_edge_litert")
    # More than Python itself does, less than any processor.
    assert 1e7 < peak.measured_peak(engine, precision, 1) < 1e14
