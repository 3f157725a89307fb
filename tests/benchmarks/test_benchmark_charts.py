"""Charts are SVG that says what was measured, whatever the values and the names."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.benchmarks.blocks import Block, block_path, block_tree
from edgedet.cli.benchmark_charts import (
    Point,
    Series,
    accuracy_chart,
    colour_key,
    histogram,
    icicle,
    line_chart,
    ticks,
)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def titles(svg: str) -> list[str]:
    return [title.text or "" for title in parsed(svg).iter("title")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 10], [0, 2, 4, 6, 8, 10]),
        ([0, 23], [0, 5, 10, 15, 20, 25]),
        ([0.31, 0.52], [0.3, 0.35, 0.4, 0.45, 0.5, 0.55]),
        ([7, 7], [6, 6.5, 7, 7.5, 8]),
        ([0, 0], [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(values: list[float], expected: list[float]) -> None:
    assert ticks(values) == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=20))
def test_ticks_enclose_any_values(values: list[float]) -> None:
    found = ticks(values)
    assert found[0] <= min(values) + 1e-6 * max(values)
    assert found[-1] >= max(values) * (1 - 1e-6)
    assert 2 <= len(found) <= 12


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=200))
def test_a_histogram_counts_every_call(values: list[float]) -> None:
    svg = histogram(values, title="calls")
    counted = sum(int(re.match(r"\d+", title)[0]) for title in titles(svg))  # type: ignore[index]
    beyond = re.search(r">(\d+) more", svg)
    assert counted + (int(beyond[1]) if beyond else 0) == len(values)


def test_a_histogram_leaves_out_the_slowest_hundredth_and_says_so() -> None:
    svg = histogram([10.0] * 160 + [11.0] * 139 + [900.0], title="calls")
    assert "1 more, up to 900.00" in svg
    assert "p50 10.00" in svg


def test_the_accuracy_chart_names_every_detector() -> None:
    points = [
        Point(5, 20, "m0 <int8>", 0, True),
        Point(5.01, 20, "m0 twin", 1, False),
        Point(30, 33, "a" * 90, 7, True),
    ]
    svg = accuracy_chart(points, x_label="ms", y_label="AP", title="t")
    assert titles(svg) == [
        f"{'a' * 90}: 30.00 ms, AP 33.0",
        "m0 <int8>: 5.00 ms, AP 20.0",
        "m0 twin: 5.01 ms, AP 20.0",
    ]
    labels = [node for node in parsed(svg).iter("text") if "label" in node.get("class", "")]
    assert len({(node.get("x"), node.get("y")) for node in labels}) == 3
    front = next(node for node in parsed(svg).iter("polyline"))
    assert len(front.get("points", "").split()) == 2


def test_lines_have_their_names_and_whole_numbers_across() -> None:
    svg = line_chart(
        [Series("m0", [1, 2, 4], [9, 5, 4], 0)],
        x_label="threads",
        y_label="ms",
        title="t",
        whole=True,
    )
    assert titles(svg) == ["m0"]
    shown = [node.text for node in parsed(svg).iter("text") if node.get("class") == "tick"]
    assert shown[:4] == ["1", "2", "3", "4"]
    assert "m0" in colour_key([("m0", 0)])


def test_a_line_of_one_point_is_drawn() -> None:
    parsed(line_chart([Series("m0", [0], [9], 8)], x_label="x", y_label="y", title="t"))


@pytest.mark.parametrize(
    ("layer", "path"),
    [
        ("node_0_block0_se_reduce_relu6/Relu6", ("node_0", "block0", "se", "reduce", "relu6")),
        ("node_3_from_1_bn/add_1", ("node_3", "from_1", "bn")),
        ("functional_1/stem_conv/convolution", ("stem", "conv")),
        ("box_head_0_depthwise/depthwise.5", ("box", "head_0", "depthwise")),
        ("stem_relu6/Relu6;stem_bn/add", ("stem", "relu6")),
        ("class_3", ("class_3",)),
        ("StatefulPartitionedCall_1:4", ("without a name",)),
        ("Transpose_22724", ("without a name",)),
        ("Transpose_22724/fq_output_0", ("without a name",)),
        ("Transpose_22728_abcd_acdb", ("without a name",)),
        ("", ("without a name",)),
        ("/Relu", ("without a name",)),
    ],
)
def test_blocks_come_from_names(layer: str, path: tuple[str, ...]) -> None:
    assert block_path(layer) == path


def tree() -> Block:
    return block_tree(
        [
            (("stem", "conv"), 2.0, 100),
            (("node_0", "block0", "se", "reduce"), 1.0, 5),
            (("node_0", "block0", "se", "excite"), 1.0, 5),
            (("node_0", "add"), 4.0, 0),
        ],
        name="m0",
        depth=3,
    )


def test_blocks_hold_the_sums_of_their_parts() -> None:
    root = tree()
    assert (root.milliseconds, root.multiply_adds) == (8, 110)
    assert list(root.parts) == ["stem", "node_0"]
    squeeze = root.parts["node_0"].parts["block0"].parts["se"]
    assert (squeeze.milliseconds, squeeze.multiply_adds, squeeze.parts) == (2, 10, {})


def test_the_icicle_is_as_wide_as_the_time() -> None:
    svg = icicle(tree(), peak=1e5, title="t")
    widths = {
        group.findtext("title", "").partition(":")[0]: float(group.find("rect").get("width"))  # type: ignore[union-attr,arg-type]
        for group in parsed(svg).iter("g")
    }
    assert widths["stem"] == pytest.approx(widths["m0"] / 4, abs=0.1)
    assert widths["node_0"] == pytest.approx(widths["m0"] * 3 / 4, abs=0.1)
    # 100 multiply-adds in 2 ms are 50 000 a second, half of the peak.
    assert any("50% of the peak" in title for title in titles(svg))


def test_the_icicle_of_nothing_is_drawn() -> None:
    parsed(icicle(Block("m0"), peak=1.0, title="t"))
