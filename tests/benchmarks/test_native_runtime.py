"""What `make bench-native` prints: turns, ratios, bars, tables, and its parts on small inputs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgedet import ops
from edgedet.benchmarks import (
    native_fusing,
    native_heads,
    native_letterboxing,
    native_peers,
    native_postprocessing,
    native_runtime,
    native_suppression,
    native_timing,
)
from edgedet.benchmarks.native_instructions import measure_instructions
from edgedet.benchmarks.native_peers import Peers
from edgedet.benchmarks.native_timing import Comparison, Measure, take_turns
from edgedet.errors import EdgeDetError

ROOT = Path(__file__).parents[2]
SCRIPT = [sys.executable, "-m", "edgedet.benchmarks.native_runtime"]


class Clock:
    """Calls that take as long as the test says, on a clock that they move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 0
        self.calls: list[str] = []
        self.busy_ns = 0
        self.interruption_ns = 0
        self.threads = 1
        monkeypatch.setattr(native_timing.time, "perf_counter_ns", lambda: self.now_ns)
        monkeypatch.setattr(native_timing.time, "process_time_ns", lambda: self.busy_ns)

    def lasting(self, name: str, *milliseconds: float) -> Callable[[], None]:
        """A call that takes these times in turn, and the last one from then on."""
        left = list(milliseconds)

        def call() -> None:
            self.calls.append(name)
            spent = round(1e6 * (left.pop(0) if len(left) > 1 else left[0]))
            self.now_ns += spent + self.interruption_ns
            self.busy_ns += spent * self.threads

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_contenders_take_turns_and_every_other_round_is_reversed(clock: Clock) -> None:
    take_turns({name: clock.lasting(name, 60.0) for name in "ab"}, seconds=0.5)
    # A trial each, then four rounds of 120 ms.
    assert "".join(clock.calls) == "ab" + "abba" * 2


def test_a_slow_contender_gets_three_rounds(clock: Clock) -> None:
    take_turns({"a": clock.lasting("a", 9000.0)}, seconds=1)
    assert len(clock.calls) == 1 + 3


def test_medians_leave_out_the_first_call_of_a_turn(clock: Clock) -> None:
    # A warm-up and a trial; then an uncounted and a counted call in each of five rounds.
    times = [20.0, 10.0, *(90.0, 4.0) * 2, 90.0, 5.0, *(90.0, 6.0) * 2]
    assert take_turns({"a": clock.lasting("a", *times)}, seconds=0.1) == {"a": 5.0}
    assert len(clock.calls) == len(times)


def test_quick_calls_are_timed_many_at_a_time(clock: Clock) -> None:
    assert take_turns({"a": clock.lasting("a", 0.01)}, seconds=0.01) == {"a": pytest.approx(0.01)}
    # 20 calls last the 0.2 ms of a sample.
    assert (len(clock.calls) - 2) % 21 == 0


def test_time_that_other_programs_took_does_not_count(clock: Clock) -> None:
    clock.interruption_ns = 7_000_000
    assert take_turns({"a": clock.lasting("a", 3.0)}, seconds=0.1) == {"a": 3.0}


def test_the_work_of_further_threads_does_not_count(clock: Clock) -> None:
    clock.threads = 2
    assert take_turns({"a": clock.lasting("a", 3.0)}, seconds=0.1) == {"a": 3.0}


@pytest.mark.parametrize(
    ("ours", "peer", "bar", "ratio", "met"),
    [
        (2.0, 40.0, 20.0, 20.0, True),
        (2.0, 39.9, 20.0, 19.95, False),
        (2.0, 1.0, None, 0.5, None),
    ],
)
def test_a_bar_is_met_by_a_ratio_that_reaches_it(
    ours: float, peer: float, bar: float | None, ratio: float, met: bool | None
) -> None:
    row = Comparison("nms", "uniform 5", ours, "other", peer, bar)
    assert (row.ratio, row.met) == (pytest.approx(ratio), met)


@pytest.mark.parametrize(("limit", "met"), [(4.0, True), (3.9, False), (None, None)])
def test_a_limit_is_kept_by_a_value_that_does_not_pass_it(
    limit: float | None, met: bool | None
) -> None:
    assert Measure("memory", "case", 4.0, "MiB", limit).met is met


ROWS = [
    Comparison("nms", "uniform 5", 0.05, "other", 1.0, 30.0),
    Comparison("nms", "uniform 5", 0.05, "NumPy", 2.0),
    Measure("memory", "all", 1.25, "MiB", 4.0),
]


def test_rows_survive_json() -> None:
    content = json.loads(json.dumps([native_timing.to_json(row) for row in ROWS]))
    assert [native_timing.from_json(row) for row in content] == ROWS
    assert content[0] == {
        "task": "nms",
        "case": "uniform 5",
        "ours_ms": 0.05,
        "peer": "other",
        "peer_ms": 1.0,
        "bar": 30.0,
        "met": False,
        "ratio": 20.0,
    }


def test_tables_have_a_column_for_each_instruction_set() -> None:
    second = [Comparison("nms", "uniform 5", 0.03, "other", 1.0, 30.0)]
    assert native_timing.tables({"avx512": ROWS, "avx2": second}).splitlines() == [
        "| task | case      | peer  | peer ms | avx512 ms | avx2 ms | avx512 ratio | avx2 ratio "
        "| bar | met     |",
        "|------|-----------|-------|---------|-----------|---------|--------------|------------"
        "|-----|---------|",
        "| nms  | uniform 5 | other | 1       | 0.0500    | 0.0300  | 20.0x        | 33.3x      "
        "| 30x | no, yes |",
        "| nms  | uniform 5 | NumPy | 2       | 0.0500    |         | 40.0x        |            "
        "|     |         |",
        "",
        "| task   | case | unit | avx512 | avx2 | limit | met |",
        "|--------|------|------|--------|------|-------|-----|",
        "| memory | all  | MiB  | 1.25   |      | 4     | yes |",
    ]


@pytest.fixture(scope="module")
def without_packages() -> Peers:
    """A machine with nothing installed that is not needed at run time, and nothing built."""
    peers = Peers(None)
    peers._found = {"cv2": None, "openvino": None}
    return peers


@pytest.mark.parametrize("task", [name for name in native_runtime.TASKS if name != "instructions"])
def test_each_task_runs_on_small_inputs_without_its_peers(
    task: str, without_packages: Peers
) -> None:
    rows = native_runtime.measure([task], without_packages, True, lambda _: None)
    if task == "memory":
        assert rows == []
        return
    peers = {row.peer for row in rows if isinstance(row, Comparison)}
    assert peers == {
        "nms": {"NumPy"},
        "soft-nms": {"NumPy"},
        "postprocess": {native_postprocessing.REGULAR, native_postprocessing.FAST},
        "letterbox": {"Pillow and NumPy"},
        "fusion": {"NumPy", "LiteRT's operators"},
    }.get(task)
    assert all(row.ours_ms > 0 and row.peer_ms > 0 for row in rows if isinstance(row, Comparison))


def test_small_inputs_have_no_bar(without_packages: Peers) -> None:
    rows = native_runtime.measure(["soft-nms"], without_packages, True, lambda _: None)
    assert [row.met for row in rows] == [None] * 4


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build directory with the libraries, compiled by hand."""
    build = tmp_path_factory.mktemp("build")
    directory = build / "native" / "bench"
    directory.mkdir(parents=True)
    for source in ("torchvision_nms", "allocation_peak", "count_instructions"):
        name = native_peers.PEERS_LIBRARY
        if source != "torchvision_nms":
            name = f"libedgedet_{source}.so"
        compile_ = [*"c++ -std=c++17 -O1 -shared -fPIC -o".split(), directory / name]
        subprocess.run([*compile_, ROOT / "native" / "bench" / f"{source}.cc"], check=True)
    return build


@pytest.mark.parametrize("generate", ["uniform_boxes", "clustered_boxes"])
def test_torchvisions_algorithm_keeps_what_numpys_keeps(generate: str, built: Path) -> None:
    torchvision = Peers(built).torchvision()
    assert torchvision is not None
    boxes, scores = getattr(native_suppression, generate)(300)
    scores[100:120] = scores[100]  # ties keep their order
    expected = native_suppression.numpy_nms(boxes, scores, 0.4)
    np.testing.assert_array_equal(torchvision(boxes, scores, 0.4), expected)


@pytest.mark.skipif(sys.platform != "linux", reason="the counting allocator is for glibc")
def test_the_counting_allocator_sees_the_highest_point(built: Path) -> None:
    library = Peers(built).built(native_peers.ALLOCATIONS_LIBRARY)
    code = f"""
import ctypes
counter = ctypes.CDLL({str(library)!r})
counter.edgedet_allocation_peak.restype = ctypes.c_int64
before = bytearray(1 << 22)
counter.edgedet_allocation_reset()
del before
a = bytearray(5 << 20)
del a
b = bytearray(6 << 20)
print(counter.edgedet_allocation_peak())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=True,
    )
    # 4 MiB go, 6 MiB come.
    assert int(done.stdout) == pytest.approx(2 << 20, abs=100_000)


def test_the_memory_of_postprocess_is_counted_with_its_result(built: Path) -> None:
    rows = list(native_postprocessing.measure_memory(Peers(built), True))
    assert [(row.case, row.limit) for row in rows] == [
        ("postprocess, conf 0.05", 4.0),
        ("postprocess, conf 0.001", None),
    ]
    # 100 detections of 28 bytes at least.
    assert all(2800 / 2**20 < row.value < 1 for row in rows)


@pytest.mark.skipif(
    not (shutil.which("qemu-aarch64") and shutil.which("aarch64-linux-gnu-g++")),
    reason="needs the Debian packages qemu-user and g++-aarch64-linux-gnu",
)
def test_instructions_are_counted_without_the_programs_start(built: Path, tmp_path: Path) -> None:
    source = tmp_path / "loop.cc"
    source.write_text(
        "#include <cstdio>\n#include <cstdlib>\n"
        "int main(int argc, char** argv) {\n"
        '  if (argc == 1) return std::puts("loop") < 0;\n'
        "  const long count = 100000 * std::atol(argv[2]);\n"
        '  for (long i = 0; i < count; ++i) __asm__ volatile("nop");\n'
        "}\n"
    )
    program = built / "aarch64" / "native" / "bench" / native_peers.WORKLOADS_PROGRAM
    program.parent.mkdir(parents=True)
    compiler = ["aarch64-linux-gnu-g++", "-O1"]
    subprocess.run([*compiler, source, "-o", program], check=True)
    (row,) = measure_instructions(Peers(built), True)
    assert (row.case, row.unit) == ("loop", "thousands")
    # A nop, an addition, a comparison and a branch, or one less.
    assert 299 < row.value < 401


def test_a_missing_package_costs_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    peers = Peers(None)
    assert (peers.opencv(), peers.opencv()) == (None, None)
    assert peers.missing == [
        "OpenCV is missing: install it with `pip install opencv-python-headless`."
    ]


def test_what_is_not_built_costs_one_sentence(tmp_path: Path) -> None:
    peers = Peers(tmp_path)
    assert peers.torchvision() is None
    assert peers.missing == [
        "libedgedet_peers.so is missing: run `make bench-native`, which builds it."
    ]


def test_what_counting_instructions_needs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    peers = Peers(tmp_path)
    assert list(measure_instructions(peers, True)) == []
    assert peers.missing == ["qemu-aarch64 is missing: install the Debian package qemu-user."]
    emulator = tmp_path / "qemu-aarch64"
    emulator.touch(0o755)
    assert list(measure_instructions(peers, True)) == []
    assert peers.missing[-1] == (
        "edgedet_workloads is missing: install the Debian package g++-aarch64-linux-gnu and "
        "run `make bench-native`, which builds it."
    )


def test_peers_are_not_timed_before_they_agree(
    monkeypatch: pytest.MonkeyPatch, without_packages: Peers
) -> None:
    monkeypatch.setattr(
        without_packages, "torchvision", lambda: lambda boxes, scores, iou: np.arange(3)
    )
    with pytest.raises(EdgeDetError, match="torchvision keeps others of 10 uniform boxes"):
        list(native_suppression.measure_nms(without_packages, True))


def test_opencv_and_openvino_are_asked_the_same_question(without_packages: Peers) -> None:
    asked: list[Any] = []
    fake = SimpleNamespace(dnn=SimpleNamespace(NMSBoxes=lambda *given: asked.append(given)))
    peers = Peers(None)
    peers._found = {"cv2": fake}
    fake.setNumThreads = lambda count: asked.append(count)
    rows = list(native_suppression.measure_nms(peers, True))
    opencv = "cv2.dnn.NMSBoxes"
    assert {row.peer for row in rows} == {opencv, f"{opencv}, lists", "NumPy"}
    assert asked[0] == 1
    boxes, scores = native_suppression.uniform_boxes(10)
    corners_and_sides, given_scores, lowest, iou = asked[1]
    np.testing.assert_allclose(corners_and_sides[:, :2], boxes[:, :2])
    np.testing.assert_allclose(corners_and_sides[:, 2:], boxes[:, 2:] - boxes[:, :2], rtol=1e-4)
    np.testing.assert_array_equal(given_scores, scores)
    assert (lowest, iou) == (0.0, 0.5)
    listed = next(given for given in asked[1:] if isinstance(given[0], list))
    assert listed == (corners_and_sides.tolist(), scores.tolist(), lowest, iou)


def test_uniform_boxes_seldom_overlap_and_clustered_ones_often_do() -> None:
    kept = {
        generate: len(ops.nms(*generate(5000), 0.5))
        for generate in (native_suppression.uniform_boxes, native_suppression.clustered_boxes)
    }
    assert 3100 < kept[native_suppression.uniform_boxes] < 3200
    assert 200 < kept[native_suppression.clustered_boxes] < 250


@pytest.mark.parametrize("generate", ["uniform_boxes", "clustered_boxes"])
def test_numpys_nms_keeps_what_ours_keeps(generate: str) -> None:
    boxes, scores = getattr(native_suppression, generate)(300)
    expected = native_suppression.numpy_nms(boxes, scores, 0.5)
    np.testing.assert_array_equal(ops.nms(boxes, scores, 0.5), expected)


def test_numpys_soft_nms_on_two_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    scores = np.array([0.5, 0.9], np.float32)
    order, rescored = native_suppression.numpy_soft_nms(boxes, scores, "gaussian")
    assert order.tolist() == [1, 0]
    # The IoU is 0.5.
    assert rescored == pytest.approx([0.9, 0.5 * np.exp(-0.25 / 0.5)])
    assert native_suppression.numpy_soft_nms(boxes, scores, "linear")[1] == pytest.approx(
        [0.9, 0.25]
    )


def test_heads_are_spread_as_a_detectors_are() -> None:
    heads = native_heads.detector_heads()
    scores = heads.scores()
    assert scores.shape == (49_104, 90)
    counts = [int((scores >= np.float32(conf)).sum()) for conf in (0.3, 0.05, 0.001)]
    assert 100 < counts[0] < 1000 < counts[1] < 10_000
    assert 1.9e6 < counts[2] < 2.1e6


def test_the_operator_of_tflite_gets_the_scores_of_the_heads() -> None:
    from ai_edge_litert.interpreter import Interpreter

    heads = native_heads.detector_heads(64, 3, 4)
    anchors = native_postprocessing.all_anchors(heads.spec)
    file = native_postprocessing.detection_postprocess(anchors, 3, 0.2, True)
    ready = native_postprocessing.one_thread(
        Interpreter, file, [heads.codes()[None], heads.scores()[None]]
    )
    ready.invoke()
    boxes, classes, scores, count = (
        ready.get_tensor(entry["index"])[0] for entry in ready.get_output_details()
    )
    ours, our_scores, our_classes = heads.postprocess(0.2, 0.5, 100)
    assert len(our_scores) == int(count) > 0
    kept = slice(0, int(count))
    np.testing.assert_allclose(scores[kept], our_scores, atol=1e-4)
    # Where scores are equal the order may differ.
    alone = [i for i in range(int(count)) if (abs(our_scores - our_scores[i]) < 1e-3).sum() == 1]
    assert alone
    np.testing.assert_array_equal(classes[kept][alone], our_classes[alone])
    np.testing.assert_allclose(boxes[kept][alone][:, [1, 0, 3, 2]], ours[alone], atol=0.05)


def test_scores_that_differ_are_noticed() -> None:
    ours = np.linspace(1, 0.5, 20, dtype=np.float32)
    native_postprocessing._check(ours, ours, 0.3)
    with pytest.raises(EdgeDetError, match=r"other scores at 0\.3"):
        native_postprocessing._check(ours, ours * np.float32(0.9), 0.3)


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_pillow_and_numpy_letterbox_nearly_as_ours(dtype: str) -> None:
    # Enlarged, where Pillow's filter is bilinear too.
    image = native_letterboxing.photo(30, 40)
    options = {"mean": native_letterboxing.MEAN, "std": native_letterboxing.STD}
    tensor, _ = ops.letterbox(
        image,
        (96, 96),
        **options,
        dtype=dtype,
        scale=native_letterboxing.SCALE,
        zero_point=native_letterboxing.ZERO_POINT,
    )
    found = native_letterboxing.numpy_letterbox(native_letterboxing.pillow, image, (96, 96), dtype)
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    difference = np.abs(found.astype(np.float32) - tensor.astype(np.float32)).max()
    # A grey level, and the padding's rounding to one.
    assert difference <= (2 if dtype == "int8" else 0.02)


@pytest.mark.parametrize("activation", ["relu6", "swish"])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_map_that_is_fused_otherwise_is_noticed(dtype: str, activation: str) -> None:
    random = np.random.default_rng(0)
    maps = [random.normal(0, 1, (side, side, 4)).astype(np.float32) for side in (8, 8, 16)]
    if dtype == "int8":
        maps = [native_fusing._quantized(values, 0.03, 5) for values in maps]
    weights = np.array([1, 1, 1], np.float32)
    fused = native_fusing.numpy_fusion(maps, weights, activation)
    assert fused.dtype == dtype
    with pytest.raises(EdgeDetError, match="peer differs by"):
        native_fusing._check(
            fused, native_fusing.numpy_fusion(maps[:2], weights[:2], activation), "peer"
        )


def test_the_script_prints_one_json_object_for_each_instruction_set() -> None:
    done = subprocess.run(
        [*SCRIPT, "--quick", "--json", "--only", "letterbox", "memory"],
        capture_output=True,
        text=True,
        check=True,
    )
    content = json.loads(done.stdout)
    sets = [name for name in content["results"] if name != "neon"]
    assert sets[0] == ops.isa()
    assert sets[1:] == (["avx2"] if ops.isa() == "avx512" else [])
    for name in sets:
        assert {row["peer"] for row in content["results"][name] if "peer" in row} >= {
            "Pillow and NumPy"
        }
    assert "run `make bench-native`" in "".join(content["missing"])
    assert content["machine"]["python"]


def test_the_script_prints_tables_and_what_is_missing() -> None:
    done = subprocess.run(
        [*SCRIPT, "--quick", "--one", "--only", "nms"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "EDGEDET_FORCE_ISA": "scalar"},
    )
    assert "| nms  | uniform 10, 10 kept" in done.stdout
    assert "scalar ratio" in done.stdout
    assert f"{native_peers.PEERS_LIBRARY} is missing" in done.stdout
    assert done.stderr == "nms ...\n"
