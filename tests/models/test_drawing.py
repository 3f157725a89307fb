"""Pictures of tables of nodes: every edge is there, and nothing hides anything."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from edgedet.errors import InvalidInputError
from edgedet.models import Preset, preset, presets
from edgedet.models.drawing import (
    Diagram,
    columns,
    curvatures,
    diagram,
    draw,
    figure_size,
    positions,
)
from edgedet.models.graph import Node
from edgedet.models.resnet import ResNet

# One of each topology.
NAMES = (
    "eff-spinenet-d0",
    "spinenet-mobile-49",
    "efficientdet-d0",
    "efficientdet-d7x",
    "retinanet-resnet50-nasfpn",
    "retinanet-resnet50-fpn",
    "mobilenetv2-nasfpnlite",
    "mobilenetv2-fpnlite",
)


@pytest.mark.parametrize(
    ("name", "dashed"),
    [
        ("eff-spinenet-m0", [(12, 15)]),
        ("eff-spinenet-d2", [(12, 15)]),
        ("spinenet-mobile-49s", [(12, 15)]),
        ("retinanet-resnet50-nasfpn", [(2, 9), (4, 10)]),
        ("mobilenetv2-nasfpnlite", [(2, 8)]),
        ("efficientdet-d0", []),
        ("retinanet-resnet50-fpn", []),
    ],
)
def test_leftovers_are_the_papers(name: str, dashed: list[tuple[int, int]]) -> None:
    edges = diagram(preset(name)).edges()
    assert [(source, target) for source, target, leftover in edges if leftover] == dashed


def test_a_leftover_of_another_width_is_not_merged() -> None:
    nodes = (Node(3, (0,)), Node(3, (0,), output=True))
    for width, merged in ((8, [(1, 2)]), (16, [])):
        drawn = Diagram("", "", (3,), nodes, {1: width, 2: 8})
        assert [edge[:2] for edge in drawn.edges() if edge[2]] == merged


def test_the_edges_are_those_of_the_network(small_network: keras.Model) -> None:
    edges = diagram(preset("eff-spinenet-m0")).edges()
    for target in range(2, 18):
        merged = small_network.get_layer(f"node_{target}_fusion").input
        assert len(merged) == sum(edge[1] == target for edge in edges)


@pytest.mark.parametrize("each", presets(), ids=lambda each: each.name)
def test_every_preset_has_a_diagram(each: Preset) -> None:
    drawn = diagram(each)
    outputs = sorted(node.level for node in drawn.nodes if node.output)
    assert outputs == list(range(outputs[0], outputs[-1] + 1))
    assert {len(drawn.entries) + place for place in range(len(drawn.nodes))} <= {*drawn.widths}


@pytest.mark.parametrize(
    ("name", "width"),
    [("eff-spinenet-d0", 120), ("eff-spinenet-m1", 60), ("spinenet-mobile-49", 80)],
)
def test_the_widths_of_a_backbone_are_its_own(name: str, width: int) -> None:
    assert diagram(preset(name)).widths[6] == width


@pytest.mark.parametrize("name", NAMES)
def test_edges_lead_to_the_right_and_nodes_have_places_of_their_own(name: str) -> None:
    drawn = diagram(preset(name))
    places = positions(drawn)
    assert len(set(places)) == len(places)
    for source, target, _ in drawn.edges():
        (from_x, from_y), (to_x, to_y) = places[source], places[target]
        assert from_x < to_x or (from_x == to_x and abs(from_y - to_y) == 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # The papers' figures: in, down, up; and in, laterals, outputs.
        ("efficientdet-d0", [0] * 5 + [1] * 3 + [2] * 5),
        ("retinanet-resnet50-fpn", [0] * 3 + [1] * 3 + [2] * 5),
        ("retinanet-resnet50-nasfpn", [0] * 5 + list(range(1, 8))),
        ("eff-spinenet-d0", list(range(18))),
    ],
)
def test_columns_are_those_of_the_papers_figures(name: str, expected: list[int]) -> None:
    assert columns(diagram(preset(name))) == expected


@pytest.mark.parametrize("name", NAMES)
def test_no_edge_crosses_a_node(name: str) -> None:
    drawn = diagram(preset(name))
    places = np.array(positions(drawn))
    radius = 34 / 72 / 0.82 / 2  # a node's, in units of the drawing
    for (source, target, _), bend in zip(drawn.edges(), curvatures(drawn), strict=True):
        start, end = places[source], places[target]
        along = end - start
        control = (start + end) / 2 + bend * np.array([along[1], -along[0]])
        for t in np.linspace(0, 1, 101):
            point = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
            distance = np.linalg.norm(places - point, axis=1)
            distance[[source, target]] = np.inf
            assert distance.min() > radius, (source, target)


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_shows_all_and_its_texts_fit(name: str) -> None:
    figures = pytest.importorskip("matplotlib.figure")
    agg = pytest.importorskip("matplotlib.backends.backend_agg")
    chosen = preset(name)
    drawn = diagram(chosen)
    figure = figures.Figure(figsize=figure_size(drawn), layout="constrained")
    axes = figure.subplots()
    draw(drawn, axes)
    canvas = agg.FigureCanvasAgg(figure)
    canvas.draw()
    arrows = [text.arrow_patch for text in axes.texts if getattr(text, "arrow_patch", None)]
    edges = drawn.edges()
    assert [arrow.get_linestyle() == "--" for arrow in arrows] == [edge[2] for edge in edges]
    labels = [text for text in axes.texts if text.get_text()]
    ids = [text.get_text().split("\n")[0] for text in labels]
    assert ids[: len(drawn.levels)] == [str(place) for place in range(len(drawn.levels))]
    stacks = chosen.pyramid.stacks if chosen.pyramid else 1
    assert ids[len(drawn.levels) :] == ([f"× {stacks}"] if stacks > 1 else [])
    assert axes.get_title().startswith(f"{name}\n")

    # Nodes are as far apart as `curvatures` believes, and hold their labels.
    pixels = axes.transData.transform([(0, 0), (1, 0), (0, 1)])
    unit = pixels[1, 0] - pixels[0, 0]
    assert unit == pytest.approx(pixels[2, 1] - pixels[0, 1])
    assert unit >= 0.75 * figure.dpi
    renderer = canvas.get_renderer()
    nodes = [text.get_window_extent(renderer) for text in labels]
    for box in nodes[: len(drawn.levels)]:
        assert np.hypot(box.width, box.height) < 1.35 * 34 / 72 * figure.dpi
    rows = [text.get_window_extent(renderer) for text in axes.get_yticklabels()]
    outside = [axes.title, axes.xaxis.label, axes.get_legend()]
    boxes = [*nodes, *rows, *(artist.get_window_extent(renderer) for artist in outside)]
    for place, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:place])


def test_a_network_without_a_table_is_refused() -> None:
    chosen = replace(preset("retinanet-resnet50-fpn"), pyramid=None, backbone=ResNet())
    with pytest.raises(InvalidInputError, match="retinanet-resnet50-fpn is made of no table"):
        diagram(chosen)
